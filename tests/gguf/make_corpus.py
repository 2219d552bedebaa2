#!/usr/bin/env python3
"""Writes corpus/*.gguf and corpus/expected.txt: small GGUF files, nearly all of them malformed.

Each line of expected.txt has four fields, separated by tabs: the file, what gguf_open_memory must
say about it (ok, input, limit, unsupported), the byte position of the error (- for none), and words
of the sentence. The positions are computed here, while the bytes are laid down, so that they do not
come from the reader that they check. Run it without arguments; the result is always the same.
"""
import os
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
T_F32, T_F16, T_Q4_0, T_Q8_0 = 0, 1, 2, 8
HERE = object()  # marks the byte that the error is about

files = {}


def u8(n):
    return struct.pack("<B", n)


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return u64(len(s)) + s


def pair(key, kind, *value):
    return [text(key), u32(kind), *value]


def tensor(name, dims, kind, offset):
    return [text(name), u32(len(dims)), *[u64(d) for d in dims], u32(kind), u64(offset)]


def array(kind, count, *values):
    return [u32(kind), u64(count), *values]


def header(n_tensors, n_pairs, version=3):
    return [b"GGUF", u32(version), u64(n_tensors), u64(n_pairs)]


def pad(n):
    """A function of what is there already: zeros up to a multiple of n."""
    return lambda size: bytes(-size % n)


def lay(parts, out, mark):
    for part in parts:
        if part is HERE:
            mark.append(len(out))
        elif callable(part):
            out += part(len(out))
        elif isinstance(part, (list, tuple)):
            lay(part, out, mark)
        else:
            out += part


def add(name, code, words, *parts):
    out, mark = bytearray(), []
    lay(parts, out, mark)
    assert name not in files and len(mark) <= 1
    position = mark[0] if mark else None
    files[name] = (code, position, words, bytes(out))


def one_pair(name, code, words, *value_parts):
    """A file whose only pair is malformed (or not)."""
    add(name, code, words, header(0, 1), *value_parts)


def one_tensor(name, code, words, *tensor_parts, data=b""):
    add(name, code, words, header(1, 0), *tensor_parts, pad(32), data)


