#!/usr/bin/env python3
"""Writes corpus/*.safetensors and corpus/expected.txt: small files, nearly all of them malformed.

Each line of expected.txt has four fields, separated by tabs: the file, what safetensors_open must
say about it (ok, input, limit, unsupported), the byte position of the error (- for none, * for any),
and words of the sentence. Run it without arguments; the result is always the same.
"""
import os
import struct

cases = []


def file(name, header, data=b"", code="ok", position="-", words="", length=None):
    """header: str or bytes. length: what the first 8 bytes say, if not the truth."""
    text = header.encode() if isinstance(header, str) else header
    size = len(text) if length is None else length
    cases.append((name, struct.pack("<Q", size) + text + data, code, position, words))


def raw(name, content, code, position, words):
    cases.append((name, content, code, position, words))


def bad(name, header, words, data=b"", at="*", code="input"):
    file(name, header, data, code, at, words)


def tensor(dtype="F32", shape="[2]", offsets="[0,8]"):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s}' % (dtype, shape, offsets)


def one(**how):
    return '{"a":%s}' % tensor(**how)


EIGHT = bytes(range(8))

# --- well-formed ---------------------------------------------------------------------------------
file("ok_empty", "{}")
file("ok_one", one(), EIGHT)
file("ok_padded", one() + "   ", EIGHT)
file("ok_metadata", '{"__metadata__":{"format":"pt","k":"caf\\u00e9 \\ud83d\\ude00"},"a":%s}' % tensor(),
     EIGHT)
file("ok_blanks", '{ "a" :\n{ "shape" : [ 2 , 1 ] ,\t"data_offsets":[0,8],"dtype":"F32"}}\r\n', EIGHT)
file("ok_unsorted", '{"b":%s,"a":%s}' % (tensor(offsets="[8,16]"), tensor()), EIGHT * 2)
file("ok_scalar", one(shape="[]", offsets="[0,4]"), EIGHT[:4])
file("ok_empty_tensor", '{"e":%s,"a":%s}' % (tensor(shape="[0,5]", offsets="[0,0]"), tensor()), EIGHT)
file("ok_only_empty", one(shape="[0]", offsets="[0,0]"))
file("ok_dtypes", "{%s}" % ",".join(
    '"%s":%s' % (d, tensor(d, "[8]", "[%d,%d]" % (i * 8, i * 8 + 8)))
    for i, d in enumerate(["I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"])), EIGHT * 6)
file("ok_f4", one(dtype="F4", shape="[16]"), EIGHT)
file("ok_f6", one(dtype="F6_E2M3", shape="[8]", offsets="[0,6]"), EIGHT[:6])
file("ok_eight_dims", one(shape="[1,1,1,1,2,1,1,1]"), EIGHT)
file("ok_escaped_name", '{"a\\"\\\\\\/\\b\\f\\n\\r\\t":%s}' % tensor(), EIGHT)

# --- the first bytes -----------------------------------------------------------------------------
raw("empty", b"", "input", "-", "has 0 bytes, too few")
raw("seven_bytes", bytes(7), "input", "-", "has 7 bytes")
raw("nine_bytes", bytes(9), "input", "-", "has 9 bytes")
raw("length_zero", bytes(8) + b"{}", "input", "*", "the JSON text ends where '{' is expected")
file("length_2gb", "{}", b"", "limit", "0", "the header has 2147483648 bytes", length=1 << 31)
file("length_2_64", "{}", b"", "limit", "0", "18446744073709551615 bytes", length=(1 << 64) - 1)
file("length_100mb", "{}", b"", "input", "0", "100000000 bytes and only 2 follow", length=10**8)
file("length_over", "{}", b"", "limit", "0", "at most 100000000", length=10**8 + 1)
file("length_cut", one(), b"", "input", "0", "only 54 follow; the file is cut off", length=57)
file("length_short", one(), b"", "input", "*", "the JSON text", length=20)
raw("gguf", b"GGUF" + bytes(20), "unsupported", "0", "a GGUF file")
raw("zip", b"PK\3\4" + bytes(20), "unsupported", "0", "a PyTorch checkpoint")
raw("html", b"<!DOCTYPE html><html>", "unsupported", "0", "a web page")
raw("lfs", b"version https://git-lfs.github.com/spec/v1\n", "unsupported", "0", "Git LFS pointer")

# --- the JSON text -------------------------------------------------------------------------------
bad("json_array", "[]", "lacks '{' here", at=8)
bad("json_text", '"a"', "lacks '{' here")
bad("json_open", "{ ", "ends where '\"' is expected")
bad("json_trailing", "{}{}", "something follows the end", at=10)
bad("json_trailing_comma", '{"a":%s,}' % tensor(), "lacks '\"' here", EIGHT)
bad("json_leading_comma", '{,"a":%s}' % tensor(), "lacks '\"' here", EIGHT)
bad("json_no_comma", '{"a":%s "b":%s}' % (tensor(), tensor()), "lacks ',' here", EIGHT)
bad("json_no_colon", '{"a" %s}' % tensor(), "lacks ':' here", EIGHT)
bad("json_utf8", b'{"a\xff":{}}', "not valid UTF-8", at=11)
bad("json_control", '{"a\n":{}}', "a string has a control character")
bad("json_escape", '{"\\x":{}}', "a wrong escape")
bad("json_escape_end", '{"\\', "a wrong escape")
bad("json_surrogate", '{"\\ud800":{}}', "is no character")
bad("json_surrogate_pair", '{"\\ud800\\u0041":{}}', "is no character")
bad("json_low_surrogate", '{"\\udc00":{}}', "is no character")
bad("json_hex", '{"\\u12g4":{}}', "lacks its four digits")
bad("json_hex_cut", '{"\\u12', "ends inside a string")
bad("json_nul", '{"a\\u0000":{}}', "a NUL character")
bad("json_string_cut", '{"a', "ends inside a string")

