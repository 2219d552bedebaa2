#!/usr/bin/env python3
"""Compares lllm's tokenizers with independent ones on random texts.

    python3 tests/tokenizer/compare.py --tool BUILD/tests/tokenizer/tokenize_many \
        --data ../shared/data/tokenizers [--count 200000] [--seed 1] [--families gpt-2,bert-bge]
        [--llama-lib DIR] [--golden]

The references are Hugging Face's tokenizers and Google's sentencepiece (Python packages of these
names), and llama.cpp where --llama-lib names a folder with its shared libraries. The vocabularies
are those of --data, written as tokenizer.json by the tokenizers package, and small ones from
golden/ beside this file. Texts are those of texts.c: characters that are assigned in Unicode 14.
The exit status is 1 where a text differs.

With --golden, what the references say goes to golden/FAMILY.txt, which test_exact.c checks: one
number for each thousand texts (FNV-1a, 64 bits, of the number of ids and the ids, each as four
bytes). --train makes the small vocabularies of golden/ anew, from --data/../text.
"""
import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import tokenizers
from tokenizers import (Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
RANGES = GOLDEN / "assigned-14.txt"
BLOCK = 1000

SPACES = r"\s+(?!\S)|\s+"
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + SPACES
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
CJK = "\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff"
HAN_AND_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
MARKED = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
          r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+")


def words(suffix, without=""):
    head = r"[^\r\n\p{L}\p{N}]?"
    return (f"{head}[{UPPER}{without}]*[{LOWER}{without}]+{suffix}|"
            f"{head}[{UPPER}{without}]+[{LOWER}{without}]*{suffix}")


def cased(suffix, digits):
    return words(suffix) + "|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|" + SPACES


def listed_letters():
    """DeepSeek's first list of letters; only how a list of this length works is checked with it."""
    source = (HERE.parent.parent / "src" / "tokenizer" / "pre.c").read_text()
    text = source[source.index("#define LISTED_LETTERS"):].split("\n\n")[0]
    return "".join(re.findall(r'"(.*)"', text)).replace("\\\\", "\\")


# Pre-tokenizers as their models' own files write them, by the names of rows of pre.c.
PATTERNS = {
    "llama-bpe": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL],
    "dbrx": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
             r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|" + SPACES],
    "stablelm2": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "qwen35": [SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|" + SPACES],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "minicpm5": [r"\p{N}{1,3}", SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+" + TAIL],
    "laguna": ["[^\n]+|[\n]+", SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "gpt-4o": [cased(SHORT + "?", r"\p{N}{1,3}")],
    "tekken": [cased("", r"\p{N}")],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", cased(SHORT + "?", r"\p{N}{1,3}")],
    "kimi-k2": [r"\p{Han}+|" + words(SHORT + "?", r"&&[^\p{Han}]") + r"|\p{N}{1,3}" + TAIL],
    "falcon": [r"[\p{P}$+<=>^~|`]+", "gpt2", "[0-9][0-9][0-9]"],
    "deepseek-llm": ["[\r\n]", r"\s?[" + listed_letters() + "]+",
                     "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$",
                     HAN_AND_HANGUL, r"\p{N}+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_AND_HANGUL, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", f"[{CJK}]+", MARKED + r"[\r\n]*|\s*[\r\n]+|" + SPACES],
    "spark2_5": [r"\p{N}{1,3}", f"[{CJK}]+", MARKED + r"|[\r\n]|" + SPACES, r"\p{N}"],
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b"
              "\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + f"[{CJK}]+",
              cased(SHORT + "?", r"\p{N}")],
    "jais-2": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|" + "|".join(rf"\s{{{2 ** i}}}(?!\S)" for i in range(9, 1, -1)) +
               r"|\s{1,2}(?!\S)|\s{1}"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )",
                  r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", "gpt2"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|" + SPACES],
    "seed-coder": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|"
                   + SPACES],
    "exaone-moe": [SHORT + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|" + SPACES],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "bloom": [r" ?[^(\s|[.,!?…。，、।۔،])]+"],
    "viking": [" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+", r"\p{N}"],
    "smollm": ["digits", "gpt2"],
}
LLAMA_CPP = ["gpt-2", "llama-spm", "phi-3", "falcon", "deepseek-coder"]


# ---- texts and ids ----

def unpack(data, width):
    at, items = 0, []
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        items.append(data[at + 4:at + 4 + width * n])
        at += 4 + width * n
    return items


def make_texts(tool, count, seed):
    run = subprocess.run([tool, str(RANGES), "texts", str(count), str(seed)], capture_output=True,
                         check=True)
    return [b.decode() for b in unpack(run.stdout, 1)]


def ours(tool, model, texts):
    data = b"".join(struct.pack("<I", len(b)) + b for b in (t.encode() for t in texts))
    run = subprocess.run([tool, str(model), "encode"], input=data, capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr.decode().strip())
    return [list(struct.unpack(f"<{len(b) // 4}i", b)) for b in unpack(run.stdout, 4)]