def beginnings():
    add("empty", "input", "is empty")
    add("magic_cut", "input", "ends inside the header", HERE, b"GG")
    add("magic_wrong", "input", "not a GGUF file", HERE, b"GGUE", u32(3), u64(0), u64(0))
    add("magic_zero", "input", "not a GGUF file", HERE, bytes(64))
    add("magic_ggml", "unsupported", "old GGML file", HERE, b"lmgg", bytes(28))
    add("magic_ggjt", "unsupported", "old GGML file", HERE, b"tjgg", u32(3), bytes(24))
    add("magic_zip", "unsupported", "zip archive", HERE, b"PK\3\4", bytes(28))
    add("magic_gzip", "unsupported", "compressed with gzip", HERE, b"\x1f\x8b\x08", bytes(29))
    add("magic_html", "unsupported", "a web page", HERE, b"<!DOCTYPE html><title>404</title>")
    add("magic_lfs", "unsupported", "Git LFS pointer", HERE,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    add("magic_safetensors", "unsupported", "safetensors", HERE, u64(16), b'{"a":{"b":"c"}} ')
    add("version_cut", "input", "ends inside the header", b"GGUF", HERE, b"\3\0")
    add("version_0", "input", "version is 0", b"GGUF", HERE, u32(0), u64(0), u64(0))
    add("version_1", "unsupported", "of version 1", b"GGUF", HERE, u32(1), u32(0), u32(0))
    add("version_4", "unsupported", "of version 4, newer", b"GGUF", HERE, u32(4), u64(0), u64(0))
    add("version_big_endian", "unsupported", "big-endian GGUF file (version 3)", b"GGUF", HERE,
        struct.pack(">IQQ", 3, 0, 0))
    add("version_big_endian_2", "unsupported", "big-endian GGUF file (version 2)", b"GGUF", HERE,
        struct.pack(">IQQ", 2, 0, 0))
    add("version_huge", "unsupported", "of version 4294967295", b"GGUF", HERE, u32(2**32 - 1),
        u64(0), u64(0))
    add("counts_cut", "input", "ends inside the header", b"GGUF", u32(3), u64(0), HERE, u32(0))
    add("tensors_2_40", "input", "says 1099511627776 tensors", b"GGUF", u32(3), HERE, u64(2**40),
        u64(0), bytes(64))
    add("pairs_2_40", "input", "says 1099511627776 key/value pairs", b"GGUF", u32(3), u64(0), HERE,
        u64(2**40), bytes(64))
    add("tensors_2_64", "input", "says 18446744073709551615 tensors", b"GGUF", u32(3), HERE,
        u64(2**64 - 1), u64(0), bytes(64))
    add("pairs_2_64", "input", "says 18446744073709551615 key/value pairs", b"GGUF", u32(3),
        u64(0), HERE, u64(2**64 - 1), bytes(64))


def keys():
    add("key_length_cut", "input", "says 1 key/value pairs", b"GGUF", u32(3), u64(0), HERE, u64(1),
        bytes(6))
    one_pair("key_cut", "input", "a string of key/value pair 1 of 1 has 64 bytes but only 10", HERE,
             u64(64), b"0123456789")
    one_pair("key_length_2_64", "input", "has 18446744073709551615 bytes", HERE, u64(2**64 - 1),
             bytes(32))
    one_pair("key_empty", "input", "the key of key/value pair 1 of 1 is empty", u64(0), HERE,
             u32(U32), u32(7))
    one_pair("key_long", "limit", "65536 bytes; at most 65535", u64(65536), HERE, b"k" * 65536,
             u32(U32), u32(7))
    one_pair("key_utf8_invalid", "input", "not valid UTF-8", u64(5), b"ab", HERE, b"\xffcd",
             u32(U32), u32(7))
    one_pair("key_utf8_surrogate", "input", "not valid UTF-8", u64(4), b"a", HERE, b"\xed\xa0\x80",
             u32(U32), u32(7))
    one_pair("key_utf8_overlong", "input", "not valid UTF-8", u64(3), b"a", HERE, b"\xc0\x80",
             u32(U32), u32(7))
    one_pair("key_nul", "input", "has a NUL byte", u64(3), b"a", HERE, b"\0b", u32(U32), u32(7))
    add("key_twice", "input", 'the key "a.b" is there twice', header(0, 2),
        pair("a.b", U32, u32(1)), HERE, pair("a.b", STRING, text("other")))
    add("key_control", "input", 'the key "a?[2Jb" is there twice', header(0, 2),
        pair("a\x1b[2Jb", U8, u8(1)), HERE, pair("a\x1b[2Jb", U8, u8(1)))


def values():
    one_pair("value_type_unknown", "input", "has type 13, which GGUF does not have", text("k"),
             HERE, u32(13), u64(0))
    one_pair("value_type_huge", "input", "has type 4294967295", text("k"), HERE, u32(2**32 - 1),
             u64(0))
    one_pair("value_type_cut", "input", 'inside key/value pair 1 of 1 ("kkkk")', text("kkkk"), HERE,
             b"\4\0")
    one_pair("value_u64_cut", "input", 'inside key/value pair 1 of 1 ("k")', text("k"), u32(U64),
             HERE, bytes(7))
    one_pair("value_u8_absent", "input", 'inside key/value pair 1 of 1 ("kk")', text("kk"),
             u32(U8), HERE)
    one_pair("value_bool_2", "input", "is 2, neither 0 nor 1", text("k"), u32(BOOL), HERE, u8(2))
    one_pair("value_bools_255", "input", "is 255, neither 0 nor 1", text("k"), u32(ARRAY),
             u32(BOOL), u64(3), b"\0\1", HERE, b"\xff")
    one_pair("string_length_cut", "input", "ends inside", text("k"), u32(STRING), HERE, bytes(5))
    one_pair("string_cut", "input", "has 9 bytes but only 8 are left", text("k"), u32(STRING), HERE,
             u64(9), bytes(8))
    one_pair("string_length_2_64", "input", "has 18446744073709551615 bytes", text("k"),
             u32(STRING), HERE, u64(2**64 - 1), bytes(8))
    one_pair("string_length_wraps", "input", "has 18446744073709551608 bytes", text("k"),
             u32(STRING), HERE, u64(2**64 - 8), bytes(16))
    one_pair("array_type_cut", "input", "ends inside", text("k"), u32(ARRAY), HERE, b"\4")
    one_pair("array_count_cut", "input", "ends inside", text("k"), u32(ARRAY), u32(U8), HERE,
             bytes(4))
    one_pair("array_type_unknown", "input", "has type 99", text("k"), u32(ARRAY), HERE, u32(99),
             u64(0))
    one_pair("array_empty_type_unknown", "input", "has type 13", text("k"), u32(ARRAY), HERE,
             u32(13), u64(0))
    one_pair("array_cut", "input", "has 4 values of type u32 but only 15 bytes", text("k"),
             u32(ARRAY), u32(U32), HERE, u64(4), bytes(15))
    one_pair("array_count_2_40", "input", "has 1099511627776 values of type u8", text("k"),
             u32(ARRAY), u32(U8), HERE, u64(2**40), bytes(15))
    one_pair("array_count_wraps", "input", "has 2305843009213693953 values of type u64", text("k"),
             u32(ARRAY), u32(U64), HERE, u64(2**61 + 1), bytes(16))
    one_pair("array_strings_count_2_61", "input", "values of type string", text("k"), u32(ARRAY),
             u32(STRING), HERE, u64(2**61), bytes(16))
    one_pair("array_string_cut", "input", "has 3 bytes but only 2 are left", text("k"), u32(ARRAY),
             u32(STRING), u64(2), text("ab"), HERE, u64(3), b"xy")
    one_pair("array_arrays_count", "input", "values of type array", text("k"), u32(ARRAY),
             u32(ARRAY), HERE, u64(3), array(U8, 0), array(U8, 0), b"12345")
    one_pair("array_deep", "limit", "nest more than 4 deep", text("k"), u32(ARRAY),
             array(ARRAY, 1), array(ARRAY, 1), array(ARRAY, 1), array(ARRAY, 1), HERE,
             array(U8, 1, u8(1)))
    one_pair("array_inner_bool", "input", "is 3, neither 0 nor 1", text("k"), u32(ARRAY),
             array(ARRAY, 2), array(BOOL, 1, u8(1)), u32(BOOL), u64(1), HERE, u8(3))
    for n in (0, 3, 131072, 2**32 - 1):
        one_pair(f"alignment_{n}", "input", f"general.alignment is {n}, not a power of two",
                 text("general.alignment"), u32(U32), HERE, u32(n))
    one_pair("alignment_u64", "input", "general.alignment has type u64", text("general.alignment"),
             u32(U64), HERE, u64(32))
    one_pair("alignment_string", "input", "general.alignment has type string",
             text("general.alignment"), u32(STRING), HERE, text("32"))


def tensors():
    four = bytes(16)
    one_tensor("tensor_name_cut", "input", "a string of tensor 1 of 1 has 99 bytes", HERE, u64(99),
               bytes(40))
    one_tensor("tensor_name_empty", "input", "the name of tensor 1 of 1 is empty", u64(0), HERE,
               u32(1), u64(4), u32(T_F32), u64(0), data=four)
    one_tensor("tensor_name_long", "limit", "256 bytes; at most 255", u64(256), HERE, b"n" * 256,
               u32(1), u64(4), u32(T_F32), u64(0), data=four)
    one_tensor("tensor_name_utf8", "input", "not valid UTF-8", u64(2), b"n", HERE, b"\x80", u32(1),
               u64(4), u32(T_F32), u64(0), data=four)
    one_tensor("tensor_name_nul", "input", "has a NUL byte", u64(2), b"n", HERE, b"\0", u32(1),
               u64(4), u32(T_F32), u64(0), data=four)
    add("tensor_twice", "input", 'tensor "a" is there twice', header(2, 0),
        tensor("a", [4], T_F32, 0), HERE, tensor("a", [4], T_F32, 32), pad(32), bytes(64))
    one_tensor("dims_0", "input", "has 0 dimensions", text("a"), HERE, u32(0), u32(T_F32), u64(0),
               data=four)
    one_tensor("dims_5", "limit", "has 5 dimensions", text("a"), HERE, u32(5), u64(1) * 5,
               u32(T_F32), u64(0), data=four)
    one_tensor("dims_2_32", "limit", "has 4294967295 dimensions", text("a"), HERE, u32(2**32 - 1),
               u64(1) * 4, u32(T_F32), u64(0), data=four)
    one_tensor("dim_zero_first", "input", 'dimension 1 of tensor "a" is zero', text("a"), u32(2),
               HERE, u64(0), u64(4), u32(T_F32), u64(0), data=four)
    one_tensor("dim_zero_last", "input", 'dimension 3 of tensor "a" is zero', text("a"), u32(3),
               u64(4), u64(1), HERE, u64(0), u32(T_F32), u64(0), data=four)
    one_tensor("dim_overflow", "input", "more than 2^62 elements", text("a"), u32(2), u64(2**32),
               HERE, u64(2**32), u32(T_F32), u64(0), data=four)
    one_tensor("dim_over_2_62", "input", "more than 2^62 elements", text("a"), u32(1), HERE,
               u64(2**62 + 1), u32(T_F32), u64(0), data=four)
    one_tensor("dim_product_is_4", "input", "more than 2^62 elements", text("a"), u32(4),
               u64(2**31), u64(2**31), HERE, u64(4), u64(1), u32(T_F32), u64(0), data=four)
    one_tensor("size_overflow", "input", "does not fit in 64 bits", text("a"), u32(1), HERE,
               u64(2**62), u32(T_F32), u64(0), data=four)
    one_tensor("block_q8_0", "input", "not a multiple of the 32 elements of a Q8_0 block",
               text("a"), u32(2), HERE, u64(33), u64(32), u32(T_Q8_0), u64(0), data=bytes(2048))
    one_tensor("block_q4_0", "input", "not a multiple of the 32 elements of a Q4_0 block",
               text("a"), u32(1), HERE, u64(16), u32(T_Q4_0), u64(0), data=bytes(64))
    one_tensor("type_unknown", "unsupported", 'tensor "a" has number format 1000', text("a"),
               u32(1), u64(256), HERE, u32(1000), u64(0), data=bytes(2048))
    one_tensor("type_removed", "unsupported", 'tensor "a" has number format 4,', text("a"),
               u32(1), u64(256), HERE, u32(4), u64(0), data=bytes(2048))
    add("tensor_info_cut", "input", 'inside tensor 2 of 2 ("bbbbbbbbbb")', header(2, 0),
        tensor("a", [4], T_F32, 0), text("b" * 10), u32(2), u64(4), HERE, b"\4\0\0")
    one_tensor("offset_misaligned", "input", "not a multiple of the alignment, 32", text("a"),
               u32(1), u64(4), u32(T_F32), HERE, u64(16), data=bytes(64))
    add("offset_misaligned_64", "input", "not a multiple of the alignment, 64", header(1, 1),
        pair("general.alignment", U32, u32(64)), text("a"), u32(1), u64(4), u32(T_F32), HERE,
        u64(32), pad(64), bytes(64))
    add("offset_unnatural", "unsupported", "not aligned to the 4 bytes that format F32 needs",
        header(1, 1), pair("general.alignment", U32, u32(1)), text("abc"), u32(1), u64(4),
        u32(T_F32), HERE, u64(2), bytes(32))
    one_tensor("offset_past_end", "input", "lies past the end of the file", text("a"), u32(1),
               u64(4), u32(T_F32), HERE, u64(1024), data=four)
    one_tensor("offset_2_64", "input", "lies past the end of the file", text("a"), u32(1), u64(4),
               u32(T_F32), HERE, u64(2**64 - 32), data=four)
    one_tensor("offset_wraps_to_end", "input", "lies past the end of the file", text("a"), u32(1),
               u64(2**60), u32(T_F32), HERE, u64(2**64 - 2**62), data=four)
    one_tensor("data_cut", "input", "lies past the end of the file", text("a"), u32(1), u64(4),
               u32(T_F32), HERE, u64(0), data=bytes(15))
    add("data_absent", "input", "lies past the end of the file", header(1, 0), text("a"), u32(1),
        u64(4), u32(T_F32), HERE, u64(0))
    add("tensors_overlap", "input", 'tensors "a" and "b" overlap', header(2, 0),
        tensor("a", [16], T_F32, 0), tensor("b", [4], T_F32, 32), pad(32), bytes(32), HERE,
        bytes(32))
    add("tensors_same_place", "input", "overlap", header(2, 0), tensor("a", [4], T_F32, 32),
        tensor("b", [4], T_F32, 32), pad(32), bytes(32), HERE, bytes(32))
    add("tensors_overlap_unsorted", "input", 'tensors "c" and "a" overlap', header(3, 0),
        tensor("a", [4], T_F32, 64), tensor("b", [4], T_F32, 96), tensor("c", [16], T_F32, 32),
        pad(32), bytes(64), HERE, bytes(64))


def fine():
    scalars = [pair("u8", U8, u8(200)), pair("i8", I8, u8(0x80)), pair("u16", U16, b"\xff\xff"),
               pair("i16", I16, b"\0\x80"), pair("u32", U32, u32(2**32 - 1)),
               pair("i32", I32, u32(2**31)), pair("f32", F32, struct.pack("<f", 1.5)),
               pair("bool", BOOL, u8(1)), pair("string", STRING, text("h\u00e9llo")),
               pair("u64", U64, u64(2**64 - 1)), pair("i64", I64, u64(2**63)),
               pair("f64", F64, struct.pack("<d", 1e300))]
    add("ok_header_alone", "ok", "-", header(0, 0))
    add("ok_version_2", "ok", "-", header(0, 1, 2), pair("a", U32, u32(1)))
    add("ok_scalars", "ok", "-", header(0, len(scalars)), scalars)
    add("ok_arrays", "ok", "-", header(0, 5), pair("s", ARRAY, array(STRING, 3, text("a"), text(""),
        text("bc"))), pair("n", ARRAY, array(F64, 2, struct.pack("<dd", 0.5, -2))),
        pair("b", ARRAY, array(BOOL, 3, b"\0\1\1")), pair("none", ARRAY, array(STRING, 0)),
        pair("deep", ARRAY, array(ARRAY, 2, array(ARRAY, 1, array(ARRAY, 1, array(U8, 1, u8(9)))),
                                  array(STRING, 1, text("x")))))
    add("ok_string_not_utf8", "ok", "-", header(0, 2), pair("a", STRING, text(b"\xff\0\xfe")),
        pair("b", ARRAY, array(STRING, 1, text(b"\x80"))))
    add("ok_tensors", "ok", "-", header(4, 1), pair("general.alignment", U32, u32(64)),
        tensor("q8", [32, 2], T_Q8_0, 128), tensor("f32", [3, 1, 1, 2], T_F32, 0),
        tensor("f16", [5], T_F16, 64), tensor("q4", [64], T_Q4_0, 256), pad(64),
        bytes(range(256)), bytes(64))
    add("ok_alignment_1", "ok", "-", header(2, 1), pair("general.alignment", U32, u32(1)),
        tensor("abc", [2], T_F32, 0), tensor("defg", [3], T_F16, 8), bytes(14))
    add("ok_alignment_65536", "ok", "-", header(0, 1), pair("general.alignment", U32, u32(65536)))


def main():
    for make in (beginnings, keys, values, tensors, fine):
        make()
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.endswith(".gguf") and old[:-5] not in files:
            os.remove(os.path.join(folder, old))
    lines = []
    for name, (code, position, words, data) in sorted(files.items()):
        with open(os.path.join(folder, name + ".gguf"), "wb") as f:
            f.write(data)
        lines.append(f"{name}.gguf\t{code}\t{'-' if position is None else position}\t{words}\n")
    with open(os.path.join(folder, "expected.txt"), "w", encoding="utf-8") as f:
        f.writelines(lines)


if __name__ == "__main__":
    main()
