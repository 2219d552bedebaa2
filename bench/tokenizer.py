#!/usr/bin/env python3
"""How fast lllm tokenizes texts, on one thread, and how fast others do, in one run.

    python3 bench/tokenizer.py --tool BUILD/tests/tokenizer/tokenize_many \
        --data ../shared/data/tokenizers --text ../shared/data/text [--reps 5] [--lines] [--json]
        [--llama-lib DIR] [--vocabularies gpt-2,llama-bpe]

Each round measures every program once on every text, so that what else the machine does meets all
alike; the table has medians and, in brackets, the slowest and fastest round, in MB/s. Hugging Face's
tokenizers is measured where the Python package is installed, llama.cpp (llama_tokenize) where
--llama-lib names the folder with its shared libraries. All must give the same number of tokens.
With --lines each line is a text of its own, as messages of a chat are; else the whole file is one.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "tokenizer"))

VOCABULARIES = ["llama-bpe", "qwen2", "gpt-2", "llama-spm", "bert-bge"]


def models_of(options, folder):
    """name -> (model for lllm, Hugging Face tokenizer or None, GGUF for llama.cpp or None)"""
    data = options.data
    paths = {name: data / f"ggml-vocab-{name}.gguf" for name in VOCABULARIES}
    paths["llama-bpe"], paths["qwen2"] = data / "llama3", data / "qwen2"
    models = {name: [paths[name], None, paths[name] if paths[name].suffix == ".gguf" else None]
              for name in options.vocabularies}
    try:
        import compare
        from tokenizers import Tokenizer
    except ImportError:
        print("the tokenizers package is not installed; it is not measured", file=sys.stderr)
        return models
    families = compare.Families(data, pathlib.Path(folder), None)
    for name in models:
        if name == "llama-spm":
            tree = spm_as_merges(compare.read_gguf(paths[name]))
            models[name][1] = Tokenizer.from_str(json.dumps(tree))
            continue
        families.make(name)
        saved = pathlib.Path(folder) / name / "tokenizer.json"
        models[name][1] = Tokenizer.from_file(str(saved))
    return models


def spm_as_merges(pairs):
    """A tokenizer.json of a SentencePiece vocabulary, as transformers converts them: each way to
    join two tokens to a third is a merge, the best scores first."""
    tokens, scores = pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.scores"]
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = []
    for token, score in zip(tokens, scores):
        ways = [(token[:i], token[i:]) for i in range(1, len(token))
                if token[:i] in vocab and token[i:] in vocab]
        merges += [(-score, vocab[left], vocab[right], left, right) for left, right in ways]
    merges.sort(key=lambda m: m[:3])
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "byte_fallback": True, "vocab": vocab,
                      "merges": [[m[3], m[4]] for m in merges]}}


def write_gguf(tool, model, path):
    """A GGUF file of a folder's vocabulary, for llama.cpp."""
    run = subprocess.run([tool, str(model), "gguf", str(path)], check=False, capture_output=True)
    return path if run.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tool", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--vocabularies", default=",".join(VOCABULARIES))
    parser.add_argument("--llama-lib")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.vocabularies = options.vocabularies.split(",")
    texts = sorted(options.text.glob("*.txt"))
    rates, counts = {}, {}

    def note(vocabulary, program, path, seconds, n_tokens):
        rates.setdefault((vocabulary, path.name, program), []).append(
            path.stat().st_size / 1e6 / seconds)
        counts.setdefault((vocabulary, path.name), {})[program] = n_tokens

    with tempfile.TemporaryDirectory() as folder:
        models = models_of(options, folder)
        llama = None
        if options.llama_lib:
            import compare
            llama = compare.llama_reference(options.llama_lib)
        for name, (model, hugging, gguf) in models.items():
            peer = None
            if llama:
                gguf = gguf or write_gguf(options.tool, model, pathlib.Path(folder) / f"{name}.gguf")
                peer = llama(gguf) if gguf else None
            for _ in range(options.reps):
                mode = "lines" if options.lines else "bench"
                run = subprocess.run([options.tool, str(model), mode, "1", *map(str, texts)],
                                     capture_output=True, text=True, check=True)
                for path, line in zip(texts, run.stdout.splitlines()):
                    _, n_tokens, seconds = line.split()
                    note(name, "lllm", path, float(seconds), int(n_tokens))
                for path in texts:
                    text = path.read_text(encoding="utf-8")
                    parts = text.removesuffix("\n").split("\n") if options.lines else [text]
                    if hugging:
                        start = time.perf_counter()
                        encoded = hugging.encode_batch(parts, add_special_tokens=False)
                        seconds = time.perf_counter() - start
                        note(name, "tokenizers", path, seconds, sum(len(e.ids) for e in encoded))
                    if peer:
                        start = time.perf_counter()
                        encoded = peer(parts)
                        seconds = time.perf_counter() - start
                        note(name, "llama.cpp", path, seconds, sum(map(len, encoded)))
    rows = [{"vocabulary": v, "text": t, "program": p, "mb_per_s": statistics.median(r),
             "min": min(r), "max": max(r), "tokens": counts[v, t][p]}
            for (v, t, p), r in rates.items()]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['vocabulary']:<10} {row['text']:<20} {row['program']:<11}"
                  f"{row['mb_per_s']:8.2f} MB/s [{row['min']:.2f}..{row['max']:.2f}]"
                  f"  {row['tokens']} tokens")
    different = [key for key, by_program in counts.items() if len(set(by_program.values())) > 1]
    for key in different:
        print(f"{key}: the programs disagree: {counts[key]}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
