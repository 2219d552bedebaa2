"""What the tests of the program share: running it, the test data, and a model to run.

LLLM names the program. LLLM_TEST_DATA, or else LLLM_DATA_DEFAULT, is the folder of test data.
"""
import os
import pathlib
import signal
import struct
import subprocess
import tempfile
import unittest

LLLM = os.environ.get("LLLM", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "lllm"))
DATA = pathlib.Path(os.environ.get("LLLM_TEST_DATA") or os.environ.get("LLLM_DATA_DEFAULT") or
                    pathlib.Path(__file__).resolve().parents[3] / "shared" / "data")
MODELS = DATA / "models"
CORPUS = pathlib.Path(__file__).resolve().parents[1] / "gguf" / "corpus"

# Seconds until a program hangs for sure: far more than any run takes with sanitizers on a slow machine.
PATIENCE = 600

# Under nohup the signal of a closed terminal is ignored, here and in what is started from here.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Roles and contents on lines of their own: words of the stories model, no control tokens.
TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")


def run(*arguments, stdin="", home=None, environment=None, timeout=PATIENCE, user=None):
    """The finished program; text as UTF-8. home: a folder that takes the place of the user's."""
    env = dict(os.environ, NO_COLOR="1", **(environment or {}))
    if home:
        env.update(LLLM_HOME=str(home))
    return subprocess.run([LLLM, *map(str, arguments)], input=stdin, env=env, timeout=timeout,
                          capture_output=True, text=True, encoding="utf-8", user=user)


def nobody():
    """A user for run() whom modes of files bind; None where that is who runs this."""
    if os.getuid():
        return None
    try:
        subprocess.run([LLLM, "--version"], capture_output=True, check=True, user=65534)
    except (PermissionError, subprocess.CalledProcessError) as e:  # as where it lies in root's home
        raise unittest.SkipTest("root may write any file, and another user cannot run the program") from e
    return 65534


def stories_checkpoint():
    """Paths of the llama2.c checkpoint and tokenizer, or a skipped test."""
    paths = MODELS / "stories260K.bin", MODELS / "tok512.bin"
    if not all(p.is_file() for p in paths):
        raise unittest.SkipTest(f"no stories260K.bin and tok512.bin in {MODELS}; "
                                "set LLLM_TEST_DATA to the folder of test data")
    return paths


def import_stories(folder, *options, name="stories.gguf"):
    """Imports the stories model into folder and returns its path."""
    checkpoint, tokenizer = stories_checkpoint()
    path = pathlib.Path(folder) / name
    done = run("import", checkpoint, "--tokenizer", tokenizer, "-o", path, *options)
    if done.returncode:
        raise AssertionError(done.stderr)
    return path


def end_of_pairs(data):
    """Byte offset after the key/value pairs of a GGUF file."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    n_pairs, = struct.unpack_from("<Q", data, 16)
    at = 24

    def skip(kind, at):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(count):
                at = skip(element, at)
            return at
        return at + sizes[kind]

    for _ in range(n_pairs):
        at = skip(8, at)
        kind, = struct.unpack_from("<I", data, at)
        at = skip(kind, at + 4)
    return at


def text_pair(key, text):
    """The bytes of a key and its string in a GGUF file."""
    key, text = key.encode(), text.encode()
    return struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(text)) + text


def number_pair(key, number):
    """The bytes of a key and its u32."""
    key = key.encode()
    return struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, number)


def add_pairs(source, target, *pairs):
    """A copy of a GGUF file with more pairs. The tensor data moves by whole blocks of 32."""
    data = pathlib.Path(source).read_bytes()
    end = end_of_pairs(data)
    n_tensors, n_pairs = struct.unpack_from("<QQ", data, 8)
    added = b"".join(pairs)
    n_added = len(pairs)
    if len(added) % 32:
        empty = len(text_pair("x", ""))
        added += text_pair("x", " " * (-(len(added) + empty) % 32))
        n_added += 1
    pathlib.Path(target).write_bytes(data[:8] + struct.pack("<QQ", n_tensors, n_pairs + n_added) +
                                     data[24:end] + added + data[end:])


def add_template(source, target, template=TEMPLATE):
    """A copy of a GGUF file with a chat template."""
    add_pairs(source, target, text_pair("tokenizer.chat_template", template))


class TemporaryFolder(unittest.TestCase):
    """A test case with an empty folder of its own class."""

    @classmethod
    def setUpClass(cls):
        cls.held = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.held.name)

    @classmethod
    def tearDownClass(cls):
        cls.held.cleanup()
