#!/usr/bin/env python3
"""Asks llama.cpp's samplers what they leave of made-up logits: samplers.json.

    make_samplers.py FOLDER MODEL > samplers.json

FOLDER holds libllama.so and its siblings, MODEL is a file whose vocabulary DRY reads (the starter
model). Logits are made by a rule that the test knows (`logits` below), so that the file holds
answers only: ids that are left, with the natural logarithms of their probabilities.
"""
import ctypes as c
import json
import math
import pathlib
import sys

N = 60


def logits(n, case):
    """Hash of case and token: from -10 to 10 in steps of 1/1000; about one in nine is doubled."""
    out = []
    for i in range(n):
        h = (case * 1000003 + i) & 0xFFFFFFFF
        for _ in range(2):
            h = ((h ^ (h >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
        h ^= h >> 16
        x = (h % 20001 - 10000) / 2000
        out.append(c.c_float(x * 2 if h % 9 == 0 else x).value)
    return out


class Data(c.Structure):
    _fields_ = [("id", c.c_int32), ("logit", c.c_float), ("p", c.c_float)]


class Array(c.Structure):
    _fields_ = [("data", c.POINTER(Data)), ("size", c.c_size_t), ("selected", c.c_int64),
                ("sorted", c.c_bool)]


class Bias(c.Structure):
    _fields_ = [("token", c.c_int32), ("bias", c.c_float)]


def load(folder):
    names = ["libggml-base.so*", "libggml.*so*", "libllama.*so*"]
    paths = [p for n in names for p in sorted(pathlib.Path(folder).glob(n))[:1]]
    libs = [c.CDLL(str(p), mode=c.RTLD_GLOBAL) for p in paths]
    libs[1].ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
    libs[1].ggml_backend_load_all_from_path(str(folder).encode())
    return libs[-1], libs


class Llama:
    def __init__(self, folder, model):
        self.lib, self.libs = load(folder)
        P, f, i, n, u = c.c_void_p, c.c_float, c.c_int32, c.c_size_t, c.c_uint32
        self.init = {}
        for name, types in {"top_k": [i], "top_p": [f, n], "min_p": [f, n], "typical": [f, n],
                            "temp_ext": [f, f, f], "xtc": [f, f, n, u], "top_n_sigma": [f],
                            "penalties": [i, i, f, f, f], "logit_bias": [i, i, c.POINTER(Bias)],
                            "mirostat": [i, u, f, f, i], "mirostat_v2": [u, f, f],
                            "adaptive_p": [f, f, u],
                            "dry": [P, f, f, i, i, c.POINTER(c.c_char_p), n]}.items():
            function = getattr(self.lib, "llama_sampler_init_" + name, None)
            if function is None:
                print("this library has no", name, file=sys.stderr)
                continue
            function.restype, function.argtypes = P, types
            self.init[name] = function
        for name, types in {"apply": [P, c.POINTER(Array)], "accept": [P, i], "free": [P]}.items():
            getattr(self.lib, "llama_sampler_" + name).argtypes = types
        self.lib.llama_log_set.argtypes = [P, P]
        self.quiet = c.CFUNCTYPE(None, c.c_int, c.c_char_p, P)(lambda *_: None)
        self.lib.llama_log_set(c.cast(self.quiet, P), None)

        class ModelParams(c.Structure):
            _fields_ = [("bytes", c.c_uint8 * 256)]
        self.lib.llama_model_default_params.restype = ModelParams
        params = self.lib.llama_model_default_params()
        self.lib.llama_model_load_from_file.restype = P
        self.lib.llama_model_load_from_file.argtypes = [c.c_char_p, ModelParams]
        self.model = self.lib.llama_model_load_from_file(model.encode(), params)
        self.lib.llama_model_get_vocab.restype, self.lib.llama_model_get_vocab.argtypes = P, [P]
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.lib.llama_tokenize.argtypes = [P, c.c_char_p, i, c.POINTER(i), i, c.c_bool, c.c_bool]

    def tokens(self, text):
        room = (c.c_int32 * 4096)()
        data = text.encode()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), room, 4096, False, True)
        return list(room[:n])

    def chain(self, o, n):
        """One sampler after the other, as the options say."""
        bias = [Bias(int(k), -math.inf if v is False else v)
                for k, v in o.get("logit_bias", {}).items()]
        if bias:
            yield self.init["logit_bias"](n, len(bias), (Bias * len(bias))(*bias))
        if o.get("mirostat"):
            yield self.init["temp_ext"](o["temperature"], 0, 1)
            tau, eta = o["mirostat_tau"], o["mirostat_eta"]
            yield (self.init["mirostat"](n, 1, tau, eta, 100) if o["mirostat"] == 1
                   else self.init["mirostat_v2"](1, tau, eta))
            return
        for name in o["samplers"].split(";"):
            if name == "penalties":
                yield self.init[name](n, o["repeat_last_n"], o.get("repeat_penalty", 1),
                                      o.get("frequency_penalty", 0), o.get("presence_penalty", 0))
            elif name == "temperature":
                yield self.init["temp_ext"](o["temperature"], o.get("dynatemp_range", 0),
                                            o.get("dynatemp_exponent", 1))
            elif name == "xtc":
                yield self.init[name](1, o["xtc_threshold"], 1, 1)
            elif name == "typ_p":
                yield self.init["typical"](o["typical_p"], 1)
            elif name == "adaptive_p":
                yield self.init[name](o["adaptive_target"], o["adaptive_decay"], 1)
            elif name == "dry":
                texts = [t.encode() for t in o["dry_sequence_breakers"]]
                yield self.init[name](self.vocab, o["dry_multiplier"], o["dry_base"],
                                      o["dry_allowed_length"], o["dry_penalty_last_n"],
                                      (c.c_char_p * max(1, len(texts)))(*texts), len(texts))
            elif name in ("top_p", "min_p"):
                yield self.init[name](o[name], 1)
            else:
                yield self.init[name](o[name])

    def ask(self, case, o, recent=(), n=N):
        x = logits(n, case)
        data = (Data * n)(*[Data(i, v, 0) for i, v in enumerate(x)])
        array = Array(data, n, -1, False)
        for sampler in self.chain(o, n):
            for token in recent:
                self.lib.llama_sampler_accept(sampler, token)
            self.lib.llama_sampler_apply(sampler, c.byref(array))
            self.lib.llama_sampler_free(sampler)
        left = [(array.data[i].id, array.data[i].logit) for i in range(array.size)
                if array.data[i].logit > -math.inf]
        most = max(v for _, v in left)
        total = math.log(math.fsum(math.exp(v - most) for _, v in left))
        row = {"case": case, "n": n, "options": o, "recent": list(recent)}
        row["left"] = [[i, round(v - most - total, 6)] for i, v in sorted(left)]
        return row


def cases(llama):
    number = iter(range(1, 1000))
    recent = [5, 7, 7, 9, 31, 5, 5, 59, 12, 7]

    def one(o, *rest, **more):
        return llama.ask(next(number), o, *rest, **more)
    for k in (1, 2, 17, 59, 60, 100):
        yield one({"samplers": "top_k", "top_k": k})
    for name in ("top_p", "min_p"):
        for p in (0.05, 0.3, 0.6, 0.9, 0.999):
            yield one({"samplers": name, name: p})
    for p in (0.1, 0.4, 0.7, 0.95, 0.999):
        yield one({"samplers": "typ_p", "typical_p": p})
        yield one({"samplers": "top_k;typ_p", "top_k": 30, "typical_p": p})
    for sigma in (0.3, 1, 1.7, 3):
        yield one({"samplers": "top_n_sigma", "top_n_sigma": sigma})
        yield one({"samplers": "top_k;top_n_sigma", "top_k": 20, "top_n_sigma": sigma})
    for t in (0.02, 0.05, 0.1, 0.3, 0.5):
        yield one({"samplers": "xtc", "xtc_probability": 1, "xtc_threshold": t})
        yield one({"samplers": "temperature;xtc", "temperature": 3, "xtc_probability": 1,
                   "xtc_threshold": t})
    for t in (0, 0.1, 0.8, 1, 2.5):
        yield one({"samplers": "temperature", "temperature": t})
    for t, r, e in ((1, 0.5, 1), (0.7, 1.2, 1), (1.5, 1, 2), (1, 0.9, 0.4)):
        yield one({"samplers": "temperature", "temperature": t, "dynatemp_range": r,
                   "dynatemp_exponent": e})
        yield one({"samplers": "top_k;temperature", "top_k": 9, "temperature": t,
                   "dynatemp_range": r, "dynatemp_exponent": e})
    for last in (0, 3, 8, 64):
        for penalty in ({"repeat_penalty": 1.3}, {"repeat_penalty": 0.8},
                        {"presence_penalty": 1.5}, {"frequency_penalty": 0.7},
                        {"repeat_penalty": 1.1, "presence_penalty": -0.5,
                         "frequency_penalty": 0.25}):
            yield one({"samplers": "penalties", "repeat_last_n": last, **penalty}, recent)
    yield one({"samplers": "temperature", "temperature": 1,
               "logit_bias": {"3": 4.5, "11": -2, "12": False, "59": 0.125}})
    full = {"samplers": "penalties;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature",
            "repeat_last_n": 64, "repeat_penalty": 1.2, "presence_penalty": 0.1,
            "frequency_penalty": 0.1, "top_n_sigma": 3, "top_k": 40, "typical_p": 0.97,
            "top_p": 0.95, "min_p": 0.01, "xtc_probability": 1, "xtc_threshold": 0.2,
            "temperature": 0.8}
    for _ in range(4):
        yield one(full, recent)
    yield one({**full, "samplers": "temperature;min_p;top_p;top_k;penalties"}, recent)
    for tau, t in ((1, 1), (2, 1), (5, 0.7), (0.5, 1.5)):
        for version in (1, 2):
            yield one({"mirostat": version, "mirostat_tau": tau, "mirostat_eta": 0.1,
                       "temperature": t})
    if "adaptive_p" in llama.init:
        for target, decay in ((0.3, 0.9), (0.1, 0.5), (0.8, 0.99)):
            yield one({"samplers": "min_p;adaptive_p", "min_p": 0.02, "adaptive_target": target,
                       "adaptive_decay": decay})
    text = ("The cat sat on the mat. The dog sat on the log.\nThe cat sat on the mat. "
            "\"The cat sat on the mat\": the cat sat on the")
    usual = {"samplers": "dry", "dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 2,
             "dry_penalty_last_n": 4096, "dry_sequence_breakers": ["\n", ":", "\"", "*"]}
    tokens = llama.tokens(text)
    loop = llama.tokens(" one two three" * 30)
    for change in ({}, {"dry_sequence_breakers": []}, {"dry_sequence_breakers": [". "]},
                   {"dry_allowed_length": 0}, {"dry_allowed_length": 5},
                   {"dry_penalty_last_n": 20}, {"dry_multiplier": 3, "dry_base": 1}):
        yield one({**usual, **change}, tokens, n=1024)
    yield one({**usual, "dry_sequence_breakers": []}, loop, n=1024)
    yield one({**usual, "dry_sequence_breakers": [" two th"]}, loop, n=1024)


def main():
    llama = Llama(sys.argv[1], sys.argv[2])
    rows = []
    for row in cases(llama):
        if row["n"] > N:  # most tokens are as they were: only the others are told
            x = logits(row["n"], row["case"])
            shift = max(set(r := [round(v - x[i], 4) for i, v in row["left"]]), key=r.count)
            row["shift"] = shift
            row["left"] = [[i, v] for i, v in row["left"] if abs(v - x[i] - shift) > 1e-3]
        rows.append(row)
    print("[" + ",\n".join(json.dumps(r) for r in rows) + "]")


if __name__ == "__main__":
    main()
