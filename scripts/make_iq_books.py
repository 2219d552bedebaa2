#!/usr/bin/env python3
"""Prints src/quant/iq_books.inc: the code books of the IQ1, IQ2 and IQ3 formats as bit sets.

A book is a choice of vectors of 8 (or 4) numbers, each one of 3 (or 8) levels. Which vectors were
chosen is part of the file format, so it is learnt from the format's reference reader (gguf-py:
pip install gguf numpy): for each index a block is made whose first vector has that index, all
signs plus, the smallest scale, and the reader says what it means.

In every book the vectors stand in rising order, read as numbers of base 3 (or 8) whose first
element is the lowest digit. So a book is a set: bit c is 1 when vector number c belongs to it, and
the index of a vector is the number of members below it. The script checks that.

  python3 scripts/make_iq_books.py > src/quant/iq_books.inc
"""
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

ONE = np.frombuffer(np.float16(1).tobytes(), np.uint8)


def block_iq1_s(index):  # d, qs[32], qh[8] u16
    block = np.zeros(50, np.uint8)
    block[0:2] = ONE
    block[2] = index & 255
    block[34] = index >> 8
    return block


def block_iq2_xxs(index):  # d, then per 32 elements four indices and a word of signs and scale
    block = np.zeros(66, np.uint8)
    block[0:2] = ONE
    block[2] = index
    return block


def block_iq2_xs(index):  # d, qs[32] u16: 9 bits of index, 7 of signs, scales[8]
    block = np.zeros(74, np.uint8)
    block[0:2] = ONE
    block[2:4] = index & 255, index >> 8
    return block


def block_iq2_s(index):  # d, qs[32], signs[32], qh[8], scales[8]
    block = np.zeros(82, np.uint8)
    block[0:2] = ONE
    block[2] = index & 255
    block[66] = index >> 8
    return block


def block_iq3_xxs(index):  # d, qs[64], words[8]
    block = np.zeros(98, np.uint8)
    block[0:2] = ONE
    block[2] = index
    return block


def block_iq3_s(index):  # d, qs[64], qh[8], signs[32], scales[4]
    block = np.zeros(110, np.uint8)
    block[0:2] = ONE
    block[2] = index & 255
    block[66] = index >> 8
    return block


BOOKS = [("IQ1", Type.IQ1_S, block_iq1_s, 2048, 8, 3),
         ("IQ2_XXS", Type.IQ2_XXS, block_iq2_xxs, 256, 8, 3),
         ("IQ2_XS", Type.IQ2_XS, block_iq2_xs, 512, 8, 3),
         ("IQ2_S", Type.IQ2_S, block_iq2_s, 1024, 8, 3),
         ("IQ3_XXS", Type.IQ3_XXS, block_iq3_xxs, 256, 4, 8),
         ("IQ3_S", Type.IQ3_S, block_iq3_s, 512, 4, 8)]


def main():
    print("/* Made by scripts/make_iq_books.py, which says what this is. */")
    for name, kind, make_block, n_vectors, n_digits, base in BOOKS:
        blocks = np.stack([make_block(i) for i in range(n_vectors)])
        vectors = dequantize(blocks, kind)[:, :n_digits]
        levels = np.unique(vectors)
        assert len(levels) == base, name
        codes = np.searchsorted(levels, vectors) @ (base ** np.arange(n_digits))
        assert (np.diff(codes) > 0).all(), name
        n_words = -(-base ** n_digits // 64)
        words = [0] * n_words
        for code in codes:
            words[int(code) // 64] |= 1 << int(code) % 64
        print(f"\nstatic const uint64_t set_{name.lower()}[{n_words}] = {{")
        for i in range(0, n_words, 4):
            print("    " + " ".join(f"0x{w:016x}," for w in words[i:i + 4]))
        print("};")


if __name__ == "__main__":
    main()
