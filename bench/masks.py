#!/usr/bin/env python3
"""Token masks: lllm's beside llama.cpp's grammar sampler, in one run, on the same tokens.

    python3 bench/masks.py --times build/tests/grammar/mask_times --vocab ggml-vocab-gpt-2.gguf \\
        [--llama DIR-WITH-libllama] [--json]

For each grammar a text that fits it is cut into tokens. At every token lllm makes the mask of all
allowed tokens (a first pass with nothing known, and a second one), and llama.cpp's grammar sampler
is applied to the logits of the whole vocabulary; both then accept the token. Times are microseconds
per token, medians and 99th percentiles; where llama.cpp allows other tokens than lllm, it says so.
"""
import argparse
import ctypes
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

JSON = r'''root   ::= object
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( member ("," ws member)* )? "}"
member ::= string ":" ws value ws
array  ::= "[" ws ( value ws ("," ws value ws)* )? "]"
string ::= "\"" ( [^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}) )* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
ws     ::= [ \t\n]{0,20}
'''
LIST = r'''root ::= item{1,100}
item ::= "- " [^\n]{1,200} "\n"
'''
SUMS = r'''root ::= (sum "=" [0-9]+ "\n")+
sum  ::= term ([-+*/] term)*
term ::= [0-9]+ | "(" sum ")"
'''
WORDS = ("the quick brown fox jumps over a lazy dog while seven wizards quietly mix strange potions "
         "of joy").split()


def texts():
    r = random.Random(1)
    items = [{"id": i, "name": " ".join(r.choices(WORDS, k=5)), "price": round(r.random() * 100, 2),
              "tags": r.choices(WORDS, k=3), "ok": r.random() < 0.5, "note": None} for i in range(12)]
    sums = []
    for _ in range(40):
        a, b, c = (r.randrange(1, 100) for _ in range(3))
        sums.append(f"({a}+{b})*{c}={(a + b) * c}\n")
    return [("JSON", JSON, json.dumps({"title": "A report", "items": items})),
            ("JSON, indented", JSON, json.dumps({"title": "A report", "items": items[:6]}, indent=2)),
            ("list", LIST, "".join("- " + " ".join(r.choices(WORDS, k=12)) + "\n" for _ in range(20))),
            ("sums", SUMS, "".join(sums))]


class TokenData(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float)]


class TokenArray(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(TokenData)), ("size", ctypes.c_size_t),
                ("selected", ctypes.c_int64), ("sorted", ctypes.c_bool)]


class ModelParams(ctypes.Structure):
    """More room than it needs; vocab_only is the first of the flags (libllama v0.5.0)."""
    _fields_ = [("before", ctypes.c_uint8 * 72), ("vocab_only", ctypes.c_bool),
                ("rest", ctypes.c_uint8 * 183)]