# --- names ---------------------------------------------------------------------------------------
bad("name_empty", '{"":%s}' % tensor(), "has 0 bytes; 1 to 1024", EIGHT)
bad("name_long", '{"%s":%s}' % ("n" * 1025, tensor()), "has 1025 bytes", EIGHT)
bad("name_twice", '{"a":%s,"a":%s}' % (tensor(), tensor(offsets="[8,16]")), 'tensor "a" is there twice',
    EIGHT * 2)
bad("name_terminal", '{"\\u001b[2J":%s}' % tensor(dtype="F33"), 'the tensor "?[2J"', EIGHT)
bad("metadata_twice", '{"__metadata__":{},"__metadata__":{}}', "is there twice")
bad("metadata_number", '{"__metadata__":{"a":1}}', "lacks '\"' here")
bad("metadata_array", '{"__metadata__":[]}', "lacks '{' here")

# --- fields --------------------------------------------------------------------------------------
bad("tensor_number", '{"a":1}', "lacks '{' here")
bad("tensor_null", '{"a":null}', "lacks '{' here")
bad("field_unknown", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}',
    'the unknown field "x"', EIGHT)
bad("field_twice", '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    'twice the field "dtype"', EIGHT)
bad("no_dtype", '{"a":{"shape":[2],"data_offsets":[0,8]}}', "lacks its dtype", EIGHT)
bad("no_shape", '{"a":{"dtype":"F32","data_offsets":[0,8]}}', "lacks its shape", EIGHT)
bad("no_offsets", '{"a":{"dtype":"F32","shape":[2]}}', "lacks its data_offsets", EIGHT)
bad("dtype_unknown", one(dtype="F33"), 'the number format "F33", which is not known', EIGHT)
bad("dtype_case", one(dtype="f32"), "not known", EIGHT)
bad("dtype_number", '{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}', "lacks '\"' here", EIGHT)
bad("shape_number", one(shape="2"), "lacks '[' here", EIGHT)
bad("shape_negative", one(shape="[-2]"), "a whole one that is not negative", EIGHT)
bad("shape_fraction", one(shape="[2.0]"), "a whole one", EIGHT)
bad("shape_exponent", one(shape="[2e0]"), "a whole one", EIGHT)
bad("shape_leading_zero", one(shape="[02]"), "a whole one", EIGHT)
bad("shape_text", one(shape='["2"]'), "a whole one", EIGHT)
bad("shape_bool", one(shape="[true]"), "a whole one", EIGHT)
bad("shape_nested", one(shape="[[2]]"), "a whole one", EIGHT)
bad("shape_2_64", one(shape="[18446744073709551616]"), "does not fit in 64 bits", EIGHT)
bad("shape_product", one(shape="[4294967296,4294967296]"), "more than 2^62 elements", EIGHT)
bad("shape_product_wraps", one(shape="[2147483648,8589934594]"), "more than 2^62 elements", EIGHT)
bad("shape_zero_then_huge", one(shape="[0,18446744073709551615]", offsets="[0,8]"),
    "has 0 bytes by its shape", EIGHT)
bad("shape_nine_dims", one(shape="[1,1,1,1,2,1,1,1,1]"), "more than 8 dimensions", EIGHT)
bad("shape_comma", one(shape="[2,]"), "a whole one", EIGHT)
bad("offsets_one", one(offsets="[0]"), "are not two numbers", EIGHT)
bad("offsets_three", one(offsets="[0,8,16]"), "are not two numbers", EIGHT)
bad("offsets_none", one(offsets="[]"), "are not two numbers", EIGHT)
bad("offsets_negative", one(offsets="[-8,0]"), "a whole one", EIGHT)
bad("offsets_reversed", one(offsets="[8,0]"), "its data_offsets are 8 and 0", EIGHT)
bad("offsets_short", one(offsets="[0,4]"), "has 8 bytes by its shape and dtype F32", EIGHT)
bad("offsets_past_end", one(offsets="[8,16]"), "ends at byte 16 of the data, which has only 8", EIGHT)
bad("offsets_2_64", one(offsets="[18446744073709551608,18446744073709551615]"),
    "its data_offsets are", EIGHT)
bad("f4_odd", one(dtype="F4", shape="[3]", offsets="[0,1]"), "not a whole number of bytes", EIGHT[:1])

# --- places --------------------------------------------------------------------------------------
bad("overlap", '{"a":%s,"b":%s}' % (tensor(), tensor(offsets="[4,12]")),
    'tensors "a" and "b" overlap', bytes(12))
bad("same_place", '{"a":%s,"b":%s}' % (tensor(), tensor()), "overlap", EIGHT)
bad("hole", '{"a":%s,"b":%s}' % (tensor(), tensor(offsets="[12,20]")),
    '4 bytes before the tensor "b" belong to no tensor', bytes(20))
bad("hole_at_start", one(offsets="[4,12]"), '4 bytes before the tensor "a"', bytes(12))
bad("tail", one(), "3 bytes at the end of the file belong to no tensor", EIGHT + bytes(3))
bad("data_without_tensors", "{}", "8 bytes at the end", EIGHT)
bad("data_cut", one(), "which has only 7", EIGHT[:7])


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    lines = []
    for name, content, code, position, words in cases:
        with open(os.path.join(folder, name + ".safetensors"), "wb") as out:
            out.write(content)
        lines.append(f"{name}.safetensors\t{code}\t{position}\t{words}\n")
    assert len(lines) == len(set(lines))
    with open(os.path.join(folder, "expected.txt"), "w", encoding="utf-8") as out:
        out.writelines(lines)


if __name__ == "__main__":
    main()
