#!/usr/bin/env python3
"""Writes golden_types.txt: the formats that llama.cpp's quantizer gives to each tensor.

    make_golden_types.py --llama FOLDER_OF_LIBLLAMA     (needs: pip install gguf numpy)

Small models of many shapes are quantized by upstream's llama_model_quantize, reached through
ctypes, and the formats of the tensors of the result are written down:

    model NAME ARCH LAYERS EMBD HEADS KV_HEADS FF EXPERTS TIED FUSED GATED
    NAME RECIPE[+imatrix] KINDS FORMAT*LAYERS FORMAT*LAYERS ... | KINDS ...

KINDS are names without "blk.N." and ".weight", separated by commas, that have the same formats;
these are given for layer after layer, equal neighbours once with their number.
"""
import argparse
import ctypes
import glob
import os
import re
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB = 300

# name, architecture, layers, embd, heads, kv heads, ff, experts, tied, fused qkv, gate
MODELS = [
    ("gqa4", "llama", 18, 256, 4, 1, 512, 0, 0, 0, 1),
    ("mha", "llama", 33, 256, 4, 4, 512, 0, 1, 0, 1),
    ("moe8", "llama", 17, 256, 4, 2, 256, 8, 0, 0, 1),
    ("moe4", "llama", 16, 256, 4, 4, 256, 4, 0, 0, 1),
    ("70b", "llama", 80, 256, 8, 1, 256, 0, 0, 0, 1),
    ("falcon", "falcon", 32, 256, 4, 1, 512, 0, 1, 1, 0),
    ("phi3", "phi3", 20, 256, 4, 4, 512, 0, 0, 1, 0),
    ("short", "llama", 9, 320, 4, 4, 544, 0, 0, 0, 1),
]
RECIPES = {
    "F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9,
    "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15,
    "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "TQ1_0": 36,
    "TQ2_0": 37, "MXFP4": 38,
}
WITH_IMATRIX = ["Q4_0", "Q5_0", "IQ4_NL", "IQ4_XS", "Q4_K_M"]


class Params(ctypes.Structure):
    _fields_ = ([(n, ctypes.c_int32) for n in ("threads", "ftype", "output_type", "embedding_type")] +
                [(n, ctypes.c_bool) for n in ("requantize", "quantize_output", "only_copy", "pure",
                                              "keep_split", "dry_run")] +
                [(n, ctypes.c_void_p) for n in ("imatrix", "overrides", "types", "prune")])


class Importance(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def load(folder):
    for name in ("libggml-base.so", "libggml.*so*"):
        for path in glob.glob(os.path.join(folder, name)):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    lib = ctypes.CDLL(next(p for p in glob.glob(os.path.join(folder, "libllama.*so*"))))
    lib.llama_model_quantize_default_params.restype = Params
    lib.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Params)]
    lib.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
        lambda level, text, data: None)
    lib.llama_log_set(lib.quiet, None)
    return lib


def write_model(path, arch, layers, embd, heads, kv, ff, experts, tied, fused, gated):
    r = np.random.default_rng(1)
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(128)
    w.add_embedding_length(embd)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    w.add_vocab_size(VOCAB)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    w.add_tokenizer_model("llama")
    w.add_token_list([b"t%d" % i for i in range(VOCAB)])
    w.add_token_scores([0.0] * VOCAB)
    w.add_token_types([1] * VOCAB)

    def add(name, *shape):
        w.add_tensor(name + ".weight", (r.standard_normal(shape) * 0.05).astype(np.float32))

    n_kv = kv * (embd // heads)
    add("token_embd", VOCAB, embd)
    add("output_norm", embd)
    if not tied:
        add("output", VOCAB, embd)
    for layer in range(layers):
        b = "blk.%d." % layer
        add(b + "attn_norm", embd)
        add(b + "ffn_norm", embd)
        if fused:
            add(b + "attn_qkv", embd + 2 * n_kv, embd)
        else:
            add(b + "attn_q", embd, embd)
            add(b + "attn_k", n_kv, embd)
            add(b + "attn_v", n_kv, embd)
        add(b + "attn_output", embd, embd)
        if experts:
            add(b + "ffn_gate_inp", experts, embd)
            add(b + "ffn_gate_exps", experts, ff, embd)
            add(b + "ffn_up_exps", experts, ff, embd)
            add(b + "ffn_down_exps", experts, embd, ff)
        else:
            if gated:
                add(b + "ffn_gate", ff, embd)
            add(b + "ffn_up", ff, embd)
            add(b + "ffn_down", embd, ff)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def importance_of(path):
    """The array that llama_model_quantize takes, and what it points to."""
    held, entries = [], []
    for t in gguf.GGUFReader(path).tensors:
        if t.name.startswith("blk.") and len(t.shape) > 1:
            data = np.ones(int(t.shape[0]), np.float32)
            held.append(data)
            entries.append(Importance(t.name.encode(), data.ctypes.data, len(data)))
    return (Importance * (len(entries) + 1))(*entries), held


def formats(lib, source, target, file_type, importance):
    p = lib.llama_model_quantize_default_params()
    p.threads = 1
    p.ftype = file_type
    p.imatrix = ctypes.addressof(importance) if importance else None
    if lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(p)):
        raise SystemExit("llama_model_quantize failed")
    kinds = {}
    for t in gguf.GGUFReader(target).tensors:
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", t.name)
        kinds.setdefault(match[2], {})[int(match[1] or 0)] = t.tensor_type.name
    groups = {}
    for kind, by_layer in kinds.items():
        if kind.endswith("norm"):
            continue
        runs = []
        for layer in sorted(by_layer):
            if runs and runs[-1][0] == by_layer[layer]:
                runs[-1][1] += 1
            else:
                runs.append([by_layer[layer], 1])
        groups.setdefault(" ".join("%s*%d" % (f, n) for f, n in runs), []).append(kind)
    return " | ".join(",".join(sorted(k)) + " " + runs for runs, k in sorted(groups.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", required=True, help="folder of libllama and libggml")
    lib = load(parser.parse_args().llama)
    lines = ["# Made by make_golden_types.py, which says what the lines mean."]
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "a.gguf"), os.path.join(folder, "b.gguf")
        for name, *shape in MODELS:
            write_model(source, *shape)
            lines.append("model %s %s" % (name, " ".join(map(str, shape))))
            for recipe, file_type in RECIPES.items():
                lines.append("%s %s %s" % (name, recipe,
                                           formats(lib, source, target, file_type, None)))
            if name == "gqa4":
                importance, held = importance_of(source)
                for recipe in WITH_IMATRIX:
                    lines.append("%s %s+imatrix %s" % (
                        name, recipe, formats(lib, source, target, RECIPES[recipe], importance)))
                del held
    with open(os.path.join(HERE, "golden_types.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