class Llama:
    def __init__(self, folder, vocab):
        folder = pathlib.Path(folder)
        ggml = [ctypes.CDLL(str(name), mode=ctypes.RTLD_GLOBAL)
                for name in sorted(folder.glob("libggml*.so")) if "cpu" not in name.name]
        path = next(p for p in sorted(folder.glob("libllama*.so")) if "common" not in p.name)
        lib = self.lib = ctypes.CDLL(str(path))
        quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.quiet = quiet(lambda level, text, data: None)
        lib.llama_log_set(self.quiet, None)
        loader = next(g for g in ggml if hasattr(g, "ggml_backend_load_all_from_path"))
        loader.ggml_backend_load_all_from_path(str(folder).encode())
        lib.llama_model_default_params.restype = ModelParams
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParams]
        lib.llama_model_load_from_file.restype = ctypes.c_void_p
        lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        lib.llama_model_get_vocab.restype = ctypes.c_void_p
        lib.llama_vocab_n_tokens.argtypes = [ctypes.c_void_p]
        lib.llama_sampler_init_grammar.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
        lib.llama_sampler_init_grammar.restype = ctypes.c_void_p
        lib.llama_sampler_apply.argtypes = [ctypes.c_void_p, ctypes.POINTER(TokenArray)]
        lib.llama_sampler_accept.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        lib.llama_sampler_free.argtypes = [ctypes.c_void_p]
        params = lib.llama_model_default_params()
        params.vocab_only = True
        model = lib.llama_model_load_from_file(str(vocab).encode(), params)
        if not model:
            sys.exit(f"masks.py: llama.cpp cannot read {vocab}")
        self.vocab = lib.llama_model_get_vocab(model)
        self.n = lib.llama_vocab_n_tokens(self.vocab)

    def run(self, grammar, ids):
        start = time.perf_counter()
        sampler = self.lib.llama_sampler_init_grammar(self.vocab, grammar.encode(), b"root")
        compile_ms = (time.perf_counter() - start) * 1e3
        if not sampler:
            return None
        data = (TokenData * self.n)()
        fresh = (TokenData * self.n)(*((i, 0.0, 0.0) for i in range(self.n)))
        mask_us, accept_us, allowed = [], [], []
        for token in ids:
            ctypes.memmove(data, fresh, ctypes.sizeof(data))
            array = TokenArray(data, self.n, -1, False)
            start = time.perf_counter()
            self.lib.llama_sampler_apply(sampler, ctypes.byref(array))
            mask_us.append((time.perf_counter() - start) * 1e6)
            allowed.append(sum(1 for i in range(array.size) if data[i].logit == 0.0))
            start = time.perf_counter()
            self.lib.llama_sampler_accept(sampler, token)
            accept_us.append((time.perf_counter() - start) * 1e6)
        self.lib.llama_sampler_free(sampler)
        return {"compile_ms": compile_ms, "mask_us": summary(mask_us), "accept_us": summary(accept_us),
                "allowed": allowed}


def summary(times):
    times = sorted(times)
    return {"median": statistics.median_low(times), "p99": times[len(times) - 1 - len(times) // 100],
            "max": times[-1]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--times", required=True, help="the program mask_times of the build folder")
    p.add_argument("--vocab", required=True, help="a GGUF file with a vocabulary")
    p.add_argument("--llama", help="a folder with libllama and libggml")
    p.add_argument("--json", action="store_true")
    o = p.parse_args()
    llama = Llama(o.llama, o.vocab) if o.llama else None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rules, text_file = pathlib.Path(folder) / "rules", pathlib.Path(folder) / "text"
        for name, grammar, text in texts():
            rules.write_text(grammar)
            text_file.write_text(text)
            run = subprocess.run([o.times, o.vocab, "gbnf", str(rules), str(text_file)],
                                 capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"masks.py: {name}: {run.stderr.strip()}")
            row = {"grammar": name, "lllm": json.loads(run.stdout)}
            if llama:
                row["llama.cpp"] = llama.run(grammar, row["lllm"]["ids"])
                pairs = zip(row["lllm"]["allowed"], row["llama.cpp"]["allowed"])
                row["places_that_differ"] = sum(a != b for a, b in pairs)
            rows.append(row)
    if o.json:
        print(json.dumps(rows))
        return
    print("| grammar | tokens | first mask | mask | accept | llama.cpp mask | accept | differ |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        a, b = row["lllm"], row.get("llama.cpp")

        def cell(t):
            return f"{t['median']:.1f} ({t['p99']:.0f})"
        print(f"| {row['grammar']} | {len(a['ids'])} | {cell(a['first_mask_us'])} | {cell(a['mask_us'])} "
              f"| {cell(a['accept_us'])} | {cell(b['mask_us']) if b else '-'} "
              f"| {cell(b['accept_us']) if b else '-'} | {row.get('places_that_differ', '-')} |")
    print("\nmicroseconds per token: median (99th percentile)")


if __name__ == "__main__":
    main()
