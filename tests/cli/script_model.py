"""A model that says what a test wants it to say.

Its embeddings are unit vectors, its one layer adds nothing, and its head looks up what follows the
last token: so after the control token at the end of a prompt it says the pieces of that token's
chain, one by one, and ends.
"""
import pathlib
import struct

U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    formats = {U32: "<I", F32: "<f", BOOL: "<?"}
    return text(key) + struct.pack("<I", kind) + (text(value) if kind == STRING else
                                                  struct.pack(formats[kind], value))


def array(key, kind, values):
    items = b"".join(map(text, values)) if kind == STRING else struct.pack(
        f"<{len(values)}{'i' if kind == I32 else 'f'}", *values)
    return text(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + items


def write(path, chains, template, controls=()):
    """chains: {the control token after which it is said: [pieces]}. Pieces are unique; those in
    `controls` are control tokens too."""
    tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    tokens += [(f"<0x{b:02X}>", BYTE) for b in range(256)]
    follows = {}
    for start, pieces in chains.items():
        before = len(tokens)
        tokens.append((start, CONTROL))
        for piece in pieces:
            follows[before] = before = len(tokens)
            tokens.append((piece.replace(" ", "\u2581"), CONTROL if piece in controls else NORMAL))
        follows[before] = 2
    n = len(tokens)
    assert len({t for t, _ in tokens}) == n, "a piece is there twice"
    pairs = [
        pair("general.architecture", STRING, "llama"), pair("general.name", STRING, "script"),
        pair("llama.block_count", U32, 1), pair("llama.context_length", U32, 2048),
        pair("llama.embedding_length", U32, n), pair("llama.feed_forward_length", U32, 1),
        pair("llama.attention.head_count", U32, 1), pair("llama.attention.head_count_kv", U32, 1),
        pair("llama.attention.key_length", U32, 2), pair("llama.attention.value_length", U32, 2),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.rope.dimension_count", U32, 2), pair("llama.vocab_size", U32, n),
        pair("tokenizer.ggml.model", STRING, "llama"),
        array("tokenizer.ggml.tokens", STRING, [t for t, _ in tokens]),
        array("tokenizer.ggml.scores", F32, [-float(i) for i in range(n)]),
        array("tokenizer.ggml.token_type", I32, [kind for _, kind in tokens]),
        pair("tokenizer.ggml.unknown_token_id", U32, 0),
        pair("tokenizer.ggml.bos_token_id", U32, 1), pair("tokenizer.ggml.eos_token_id", U32, 2),
        pair("tokenizer.ggml.add_bos_token", BOOL, True),
        pair("tokenizer.ggml.add_space_prefix", BOOL, False),
    ]
    if template is not None:
        pairs.append(pair("tokenizer.chat_template", STRING, template))

    def row(column=None):
        return b"".join(struct.pack("<f", i == column) for i in range(n))

    head = {}
    for token in range(n):
        head.setdefault(follows.get(token, 2), []).append(token)
    tensors = {
        "token_embd.weight": ((n, n), b"".join(row(i) for i in range(n))),
        "output.weight": ((n, n), b"".join(
            b"".join(struct.pack("<f", i in head.get(r, ())) for i in range(n)) for r in range(n))),
        "output_norm.weight": ((n,), struct.pack(f"<{n}f", *[1] * n)),
        "blk.0.attn_norm.weight": ((n,), struct.pack(f"<{n}f", *[1] * n)),
        "blk.0.ffn_norm.weight": ((n,), struct.pack(f"<{n}f", *[1] * n)),
    }
    for name, dims in {"attn_q": (n, 2), "attn_k": (n, 2), "attn_v": (n, 2), "attn_output": (2, n),
                       "ffn_gate": (n, 1), "ffn_up": (n, 1), "ffn_down": (1, n)}.items():
        tensors[f"blk.0.{name}.weight"] = (dims, bytes(4 * dims[0] * dims[1]))
    infos, data = b"", b""
    for name, (dims, values) in tensors.items():
        data += bytes(-len(data) % 32)
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, len(data))
        data += values
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + infos
    pathlib.Path(path).write_bytes(header + bytes(-len(header) % 32) + data)
    return path
