#!/usr/bin/env python3
"""Writes golden/*.txt: blocks of every number format and what the reference reads from them, and
golden/errors.txt: the error of what the reference writes.

    make_golden.py --ggml .../libggml-base.so [TYPE ...]

The reference is the to_float function of ggml's type traits, reached through ctypes; where the
`gguf` package knows the type its dequantizer must agree. A build of ggml without fused
multiply-add is wanted (the released x86-64 base library is one): fused ones differ in last bits.
golden.h describes the files. The blocks are random, but the same for each run.

The errors are those of ggml_quantize_chunk, without and with importances, on numbers that
test_quant_write.c makes again: `sets` here and there must stay alike.
"""
import argparse
import ctypes
import math
import os
import random
import struct
import zlib

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

# Name in the table of formats: GGUF id, byte offsets of the f16 scales in a block.
TYPES = {
    "Q4_0": (2, [0]),
    "Q4_1": (3, [0, 2]),
    "Q5_0": (6, [0]),
    "Q5_1": (7, [0, 2]),
    "Q8_0": (8, [0]),
    "Q2_K": (10, [80, 82]),
    "Q3_K": (11, [108]),
    "Q4_K": (12, [0, 2]),
    "Q5_K": (13, [0, 2]),
    "Q6_K": (14, [208]),
    "IQ4_NL": (20, [0]),
    "IQ4_XS": (23, [0]),
    "MXFP4": (39, []),
    "NVFP4": (40, []),
    "Q1_0": (41, [0]),
    "Q2_0": (42, [0]),
    "IQ2_XXS": (16, [0]),
    "IQ2_XS": (17, [0]),
    "IQ3_XXS": (18, [0]),
    "IQ1_S": (19, [0]),
    "IQ3_S": (21, [0]),
    "IQ2_S": (22, [0]),
    "IQ1_M": (29, []),
    "TQ1_0": (34, [52]),
    "TQ2_0": (35, [64]),
    "Q8_K": (15, []),
}
FUNCTIONS = {"Q8_K": "dequantize_row_q8_K"}  # where the traits have no to_float
WHOLE_ELEMENTS = 512  # of the first blocks all values are written, of the others a hash


class Traits(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("block_elements", ctypes.c_int64),
                ("interleave", ctypes.c_int64), ("block_bytes", ctypes.c_size_t),
                ("quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p),
                ("from_float", ctypes.c_void_p)]


class InitParams(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p),
                ("no_alloc", ctypes.c_bool)]


def load(path):
    lib = ctypes.CDLL(path)
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    lib.ggml_init.argtypes = [InitParams]
    lib.ggml_init.restype = ctypes.c_void_p
    lib.ggml_init(InitParams(1 << 20, None, False))  # fills its table of halves
    return lib


def to_bits(lib, name, traits, block):
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    call = kind((FUNCTIONS[name], lib)) if name in FUNCTIONS else kind(traits.to_float)
    n = traits.block_elements
    source = ctypes.create_string_buffer(block, len(block))
    out = (ctypes.c_float * n)()
    call(ctypes.addressof(source), ctypes.addressof(out), n)
    words = struct.unpack("<%dI" % n, bytes(out))
    return [0x7fc00000 if w & 0x7fffffff > 0x7f800000 else w for w in words]


def gguf_bits(type_id, block):
    """The same by gguf-py, or None where it has no code for the type."""
    try:
        import gguf
        import numpy
        kind = gguf.GGMLQuantizationType(type_id)
        with numpy.errstate(all="ignore"):
            x = gguf.dequantize(numpy.frombuffer(block, numpy.uint8).reshape(1, -1), kind)
    except (ImportError, ValueError, NotImplementedError):
        return None
    words = struct.unpack("<%dI" % x.size, x.astype("<f4").tobytes())
    return [0x7fc00000 if w & 0x7fffffff > 0x7f800000 else w for w in words]


def half(value):
    return struct.pack("<e", value)


def blocks_of(name, block_bytes, count):
    """`count` blocks: usual scales first, then subnormal and extreme ones, then any bytes."""
    r = random.Random(zlib.crc32(name.encode()))
    _, scales = TYPES[name]
    kinds = ["usual", "subnormal", "zeros", "ones", "largest", "negative zero", "infinite"]
    result = []
    for i in range(count):
        kind = kinds[i] if i < len(kinds) else ("usual", "any", "any")[i % 3]
        block = bytearray(r.randbytes(block_bytes))
        if kind == "zeros":
            block = bytearray(block_bytes)
        if kind == "ones":
            block = bytearray(b"\xff" * block_bytes)
        for at in scales:
            sign = r.choice([-1, 1])
            value = {
                "usual": half(sign * 2 ** r.uniform(-12, -1)),
                "subnormal": struct.pack("<H", r.randrange(1, 1024) | r.randrange(2) << 15),
                "largest": struct.pack("<H", 0x7bff | r.randrange(2) << 15),
                "negative zero": half(-0.0),
                "infinite": half(sign * float("inf")),
            }.get(kind)
            if value is not None:
                block[at:at + 2] = value
        result.append(bytes(block))
    return result