def block_hashes(ids):
    result = []
    for start in range(0, len(ids), BLOCK):
        h = 0xcbf29ce484222325
        for one in ids[start:start + BLOCK]:
            for byte in struct.pack(f"<I{len(one)}i", len(one), *one):
                h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
        result.append(h)
    return result


# ---- vocabularies ----

def read_gguf(path):
    """The arrays of a vocabulary, read here so that nothing of lllm's is trusted."""
    data, at = path.read_bytes(), 24
    scalars = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
               12: "d"}

    def value(kind):
        nonlocal at
        if kind == 8:
            (n,) = struct.unpack_from("<Q", data, at)
            at += 8 + n
            return data[at - n:at].decode("utf-8", "surrogateescape")
        if kind == 9:
            inner, n = struct.unpack_from("<IQ", data, at)
            at += 12
            return [value(inner) for _ in range(n)]
        fmt = "<" + scalars[kind]
        (v,) = struct.unpack_from(fmt, data, at)
        at += struct.calcsize(fmt)
        return v

    (n_pairs,) = struct.unpack_from("<Q", data, 16)
    pairs = {}
    for _ in range(n_pairs):
        key = value(8)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        pairs[key] = value(kind)
    return pairs


def reference_of(tokenizer):
    return lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def save(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder, reference_of(tokenizer)


def byte_level(vocab, merges, steps, nfc=False, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    rows, regex = [], False
    for step in steps:
        if step == "gpt2":
            rows.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
            regex = True
        elif step == "digits":
            rows.append(pre_tokenizers.Digits(individual_digits=True))
        else:
            rows.append(pre_tokenizers.Split(Regex(step), "isolated"))
    if not regex:
        rows.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(rows) if len(rows) > 1 else rows[0]
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def read_pair(vocab, merges):
    lines = merges.read_text().splitlines()
    return (json.loads(vocab.read_text()),
            [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")])


class Families:
    """make(name): the model for lllm, a function of texts for the reference, and how test_exact.c
    finds the model: a path in the shared data or in golden/, and a pre-tokenizer."""

    def __init__(self, data, folder, llama):
        self.data, self.folder, self.llama = data, folder, llama
        self._gpt2 = None

    def gpt2(self):
        if not self._gpt2:
            pairs = read_gguf(self.data / "ggml-vocab-gpt-2.gguf")
            vocab = {t: i for i, t in enumerate(pairs["tokenizer.ggml.tokens"])}
            merges = [tuple(m.split(" ")) for m in pairs["tokenizer.ggml.merges"]]
            self._gpt2 = vocab, merges
        return self._gpt2

    def names(self):
        names = ["gpt-2", "llama-bpe", "qwen2", "bert-bge", "unigram-spm", "unigram-hf", "bpe-spm",
                 "bpe-characters"] + ["pattern-" + p for p in PATTERNS]
        return names + (["llama.cpp-" + v for v in LLAMA_CPP] if self.llama else [])

    def make(self, name):
        if name.startswith("pattern-"):
            pre = name[len("pattern-"):]
            model, reference = save(byte_level(*self.gpt2(), PATTERNS[pre]), self.folder / name)
            return model, reference, f"data ggml-vocab-gpt-2.gguf {pre}"
        if name.startswith("llama.cpp-"):
            path = self.data / f"ggml-vocab-{name[len('llama.cpp-'):]}.gguf"
            return path, self.llama(path), f"data {path.name}"
        return getattr(self, "make_" + name.replace("-", "_"))()

    def make_gpt_2(self):
        _, reference = save(byte_level(*self.gpt2(), ["gpt2"]), self.folder / "gpt-2")
        model = self.data / "ggml-vocab-gpt-2.gguf"
        return model, reference, "data " + model.name

    def make_llama_bpe(self):
        pair = read_pair(self.data / "llama3/encoder.json", self.data / "llama3/vocab.bpe")
        _, reference = save(byte_level(*pair, PATTERNS["llama-bpe"], ignore_merges=True),
                            self.folder / "llama-bpe")
        return self.data / "llama3", reference, "data llama3"

    def make_qwen2(self):
        pair = read_pair(self.data / "qwen2/vocab.json", self.data / "qwen2/merges.txt")
        _, reference = save(byte_level(*pair, PATTERNS["stablelm2"], nfc=True),
                            self.folder / "qwen2")
        return self.data / "qwen2", reference, "data qwen2"

    def make_bert_bge(self):
        tokens = read_gguf(self.data / "ggml-vocab-bert-bge.gguf")["tokenizer.ggml.tokens"]
        vocab = {}
        for i, t in enumerate(tokens):
            special = t.startswith("[") and t.endswith("]") and len(t) > 2
            vocab[t if special else t[1:] if t.startswith("\u2581") else "##" + t] = i
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]",
                                               max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        _, reference = save(tokenizer, self.folder / "bert-bge")
        model = self.data / "ggml-vocab-bert-bge.gguf"
        return model, reference, "data " + model.name

    def small(self, name):
        folder = GOLDEN / name
        if (folder / "tokenizer.json").exists():
            reference = reference_of(Tokenizer.from_file(str(folder / "tokenizer.json")))
        else:
            import sentencepiece
            model = str(folder / "tokenizer.model")
            reference = sentencepiece.SentencePieceProcessor(model_file=model).encode
        return folder, reference, "golden " + name

    def make_unigram_spm(self):
        return self.small("unigram-spm")

    def make_unigram_hf(self):
        return self.small("unigram-hf")

    def make_bpe_spm(self):
        return self.small("bpe-spm")

    def make_bpe_characters(self):
        return self.small("bpe-characters")


# ---- small vocabularies ----

RULES = ("0041 0300\t00C0\n0065 0301\t00E9\n00BD\t0031 2044 0032\n0009\t0020\n000A\t0020\n000D\t0020\n"
         "3000\t0020\n00A0\t0020\nFB01\t0066 0069\nFF21\t0041\nFF22\t0042\n2461\t0032\n200B\t\n"
         "017F\t0073\n0049 0307\t0130\n2026\t002E 002E 002E\nD55C\t1112 1161 11AB\n")


def train_sentencepiece(name, text, **options):
    import sentencepiece
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "rules.tsv"
    rules.write_text(RULES)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=700, minloglevel=2,
        normalization_rule_tsv=str(rules), input_sentence_size=4000, byte_fallback=True,
        num_threads=1, **options)
    rules.unlink()
    (folder / "tokenizer.vocab").unlink()


def train_unigram(text):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=600, unk_token="<unk>", show_progress=False,
                                      special_tokens=["<pad>", "</s>", "<unk>"])
    tokenizer.train_from_iterator(text.read_text().splitlines()[:6000], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)])
    save(tokenizer, GOLDEN / "unigram-hf")


