"""`lllm run --session` goes on where another process stopped; `lllm run --beams` searches."""
import json
import os
import pathlib
import pty
import re
import resource
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from program import LLLM, PATIENCE, TEMPLATE, nobody, run

LINES = ["My name is Ada.", "What is machine learning?", "Who won the world cup in 1998?"]
HOW = ("--temp", "0", "--max-tokens", "24")
BLOCK, HEADER = 32, 128
MASK = (1 << 64) - 1


def digest(data):
    """base/digest.h."""
    lanes = [0] * 4
    for at, word in enumerate(struct.unpack(f"<{len(data) // 8}Q", data)):
        x = ((lanes[at % 4] ^ word) * 0x9FB21C651E98DF25 + 0x632BE59BD9B4E019) & MASK
        lanes[at % 4] = (x << 29 | x >> 35) & MASK
    return struct.pack("<4Q", *lanes)


def with_note(data, note):
    """A session file with another note, whole."""
    n_tokens, _, n_note = struct.unpack_from("<IIQ", data, 88)
    begin = HEADER + -(-4 * n_tokens // BLOCK) * BLOCK
    end = begin + -(-n_note // BLOCK) * BLOCK
    head = data[:96] + struct.pack("<Q", len(note)) + data[104:begin]
    body = head + note + bytes(-len(note) % BLOCK) + data[end:-BLOCK]
    return body + digest(body)


def note_of(data):
    n_tokens, _, n_note = struct.unpack_from("<IIQ", data, 88)
    begin = HEADER + -(-4 * n_tokens // BLOCK) * BLOCK
    return json.loads(data[begin:begin + n_note])


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if run("show", "starter").returncode:
            raise unittest.SkipTest("this build has no built-in model")
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        cls.template = cls.path / "template"
        cls.template.write_text(TEMPLATE)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def fails(self, code, words, *options, **more):
        done = run("run", *options, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


class Sessions(Program):
    def test_ended_from_outside(self):
        """A terminal that is closed, or a kill, loses nothing of what was said."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            for waits in (False, True):  # for a line, while it answers
                file = self.path / f"ended{number}{waits}"
                end = ("--max-tokens", "600", "--ignore-eos") if waits else ()
                process = subprocess.Popen(
                    [LLLM, "run", "-m", "starter", "-i", "--chat-template", str(self.template), *HOW,
                     *end, "--session", str(file)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                process.stdin.write(f"{LINES[0]}\n".encode())
                process.stdin.flush()
                self.assertTrue(process.stdout.read(1))
                time.sleep(0 if waits else 1)
                process.send_signal(number)
                process.communicate(timeout=PATIENCE)
                self.assertEqual(process.returncode, -number)
                said = note_of(file.read_bytes())["messages"]
                self.assertEqual([m["role"] for m in said], ["user", "assistant"])
                self.assertEqual(said[0]["content"], LINES[0])

    def test_one_answer_ended_from_outside(self):
        """What there is of it is in the file, and no lock is left."""
        for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")):
            for raw in (True, False):
                file = self.path / f"once{number}{raw}"
                process = subprocess.Popen(
                    [LLLM, "run", "-m", "starter", *(("--raw",) if raw else ()), "--session", str(file),
                     LINES[1], "--temp", "0", "--ignore-eos"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
                first = process.stdout.read(1)
                self.assertTrue(first)
                process.send_signal(number)
                out, err = process.communicate(timeout=PATIENCE)
                self.assertEqual(process.returncode, -number, err)
                self.assertIn(f"told to end ({name}): what there is of the answer is in {file}\n".encode(), err)
                note = note_of(file.read_bytes())
                if raw:
                    self.assertGreater(len(note["tokens"]), 3)
                else:
                    self.assertEqual(note["messages"][1]["content"], (first + out).decode())
                self.assertFalse(file.with_name(file.name + ".lock").exists())

    def limited(self, *options):
        """Files may have 4 KiB, as on a disk that is full."""
        return subprocess.run([LLLM, "run", "-m", "starter", *map(str, options)], capture_output=True,
                              text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))

    def test_no_room_for_the_file(self):
        file = self.path / "no-room"
        want = self.once(self.path / "room", LINES[1])["content"]
        how = ("--session", file, "--chat-template", self.template, *HOW, LINES[1])
        done = self.limited("--json", *how)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(json.loads(done.stdout)["content"], want)
        self.assertIn(str(file), done.stderr)
        done = self.limited("-q", *how)
        self.assertEqual((done.returncode, done.stdout), (1, want))
        self.assertFalse(file.exists())

    def test_no_room_for_a_chat(self):
        """On a terminal it goes on once."""
        file, other = self.path / "no-room", self.path / "other.txt"
        pid, master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", NO_COLOR="1")
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            os.execv(LLLM, [LLLM, "run", "-m", "starter", "--session", str(file), *HOW])
        seen = b""

        def until(words, n=1):
            nonlocal seen
            while seen.count(words) < n:
                seen += os.read(master, 65536)

        until(b">>> ")
        os.write(master, LINES[0].encode() + b"\n")
        until(b">>> ", 2)
        os.write(master, b"\x04")
        until(b"the chat is still open")
        until(b">>> ", 3)
        os.write(master, f"/save {other}\n".encode())
        until(b">>> ", 4)
        os.write(master, b"\x04")
        try:
            while chunk := os.read(master, 65536):
                seen += chunk
        except OSError:  # the other side has closed
            pass
        os.close(master)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)
        self.assertEqual(seen.count(b"the chat is still open"), 1)
        self.assertIn(LINES[0], other.read_text())
        self.assertFalse(file.exists())

    def test_a_full_conversation(self):
        for how in ((), ("--raw",)):
            file = self.path / f"full{len(how)}"
            how = ("-m", "starter", "--session", file, "--context-size", 128, "--ignore-eos", *how)
            done = run("run", *how, LINES[1])
            self.assertEqual(done.returncode, 0, done.stderr)
            self.fails(1, "fill the context of 128 tokens", *how, " Hi, and what else is there?")

    def test_other_tools(self):
        tools = [{"type": "function", "function": {"name": name, "description": "A tool.", "parameters": {
            "type": "object", "properties": {"x": {"type": "integer"}}}}} for name in ("add", "sub")]
        file, both, one, third = (self.path / n for n in ("with-tools", "both.json", "one.json", "third.json"))
        both.write_text(json.dumps(tools))
        one.write_text(json.dumps(tools[:1]))
        tools[0]["function"]["description"] = "Another."
        third.write_text(json.dumps(tools[:1]))
        how = ("run", "-m", "starter", "--chat-template", "chatml", "--session", file, "-n", "2", "x")
        said = [run(*how, *(("--tools", f) if f else ())).stderr
                for f in (both, both, one, third, None, None, one)]
        for i, words in enumerate((None, None, "made with --tools (add, sub), and now the model has others (add)",
                                   "made with other definitions of its tools (add)",
                                   "made with --tools (add), and now the model has none", None,
                                   "made without --tools, and now the model has others (add)")):
            self.assertEqual(said[i].count(" was made with"), words is not None, said[i])
            self.assertIn(words or "", said[i])
        self.assertNotIn("made with", run(*how, "-q").stderr)

    def test_a_call_that_waits(self):
        """What comes next is its result, and that is said."""
        tools = pathlib.Path(__file__).parents[2] / "examples/tools.json"
        how = ("run", "-m", "starter", "--temp", "0", "--tools", tools, "--session")
        asked = self.path / "asked"
        done = run(*how, asked, "What time is it in Tokyo?")
        self.assertIn("call clock", done.stdout)
        for i, (more, stdin, words) in enumerate((
                (("12:00",), "", "the prompt is the result of clock, which {} waits for"),
                (("-i",), "12:00\n", "the first line is the result of clock, which {} waits for"),
                (("-i", "12:00"), "", "the prompt is the result of clock, which {} waits for"),
                (("-q", "12:00"), "", None), (("-q", "-i"), "12:00\n", None))):
            file = self.path / f"waits{i}"
            file.write_bytes(asked.read_bytes())
            done = run(*how, file, *more, stdin=stdin)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(words.format(file) in done.stderr if words else "is the result" not in
                             done.stderr, True, done.stderr)
            said = note_of(file.read_bytes())["messages"]
            self.assertEqual([m["role"] for m in said], ["user", "assistant", "tool", "assistant"])
            self.assertEqual((said[2]["name"], said[2]["content"]), ("clock", "12:00"))
            self.assertNotIn("is the result", run(*how, file, "Thanks.").stderr)

    def test_a_result_that_is_too_long(self):
        """It goes with the question that it is for, and no more."""
        tools = pathlib.Path(__file__).parents[2] / "examples/tools.json"
        how = ("run", "-m", "starter", "-i", "--temp", "0", "--tools", tools, "--session")
        file, saved = self.path / "long", self.path / "long.json"
        run(*how, file, stdin=f"What is RAM?\nWhat time is it in Tokyo?\n")
        done = run(*how, file, stdin="word " * 4000 + f"\n/save {saved}\n")
        self.assertEqual(done.returncode, 1)
        said = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in said], ["user", "assistant"])
        self.assertEqual(said[0]["content"], "What is RAM?")

    def chat(self, file, *lines):
        """Messages after these lines in one process."""
        saved = self.path / "saved.json"
        done = run("run", "-m", "starter", "-i", "--chat-template", self.template, *HOW,
                   *(("--session", file) if file else ()),
                   stdin="".join(f"{line}\n" for line in lines) + f"/save -f {saved}\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(saved.read_text())["messages"]

    def once(self, file, line, *more):
        done = run("run", "-m", "starter", "--json", "--session", file, "--chat-template",
                   self.template, *HOW, *more, line)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_the_same_talk(self):
        """In one process, in several, and in chats and single prompts in turn."""
        whole = self.chat(None, *LINES)
        parts, mixed = self.path / "parts", self.path / "mixed"
        n_before = 0
        for i, line in enumerate(LINES):
            answer = self.once(parts, line)
            self.assertEqual(answer["content"], whole[2 * i + 1]["content"])
            # All that was a prompt before is there.
            self.assertGreaterEqual(answer["usage"]["reused_tokens"], n_before - 1)
            n_before = answer["usage"]["prompt_tokens"]
        self.assertEqual(note_of(parts.read_bytes())["messages"], whole)
        self.assertEqual(self.chat(mixed, LINES[0]), whole[:2])
        self.assertEqual(self.once(mixed, LINES[1])["content"], whole[3]["content"])
        self.assertEqual(self.chat(mixed, LINES[2]), whole)
        self.assertEqual([n for n in os.listdir(self.path) if ".tmp" in n or "lllm" in n], [])

    def test_system_and_text(self):
        file = self.path / "system"
        self.once(file, "Hello", "--system", "Be brief.")
        self.assertEqual(note_of(file.read_bytes())["messages"][0],
                         {"role": "system", "content": "Be brief."})
        self.fails(2, "--system begins a chat", "-m", "starter", "--session", file, "--system",
                   "Be long.", "x")
        self.fails(2, "holds a chat", "-m", "starter", "--session", file, "--raw", "x")

    def test_raw(self):
        """A text goes on, by its tokens, with and without more of it. (Where given and generated
        tokens are computed alike, just as if it had not stopped.)"""
        alike = {"LLLM_CPU_MASK": "-amx"}
        file = self.path / "raw"
        text = "A database transaction groups"
        common = ("-m", "starter", "--raw", *HOW)
        first = run("run", *common, "--session", file, text, environment=alike)
        self.assertEqual(first.returncode, 0, first.stderr)
        second = run("run", *common, "--session", file, "", "--verbose",
                     environment=alike)
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertRegex(second.stderr, r"\d+ reused")
        n = len(note_of(file.read_bytes())["tokens"])
        third = run("run", *common, "--session", file, " and so on", environment=alike)
        self.assertEqual(third.returncode, 0, third.stderr)
        self.assertGreater(len(note_of(file.read_bytes())["tokens"]), n + 24)
        whole = run("run", "-m", "starter", "--raw", "--temp", "0", "--max-tokens", "48", text,
                    environment=alike)
        self.assertEqual(first.stdout + second.stdout, whole.stdout)
        self.fails(2, "goes on with --raw", "-m", "starter", "--session", file, "x",
                   environment=alike)

    def test_what_does_not_fit(self):
        file = self.path / "fits"
        self.once(file, "Hello")
        data = file.read_bytes()
        common = ("-m", "starter", "--session", file, "x")
        self.fails(1, "keys and values in f16, and here they are in q8_0", *common, "--kv-type", "q8_0")
        if "-many" in run("run", "-v", "-n", "1", "x", "--throughput").stderr:
            self.fails(1, "--throughput choose", *common, "--throughput")
        self.fails(1, "its folder is not there", "-m", "starter", "--session",
                   self.path / "no" / "x", "x")
        other = self.path / "text.txt"
        other.write_text("something else, of some length " * 20)
        self.fails(1, "not a saved session", "-m", "starter", "--session", other, "x")
        self.assertTrue(other.read_text().startswith("something else"))
        for end in (0, 5, 130, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:end])
            self.fails(1, "fits", *common)
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        self.fails(1, "is damaged: delete it, or name another file", *common)
        self.fails(1, "is a folder, and a file is wanted", "-m", "starter", "--session", self.path, "x")
        notes = [b"", b"{}", b"[]", b"null", b"{\"messages\": 5}", b"{\"messages\": [5]}",
                 b"{\"messages\": [{\"role\": 1}]}", b"\xff\x00", b"[" * 100000,
                 b"{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{}]}]}"]
        for note in notes:
            file.write_bytes(with_note(data, note))
            self.fails(1, "what was said is not in it", *common)
        for tokens in (b"[]", b"[-1]", b"[99999999]", b"[1.5]", b"[1, \"a\"]"):
            file.write_bytes(with_note(data, b"{\"tokens\": " + tokens + b"}"))
            self.fails(1, "what was said is not in it", *common, "--raw")
        file.write_bytes(with_note(data, json.dumps(note_of(data)).encode()))
        self.once(file, "Hello again")

    def test_another_template(self):
        """Messages are not rendered as they were not meant, without a word."""
        file = self.path / "template-of"
        how = ("-m", "starter", "--session", file, "-n", "2", "-q")
        self.assertEqual(run("run", *how, "--chat-template", "chatml", "x").returncode, 0)
        before = file.read_bytes()
        sentence = "was made with another chat template (--chat-template chatml): give the same one"
        self.fails(1, sentence, *how, "x")
        self.fails(1, sentence, *how, "--chat-template", "llama3", "x")
        self.fails(1, sentence, *how, "--interactive", stdin="x\n")
        self.assertEqual(file.read_bytes(), before)
        self.assertEqual(run("run", *how, "--chat-template", "chatml", "x").returncode, 0)
        own = self.path / "own"
        how = ("-m", "starter", "--session", own, "-n", "2", "-q")
        self.assertEqual(run("run", *how, "x").returncode, 0)
        self.fails(1, "(the model's own): leave --chat-template out", *how, "--chat-template",
                   self.template, "x")
        # Files of before have no word of it.
        data = own.read_bytes()
        note = note_of(data)
        del note["template"]
        own.write_bytes(with_note(data, json.dumps(note).encode()))
        self.assertEqual(run("run", *how, "x").returncode, 0)

    def test_one_process_at_a_time(self):
        file = self.path / "shared"
        how = ("run", "-m", "starter", "--session", str(file), "-n", "2", "-q")
        process = subprocess.Popen([LLLM, *how, "-i"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"x\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.read(1))
        self.fails(1, f"{file} is in use by process {process.pid}: ", *how[1:], "y")
        process.stdin.close()
        self.assertTrue(process.stdout.read() is not None)
        self.assertEqual(process.wait(timeout=PATIENCE), 0)
        process.stdout.close()
        process.stderr.close()
        lock = self.path / "shared.lock"
        self.assertFalse(lock.exists())
        self.assertEqual(len(note_of(file.read_bytes())["messages"]), 2)
        lock.write_bytes(b"")  # of one that was killed
        self.assertEqual(run(*how, "y").returncode, 0)
        self.assertEqual(len(note_of(file.read_bytes())["messages"]), 4)
        self.assertFalse(lock.exists())

    def test_a_link_is_the_file_that_it_leads_to(self):
        folder = self.path / "linked"
        folder.mkdir()
        file, link = folder / "talk", self.path / "link"
        link.symlink_to("linked/talk")
        self.fails(1, "is a link to a file that is not there", "-m", "starter", "--session",
                   str(link), "x")
        how = ("-m", "starter", "-n", "2", "-q", "--session")
        self.assertEqual(run("run", *how, str(file), "x").returncode, 0)
        process = subprocess.Popen([LLLM, "run", *how, str(file), "-i"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"x\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.read(1))
        self.fails(1, f"{link} is in use by process {process.pid}: ", *how, str(link), "y")
        # A new file in a folder that has two names.
        (self.path / "other").symlink_to("linked")
        self.fails(1, "is in use by process", *how, str(self.path / "other" / "talk"), "y")
        process.communicate()
        self.assertEqual(run("run", *how, str(link), "y").returncode, 0)
        self.assertTrue(link.is_symlink())
        self.assertEqual(len(note_of(file.read_bytes())["messages"]), 6)
        self.assertEqual(sorted(os.listdir(folder)), ["talk"])

    def test_the_file_stays_private(self):
        file = self.path / "private"
        how = ("-m", "starter", "-n", "2", "-q", "--session", str(file), "x")
        self.assertEqual(run("run", *how).returncode, 0)
        file.chmod(0o600)
        self.assertEqual(run("run", *how).returncode, 0)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(note_of(file.read_bytes())["messages"]), 4)
        user = nobody()
        file.chmod(0o444)
        self.path.chmod(0o777)
        self.fails(1, "may only be read", *how, user=user)

    def test_nothing_said(self):
        file = self.path / "nothing"
        self.assertEqual(self.chat(file), [])
        self.assertFalse(file.exists())


class Beams(Program):
    def search(self, *options):
        done = run("run", "-m", "starter", "--json", "--max-tokens", "20", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_scores(self):
        found = self.search("-p", LINES[1], "--beams", "4")
        scores = [b["score"] for b in found["beams"]]
        self.assertEqual(len(scores), 4)
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual(found["content"], found["beams"][0]["content"])
        shown = run("run", "starter", LINES[1], "--beams", "4", "--max-tokens", "20")
        self.assertEqual(shown.stdout, found["content"])
        # One beam takes the likeliest token each time; more find no less likely text.
        greedy = self.search("-p", LINES[1], "--temp", "0")
        one = self.search("-p", LINES[1], "--beams", "1", "--length-penalty", "0")
        self.assertEqual(one["content"], greedy["content"])
        many = self.search("-p", LINES[1], "--beams", "6", "--length-penalty", "0")
        self.assertGreaterEqual(many["beams"][0]["score"], one["beams"][0]["score"])
        threads = self.search("-p", LINES[1], "--beams", "4", "--threads", "1")
        self.assertEqual(threads["beams"], found["beams"])

    def test_forms(self):
        found = self.search("-p", "Is fire hot?", "--choices", "yes,no", "--beams", "8")
        self.assertLessEqual({b["content"] for b in found["beams"]}, {"yes", "no"})
        raw = self.search("--raw", "-p", "Machine learning is", "--beams", "3", "--stop", ".")
        self.assertEqual(len(raw["beams"]), 3)

    def interrupted(self, after_s, *options):
        """What a long search that gets SIGINT says, and how many tokens it has; else None."""
        process = subprocess.Popen(
            [LLLM, "run", "starter", *self.long, *options], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=dict(os.environ, NO_COLOR="1"))
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        if process.returncode != 130 or not out:
            return None
        n = (json.loads(out)["usage"]["completion_tokens"] if options else
             int(re.search(r"\| (\d+) tokens?\b.*\| interrupted", err)[1]))
        return (out, n) if n else None

    long = ("--raw", "-p", "Machine learning is", "--beams", "8", "--ignore-eos",
            "--max-tokens", "450")

    def test_interrupted(self):
        """What is there is the answer of a search that was to have so many tokens."""
        for options in ((), ("--json",)):
            found = None
            for after_s in (0.3, 0.6, 0.15, 1, 2, 4):
                found = found or self.interrupted(after_s, *options)
            self.assertIsNotNone(found, "never in the middle")
            out, n = found
            whole = json.loads(run("run", "starter", *self.long, "--json", "--max-tokens", n).stdout)
            if options:
                told = json.loads(out)
                self.assertEqual(told["content"], whole["content"])
                self.assertEqual(told["finish_reason"], "cancelled")
                self.assertEqual({b["finish_reason"] for b in told["beams"]}, {"cancelled"})
                self.assertEqual([(b["content"], b["score"]) for b in told["beams"]],
                                 [(b["content"], b["score"]) for b in whole["beams"]])
            else:
                self.assertEqual(out, whole["content"])

    def test_the_bar_leaves_the_answer(self):
        """On a terminal that both share, what the bar clears is its own line."""
        whole = run("run", "starter", LINES[1], "--beams", "4", "--max-tokens", "60").stdout
        pid, master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", NO_COLOR="1")
            os.execv(LLLM, [LLLM, "run", "starter", LINES[1], "--beams", "4", "--max-tokens", "60"])
        seen = b""
        try:
            while chunk := os.read(master, 65536):
                seen += chunk
        except OSError:  # the other side has closed
            pass
        os.close(master)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        seen = seen.decode().replace("\r\n", "\n")
        self.assertIn("searching", seen)
        self.assertTrue(whole.rstrip())
        self.assertRegex(seen, re.escape(whole.rstrip()) +
                         r"\s*\n[^\x1b\r]*prompt tokens[^\x1b\r]*\Z")

    def test_refusals(self):
        for words, options in (("temperature above 0", ("--temp", "0.7")),
                               ("mirostat", ("--mirostat", "2")),
                               ("draws nothing, so --beams does not go with --top-k, --seed",
                                ("--top-k", "2", "--seed", "4")),
                               ("does not go with --lookup", ("--lookup",)),
                               ("does not go with --session", ("--session", "x"))):
            self.fails(2, words, "-m", "starter", "-p", "x", "--beams", "3", *options)
        self.fails(1, "(--beams), and at most 2 can be: a step has 2 tokens (--batch-size)",
                   "starter", "x", "--beams", "4", "--batch-size", "2")
        self.fails(2, "--length-penalty is about --beams", "starter", "x", "--length-penalty", "2")
        self.fails(2, "does not go with --interactive", "-m", "starter", "--beams", "2", "-i")


if __name__ == "__main__":
    unittest.main()