def fnv1a(bits):
    h = 0xcbf29ce484222325
    for byte in struct.pack("<%dI" % len(bits), *bits):
        h = (h ^ byte) * 0x100000001b3 % 2 ** 64
    return h


def write(lib, name):
    type_id, _ = TYPES[name]
    traits = lib.ggml_get_type_traits(type_id).contents
    lines = ["# Made by make_golden.py from ggml's %s; the lines are described in golden.h."
             % traits.name.decode(), "type " + name]
    whole, checked = 0, True
    for block in blocks_of(name, traits.block_bytes, 16 + 8 * (traits.block_elements <= 64)):
        bits = to_bits(lib, name, traits, block)
        second = gguf_bits(type_id, block)
        checked = checked and second is not None
        if second is not None and second != bits:
            i = next(i for i in range(len(bits)) if bits[i] != second[i])
            print("%s: gguf-py differs: %s element %d: %08x, ggml %08x"
                  % (name, block.hex(), i, second[i], bits[i]))
        lines.append("block " + block.hex())
        whole += len(bits)
        if whole <= WHOLE_ELEMENTS:
            lines.append("values " + "".join("%08x" % b for b in bits))
        else:
            lines.append("hash %016x" % fnv1a(bits))
    path = os.path.join(FOLDER, name.lower() + ".txt")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    print("%s%s" % (path, "" if checked else " (gguf-py did not check it)"))


WRITTEN = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
           "IQ4_NL", "IQ4_XS", "MXFP4"]
ROWS, COLUMNS = 16, 1024


class SplitMix:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        """A multiple of 2^-24 in [0, 1)."""
        self.state = (self.state + 0x9e3779b97f4a7c15) % 2 ** 64
        z = self.state
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 % 2 ** 64
        z = (z ^ z >> 27) * 0x94d049bb133111eb % 2 ** 64
        return ((z ^ z >> 31) >> 40) / 2 ** 24

    def normal(self):
        """Nearly: twelve uniform numbers less six. Exact in doubles."""
        return sum(self.uniform() for _ in range(12)) - 6


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def sets():
    """Name, elements [ROWS * COLUMNS] and importances [COLUMNS], all f32."""
    r = SplitMix(1)
    importance = [f32(1 / ((0.02 + u) * (0.02 + u))) for u in (r.uniform() for _ in range(COLUMNS))]
    normal = [f32(r.normal() / 64) for _ in range(ROWS * COLUMNS)]
    tails = [f32(r.normal() / (0.05 + r.uniform())) for _ in range(ROWS * COLUMNS)]
    widths = [0.25 + r.uniform() for _ in range(COLUMNS)]
    scaled = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            outlier = 8 if r.uniform() < 1 / 256 else 1
            scaled.append(f32(r.normal() * widths[column] * 2 ** (row % 5) * outlier / 256))
    return [("normal", normal, importance), ("tails", tails, importance),
            ("scaled", scaled, importance)]


def relative_error(x, y, importance):
    """Root of the mean square error over that of x, both weighted by column."""
    error = energy = 0.0
    for i, (a, b) in enumerate(zip(x, y)):
        w = importance[i % COLUMNS] if importance else 1.0
        error += w * (a - b) * (a - b)
        energy += w * a * a
    return math.sqrt(error / energy)


def write_errors(lib):
    chunk = lib.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                      ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    floats = ctypes.c_float * (ROWS * COLUMNS)
    lines = ["# Made by make_golden.py: type, set, error of ggml_quantize_chunk, the same with "
             "importances."]
    data = sets()
    for name in WRITTEN:
        type_id = TYPES[name][0]
        traits = lib.ggml_get_type_traits(type_id).contents
        to_float = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
            traits.to_float)
        blocks = ctypes.create_string_buffer(
            ROWS * COLUMNS // traits.block_elements * traits.block_bytes)
        for kind, x, importance in data:
            source, back, errors = floats(*x), floats(), []
            weights = (ctypes.c_float * COLUMNS)(*importance)
            for w in (None, importance):
                chunk(type_id, source, blocks, 0, ROWS, COLUMNS, weights if w else None)
                to_float(ctypes.addressof(blocks), ctypes.addressof(back), len(x))
                errors.append(relative_error(x, back, w))
            lines.append("%s %s %.9f %.9f" % (name, kind, *errors))
    path = os.path.join(FOLDER, "errors.txt")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ggml", required=True, help="libggml-base.so, without fused multiply-add")
    parser.add_argument("types", nargs="*", metavar="TYPE", help="default: all, and the errors")
    arguments = parser.parse_args()
    lib = load(arguments.ggml)
    os.makedirs(FOLDER, exist_ok=True)
    for name in arguments.types or sorted(TYPES):
        write(lib, name)
    if not arguments.types:
        write_errors(lib)


if __name__ == "__main__":
    main()