def train_characters(text):
    """As converters write SentencePiece models, but with merges of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, max_token_length=12,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tokenizer.train_from_iterator(text.read_text().splitlines()[:6000], trainer)
    # Bytes are not special in such files.
    tree = json.loads(tokenizer.to_str())
    tree["added_tokens"] = tree["added_tokens"][:3]
    save(Tokenizer.from_str(json.dumps(tree)), GOLDEN / "bpe-characters")


def train(text):
    train_sentencepiece("unigram-spm", text, model_type="unigram")
    train_sentencepiece("bpe-spm", text, model_type="bpe")
    train_unigram(text)
    train_characters(text)


# ---- llama.cpp ----

def llama_reference(folder):
    """llama.cpp's llama_tokenize. llama_model_params is passed as bytes; of its members only
    vocab_only, at byte 72, is set."""
    import ctypes
    parts = sorted(pathlib.Path(folder).glob("lib*.so*"))
    for part in ([p for p in parts if p.name.startswith("libggml-base")] +
                 [p for p in parts if p.name.startswith("libggml.")]):
        ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(str(next(p for p in parts if p.name.startswith("libllama."))))

    class Params(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_uint8 * 160)]

    lib.llama_model_default_params.restype = Params
    lib.llama_model_load_from_file.restype = ctypes.c_void_p
    lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
    lib.llama_model_get_vocab.restype = ctypes.c_void_p
    lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32,
                                   ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
    log_type = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    quiet = log_type(lambda *_: None)
    lib.llama_log_set(quiet, None)
    buffer = (ctypes.c_int32 * (1 << 22))()

    def open_model(path):
        params = lib.llama_model_default_params()
        params.bytes[72] = 1
        model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise RuntimeError(f"llama.cpp does not open {path}")
        vocab = lib.llama_model_get_vocab(model)

        def encode(texts):
            result = []
            for text in texts:
                data = text.encode()
                n = lib.llama_tokenize(vocab, data, len(data), buffer, 1 << 22, False, False)
                result.append(buffer[:n])
            return result
        encode.keep = quiet
        return encode
    return open_model


# ---- the program ----

def write_golden(name, where, seed, ids):
    lines = [f"# {name}: by compare.py --golden, tokenizers {tokenizers.__version__}",
             f"model {where}", f"seed {seed}"]
    lines += [f"{h:016x}" for h in block_hashes(ids)]
    (GOLDEN / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tool", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", default="")
    parser.add_argument("--llama-lib")
    parser.add_argument("--golden", action="store_true")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    if options.train:
        train(options.data.parent / "text" / "tinyshakespeare.txt")
    texts = make_texts(options.tool, options.count, options.seed)
    llama = llama_reference(options.llama_lib) if options.llama_lib else None
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        families = Families(options.data, pathlib.Path(folder), llama)
        chosen = options.families.split(",") if options.families else families.names()
        for name in chosen:
            model, reference, where = families.make(name)
            want = reference(texts)
            if options.golden:
                write_golden(name, where, options.seed, want)
            try:
                got = ours(options.tool, model, texts)
            except RuntimeError as e:
                print(f"{name}: {e}", flush=True)
                wrong += 1
                continue
            bad = [i for i in range(len(texts)) if got[i] != want[i]]
            print(f"{name}: {len(texts) - len(bad)} of {len(texts)} equal", flush=True)
            for i in bad[:5]:
                print(f"   {texts[i]!a}\n      lllm      {got[i]}\n      reference {want[i]}")
            wrong += len(bad) > 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
