#!/usr/bin/env python3
"""Tiny random models of every architecture and what the reference implementation makes of them.

    python make_golden.py [NAME...]        rewrites those folders beside this file (all of them)
    python make_golden.py --check [NAME...]  computes again and compares with what is there

Needs transformers 5, torch, safetensors and numpy; runs on the CPU in float32 with the plain
("eager") attention. Each folder is an ordinary Hugging Face folder (config.json,
model.safetensors) and holds beside it

golden.json
    kind     "logits": a decoder, one row of logits per position
             "hidden": an encoder, one row of the last hidden states per position
             "sequence": one row of class scores (before softmax) per prompt
             "tokens": one row of class scores per position
    width    elements of a row
    prompts  token ids
    types    token types (segments), a row per prompt; absent: zeros
    top1     for logits: the index of the largest element of each row, a list per prompt
    texts    encoders with a vocabulary: the text of each prompt, from which the reference's
             tokenizer made the ids; null where the ids are drawn
    mean     for hidden: the mean of each prompt's rows, not normalised
    spans    for tokens: what the reference's pipeline makes of each text with
             aggregation_strategy="simple": [label, start, end, score], offsets in characters

golden.bin
    all rows of all prompts in order: f32 low, f32 high, then `width` u16 q, little endian, for
    the values low + (high - low) q / 65535. That is exact to 1e-5 of a row's range; top1 was
    taken before.

The weights are random but not bland: attention is peaked, logits spread over several units, norms
and biases are not ones and zeros. For each feature of a family that a forward pass could get wrong
without a crash (`bites`) the script computes the model once more with the feature changed, and
fails when that alters the answers by less than four times what the tests tolerate.
"""

import argparse
import json
import math
import pathlib
import shutil
import struct
import sys
import tempfile

import numpy as np
import safetensors.torch
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
N_PROMPTS, N_TOKENS, VOCAB = 4, 64, 72
TOLERANCE = 2e-4  # of a row's standard deviation: what the tests allow
BITE = 4 * TOLERANCE  # the least that a feature must do to some row
GAP = 2e-4  # the least distance, in deviations, between the two largest logits of a row

BASE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            bos_token_id=1, eos_token_id=2, pad_token_id=None)
ENCODER = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
               num_attention_heads=4, max_position_embeddings=80, type_vocab_size=2)
DISTIL = dict(vocab_size=VOCAB, dim=32, hidden_dim=48, n_layers=2, n_heads=4,
              max_position_embeddings=80)
SENTIMENT = dict(id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1})
ENTITIES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ENTITY = dict(id2label=dict(enumerate(ENTITIES)), label2id={l: i for i, l in enumerate(ENTITIES)})


def rope(theta, **more):
    return {"rope_theta": theta, "rope_type": more.pop("rope_type", "default"), **more}


def linear(theta, factor):
    return rope(theta, rope_type="linear", factor=factor)


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
LONGROPE = dict(rope_type="longrope", original_max_position_embeddings=32,
                short_factor=[1.0, 1.1, 1.25, 1.5], long_factor=[1.0, 1.9, 3.5, 7.0])
OSS_YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=8.0,
                beta_slow=1.0, truncate=False)

# name: class, config class, settings, then
#   dtype    how the weights are stored (computed are the rounded ones)
#   spell    "4": config.json as transformers 4 wrote it, as most published folders have it
#   bites    settings of which each alone must change the answers
#   lengths  of further prompts
MODELS = {
    "llama": dict(cls="LlamaForCausalLM", config=dict(
        BASE, tie_word_embeddings=True, rope_parameters=rope(10000.0)), spell="4",
        bites=[dict(rope_parameters=rope(500.0))]),
    "llama3-rope": dict(cls="LlamaForCausalLM", config=dict(
        BASE, head_dim=16, tie_word_embeddings=False, rope_parameters=rope(500.0, **LLAMA3)),
        spell="4", bites=[dict(rope_parameters=rope(500.0)),
                          dict(rope_parameters=linear(500.0, 8.0))]),
    "llama-linear": dict(cls="LlamaForCausalLM", config=dict(
        BASE, tie_word_embeddings=False, rope_parameters=linear(10000.0, 4.0)), dtype="float32",
        bites=[dict(rope_parameters=rope(10000.0))]),
    "llama-yarn": dict(cls="LlamaForCausalLM", config=dict(
        BASE, head_dim=16, tie_word_embeddings=False, rope_parameters=rope(100.0, **YARN)),
        spell="4", bites=[dict(rope_parameters=rope(100.0)),
                          dict(rope_parameters=linear(100.0, 4.0)),
                          dict(rope_parameters=rope(100.0, **YARN, attention_factor=1.0))]),
    "codellama": dict(cls="LlamaForCausalLM", config=dict(
        BASE, num_key_value_heads=4, tie_word_embeddings=False, rope_parameters=rope(1e6)),
        spell="4", bites=[dict(rope_parameters=rope(10000.0))]),
    "mistral": dict(cls="MistralForCausalLM", config=dict(
        BASE, head_dim=12, sliding_window=16, tie_word_embeddings=False,
        rope_parameters=rope(10000.0)), spell="4", dtype="float16",
        bites=[dict(sliding_window=None), dict(sliding_window=15), dict(sliding_window=17)]),
    "mixtral": dict(cls="MixtralForCausalLM", config=dict(
        BASE, intermediate_size=24, num_local_experts=4, num_experts_per_tok=2, sliding_window=None,
        tie_word_embeddings=False, rope_parameters=rope(1e6)), spell="4",
        bites=[dict(num_experts_per_tok=1), dict(num_experts_per_tok=3)]),
    "phi": dict(cls="PhiForCausalLM", config=dict(
        BASE, num_key_value_heads=4, partial_rotary_factor=0.5, hidden_act="gelu_new",
        tie_word_embeddings=False,
        rope_parameters=rope(10000.0, partial_rotary_factor=0.5)), spell="4", dtype="float16",
        bites=[dict(partial_rotary_factor=1.0,
                    rope_parameters=rope(10000.0, partial_rotary_factor=1.0))]),
    "phi3": dict(cls="Phi3ForCausalLM", config=dict(
        BASE, sliding_window=16, tie_word_embeddings=False, rope_parameters=rope(10000.0)),
        spell="4", bites=[dict(sliding_window=None)]),
    "phi3-longrope": dict(cls="Phi3ForCausalLM", config=dict(
        BASE, max_position_embeddings=128, original_max_position_embeddings=32,
        sliding_window=None, tie_word_embeddings=True,
        rope_parameters=rope(10000.0, **LONGROPE)), spell="4", lengths=[32, 20],
        bites=[dict(rope_parameters=rope(10000.0)),
               dict(rope_parameters=rope(10000.0, **LONGROPE, attention_factor=1.0)),
               dict(rope_parameters=rope(10000.0, **dict(
                   LONGROPE, short_factor=LONGROPE["long_factor"]))),
               dict(rope_parameters=rope(10000.0, **dict(
                   LONGROPE, long_factor=LONGROPE["short_factor"])))]),
    "qwen2": dict(cls="Qwen2ForCausalLM", config=dict(
        BASE, tie_word_embeddings=True, rope_parameters=rope(1e6)), spell="4",
        bites=[dict(rope_parameters=rope(1e4))]),
    "qwen2moe": dict(cls="Qwen2MoeForCausalLM", config=dict(
        BASE, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16,
        shared_expert_intermediate_size=24, norm_topk_prob=False, decoder_sparse_step=1,
        mlp_only_layers=[], tie_word_embeddings=False, rope_parameters=rope(1e6)), spell="4",
        bites=[dict(norm_topk_prob=True), dict(num_experts_per_tok=3)]),
    "qwen3": dict(cls="Qwen3ForCausalLM", config=dict(
        BASE, head_dim=16, tie_word_embeddings=True, rope_parameters=rope(1e6)), spell="4",
        bites=[dict(rope_parameters=rope(1e4))]),
    "qwen3moe": dict(cls="Qwen3MoeForCausalLM", config=dict(
        BASE, head_dim=16, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16,
        norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
        tie_word_embeddings=False, rope_parameters=rope(1e6)), spell="4",
        bites=[dict(norm_topk_prob=False), dict(num_experts_per_tok=3)]),
    "gemma": dict(cls="GemmaForCausalLM", config=dict(
        BASE, num_key_value_heads=1, head_dim=12, pad_token_id=0, tie_word_embeddings=True,
        rope_parameters=rope(10000.0)), spell="4",
        bites=[dict(rope_parameters=rope(1000.0))]),
    "gemma2": dict(cls="Gemma2ForCausalLM", config=dict(
        BASE, num_hidden_layers=4, intermediate_size=24, head_dim=12, query_pre_attn_scalar=12,
        sliding_window=16,
        attn_logit_softcapping=4.0, final_logit_softcapping=5.0, pad_token_id=0,
        rope_parameters=rope(10000.0)), spell="4",
        bites=[dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None),
               dict(sliding_window=128), dict(query_pre_attn_scalar=8),
               dict(layer_types=["full_attention", "sliding_attention"] * 2)]),
    "gemma3": dict(cls="Gemma3ForCausalLM", config=dict(
        BASE, num_hidden_layers=7, intermediate_size=24, num_key_value_heads=1, head_dim=16,
        query_pre_attn_scalar=16, sliding_window=16, pad_token_id=0, rope_parameters={
            "full_attention": linear(1e6, 8.0), "sliding_attention": rope(10000.0)}), spell="4",
        bites=[dict(sliding_window=128), dict(query_pre_attn_scalar=8),
               dict(rope_parameters={"full_attention": rope(1e6),
                                     "sliding_attention": rope(10000.0)}),
               dict(rope_parameters={"full_attention": linear(1e6, 8.0),
                                     "sliding_attention": rope(1e6)})]),
    # Gemma 3 as transformers 5 writes it, with the scale of the 27B model: not 1/sqrt(head_dim).
    "gemma3-scaled": dict(cls="Gemma3ForCausalLM", config=dict(
        BASE, head_dim=16, query_pre_attn_scalar=8, sliding_window=16, pad_token_id=0,
        layer_types=["sliding_attention", "full_attention"], rope_parameters={
            "full_attention": rope(1e6), "sliding_attention": rope(10000.0)}),
        bites=[dict(query_pre_attn_scalar=16),
               dict(layer_types=["full_attention", "sliding_attention"])]),
    "gpt-oss": dict(cls="GptOssForCausalLM", config=dict(
        BASE, intermediate_size=24, head_dim=16, num_local_experts=4, num_experts_per_tok=2,
        sliding_window=16, tie_word_embeddings=False, attention_bias=True,
        rope_parameters=rope(100.0, **OSS_YARN)), spell="4",
        bites=[dict(sliding_window=128), dict(num_experts_per_tok=1), dict(swiglu_limit=100.0),
               dict(rope_parameters=rope(100.0)),
               dict(rope_parameters=rope(100.0, **dict(OSS_YARN, truncate=True))),
               dict(layer_types=["full_attention", "sliding_attention"])]),
    # The same family with experts as they are published: blocks of FP4 and their exponents.
    "gpt-oss-mxfp4": dict(cls="GptOssForCausalLM", config=dict(
        BASE, num_hidden_layers=2, intermediate_size=32, head_dim=16, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=16, tie_word_embeddings=False, attention_bias=True,
        rope_parameters=rope(100.0, **OSS_YARN)), spell="4", mxfp4=True, bites=[]),
    "gpt2": dict(cls="GPT2LMHeadModel", config=dict(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=80, n_inner=None,
        bos_token_id=1, eos_token_id=2),
        bites=[dict(activation_function="gelu"), dict(activation_function="silu")]),
    "starcoder2": dict(cls="Starcoder2ForCausalLM", config=dict(
        BASE, sliding_window=16, use_bias=True, tie_word_embeddings=True,
        rope_parameters=rope(1e5)), spell="4",
        bites=[dict(sliding_window=None), dict(rope_parameters=rope(1e3)),
               dict(hidden_act="gelu")]),
    "stablelm": dict(cls="StableLmForCausalLM", config=dict(
        BASE, use_qkv_bias=True, tie_word_embeddings=False,
        rope_parameters=rope(10000.0, partial_rotary_factor=0.5)), dtype="float16",
        bites=[dict(rope_parameters=rope(10000.0, partial_rotary_factor=0.25)),
               dict(rope_parameters=rope(100.0, partial_rotary_factor=0.5)),
               dict(layer_norm_eps=0.01), dict(hidden_act="gelu")]),
    "bert": dict(cls="BertModel", config=ENCODER, vocabulary=True,
                 bites=[dict(hidden_act="gelu_new")]),
    "bert-sequence": dict(cls="BertForSequenceClassification", config=dict(ENCODER, **SENTIMENT),
                          vocabulary=True, bites=[]),
    "bert-tokens": dict(cls="BertForTokenClassification", config=dict(ENCODER, **ENTITY),
                        vocabulary=True, bites=[]),
    "distilbert": dict(cls="DistilBertModel", config=DISTIL, vocabulary=True, bites=[]),
    "distilbert-sequence": dict(cls="DistilBertForSequenceClassification",
                                config=dict(DISTIL, **SENTIMENT), vocabulary=True, bites=[]),
    "distilbert-tokens": dict(cls="DistilBertForTokenClassification",
                              config=dict(DISTIL, **ENTITY), vocabulary=True, bites=[]),
    "nomic-bert": dict(cls="NomicBertModel", config=dict(
        ENCODER, max_position_embeddings=256, rope_parameters=rope(1000.0)), vocabulary=True,
        spell="nomic", bites=[dict(rope_parameters=rope(10000.0))]),
}

# 72 pieces: all letters alone and inside a word, so that any lower-case text has ids.
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDPIECES = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(LETTERS) +
              ["##" + c for c in LETTERS] +
              [".", ",", "!", "the", "movie", "was", "good", "bad", "in", "##ing", "anna", "lives",
               "paris", "and", "##es"])
TEXTS = ["The movie was good!", "Anna lives in Paris, and Bob lives in Rome.",
         "a bad, bad movie. I was bored... and the ending dragged on", "Été à Paris"]


def scale_of(name):
    """How much a linear layer enlarges what it is given."""
    sharp = ("q_proj", "k_proj", "q_lin", "k_lin", "query", "key", "qkv", "Wqkv", "c_attn", "c_fc",
             "gate.weight", "router")
    if "experts.gate_up" in name:
        return 5.0  # far enough for gpt-oss' limits to cut
    if any(s in name for s in sharp):
        return 1.6
    return 2.5 if "lm_head" in name or "classifier" in name else 1.2


def draw_weights(model, seed):
    """Fills every parameter. Matrices keep the size of what they are given, or a little more."""
    g = torch.Generator().manual_seed(seed)

    def normal(t, std, mean=0.0):
        with torch.no_grad():
            t.copy_(torch.empty_like(t).normal_(0, 1, generator=g) * std + mean)

    zero_centred = type(model).__name__.startswith("Gemma")  # norms that multiply by 1 + weight
    for name, p in sorted(model.named_parameters()):
        last = name.rsplit(".", 1)[-1]
        if "norm" in name.lower() or ".ln_" in name or "_ln" in name or name.startswith("ln_"):
            normal(p, 0.25, 0.0 if last == "bias" or zero_centred else 1.0)
        elif last == "sinks":
            normal(p, 1.0)
        elif p.dim() == 1 or last.endswith("_bias"):
            normal(p, 0.3)
        elif "embed" in name or name.endswith("wte.weight") or name.endswith("wpe.weight"):
            normal(p, 0.5)
        else:
            # Linear layers are [out, in]; GPT-2's Conv1D and gpt-oss' experts are [in, out].
            swapped = type(model).__name__.startswith("GPT2") or "experts." in name and \
                type(model).__name__.startswith("GptOss")
            fan_in = p.shape[-2] if swapped and "lm_head" not in name else p.shape[-1]
            normal(p, scale_of(name) / math.sqrt(fan_in))


def mxfp4_blocks(w):
    """[.., n] f32 -> (blocks u8 [.., n/32, 16], scales u8 [.., n/32], what they mean [.., n]).

    OCP Microscaling Formats 1.0: 32 elements of FP4 (E2M1) share a power of two. In a byte the
    element of the even index is the low nibble."""
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
    values = np.concatenate([values, -values])
    x = w.reshape(*w.shape[:-1], w.shape[-1] // 32, 32)
    largest = np.abs(x).max(-1, keepdims=True)
    exponent = np.floor(np.log2(np.maximum(largest, 1e-30))).astype(np.int32) - 2
    scale = np.exp2(exponent.astype(np.float32))
    code = np.abs((x / scale)[..., None] - values).argmin(-1).astype(np.uint8)
    blocks = code[..., 0::2] | code[..., 1::2] << 4
    scales = (exponent[..., 0] + 127).astype(np.uint8)
    return blocks, scales, (values[code] * scale).reshape(w.shape)


def stored_tensors(model, row):
    """The tensors of the folder; the model's own parameters become what those mean."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = safetensors.torch.load_file(pathlib.Path(folder) / "model.safetensors")
    dtype = getattr(torch, row.get("dtype", "bfloat16"))
    if not row.get("mxfp4"):
        return {k: t.to(dtype).contiguous() for k, t in tensors.items()}
    stored = {}
    for name, t in tensors.items():
        if name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
            # Published as [expert, out, in], computed as [expert, in, out].
            blocks, scales, _ = mxfp4_blocks(t.numpy().swapaxes(1, 2))
            stored[name + "_blocks"] = torch.from_numpy(blocks)
            stored[name + "_scales"] = torch.from_numpy(scales)
        else:
            stored[name] = t.to(dtype).contiguous()
    return stored


def spelled(config, row):
    """config.json's contents; of those that transformers adds, only what says something."""
    c = json.loads(config.to_json_string(use_diff=False))
    for key in ("transformers_version", "_name_or_path", "use_cache", "return_dict",
                "chunk_size_feed_forward", "output_hidden_states", "output_attentions",
                "is_encoder_decoder", "torchscript", "problem_type", "initializer_range",
                "attention_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop"):
        c.pop(key, None)
    if not kind_of(row) in ("sequence", "tokens"):
        c.pop("id2label", None)
        c.pop("label2id", None)
    c["architectures"] = [row["cls"]]
    c.pop("dtype", None)
    spell = row.get("spell")
    if spell == "4":
        c["torch_dtype"] = row.get("dtype", "bfloat16")
        if "Qwen3Moe" in row["cls"]:
            c["num_experts"] = c.pop("num_local_experts")
        r = c.pop("rope_parameters")
        if "GptOss" not in row["cls"]:  # whose folders have always had it
            c.pop("layer_types", None)
        if "full_attention" in r:
            c["rope_local_base_freq"] = r["sliding_attention"]["rope_theta"]
            c["sliding_window_pattern"] = c.pop("_sliding_window_pattern")
            r = dict(r["full_attention"])
        c["rope_theta"] = r.pop("rope_theta")
        r.pop("partial_rotary_factor", None)
        kind = r.pop("rope_type")
        c["rope_scaling"] = None if kind == "default" else {
            "type" if kind == "longrope" else "rope_type": kind, **r}
        if kind == "longrope":
            c["rope_scaling"].pop("original_max_position_embeddings")
        if row.get("mxfp4"):
            c["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
                "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                "lm_head"]}
    elif spell == "nomic":  # as nomic-ai publishes it, with names after GPT-2's
        c = {"activation_function": "swiglu", "architectures": c["architectures"],
             "causal": False, "layer_norm_epsilon": c["layer_norm_eps"],
             "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert",
             "n_embd": c["hidden_size"], "n_head": c["num_attention_heads"],
             "n_inner": c["intermediate_size"], "n_layer": c["num_hidden_layers"],
             "n_positions": c["max_position_embeddings"], "parallel_block": False,
             "prenorm": False, "qkv_proj_bias": False, "rotary_emb_base": 1000,
             "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
             "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
             "torch_dtype": "bfloat16", "type_vocab_size": c["type_vocab_size"],
             "use_rms_norm": False, "vocab_size": c["vocab_size"]}
    else:
        c["dtype"] = row.get("dtype", "bfloat16")
    return c


def make_config(row, **changes):
    cls = getattr(transformers, row["cls"])
    config = cls.config_class(**{**row["config"], **changes})
    config._attn_implementation = "eager"
    return config


def run(model, prompts, types):
    """[n_tokens, width] for each prompt (one row for a classifier of sequences), f64 -> f32."""
    out = []
    with torch.no_grad():
        for ids, segments in zip(prompts, types):
            more = {} if segments is None else {"token_type_ids": torch.tensor([segments])}
            r = model(input_ids=torch.tensor([ids]), **more)
            y = r.logits if hasattr(r, "logits") else r.last_hidden_state
            out.append(y.reshape(-1, y.shape[-1]).to(torch.float32).numpy())
    return out


def difference(a, b):
    """The largest distance of two lists of rows in deviations of the first."""
    return max(float(np.max(np.abs(x - y) / (x.std(-1, keepdims=True) + 1e-9)))
               for x, y in zip(a, b))


def kind_of(row):
    cls = row["cls"]
    return ("sequence" if "SequenceClassification" in cls else
            "tokens" if "TokenClassification" in cls else
            "logits" if "LM" in cls else "hidden")


def write_vocabulary(folder):
    assert len(WORDPIECES) == VOCAB, len(WORDPIECES)
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 80,
        "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]",
        "mask_token": "[MASK]"}, indent=1) + "\n")


def draw_prompts(row, folder, rng):
    """ids, types, texts"""
    lengths = [N_TOKENS] * N_PROMPTS + row.get("lengths", [])
    if not row.get("vocabulary"):
        prompts = [rng.integers(0, VOCAB, n).tolist() for n in lengths]
        return prompts, [None] * len(prompts), None
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    prompts = [tokenizer(t)["input_ids"] for t in TEXTS]
    types = [[0] * len(p) for p in prompts]
    texts = list(TEXTS)
    for n in (*lengths, 1):  # and drawn ones, in two segments where the family has them
        prompts.append(rng.integers(0, VOCAB, n).tolist())
        types.append([int(i >= n // 3) for i in range(n)])
        texts.append(None)
    if "DistilBert" in row["cls"]:
        types = [None] * len(prompts)
    return prompts, types, texts


def spans_of(model, folder, texts):
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    pipe = transformers.TokenClassificationPipeline(model=model, tokenizer=tokenizer,
                                                    aggregation_strategy="simple")
    return [[[s["entity_group"], s["start"], s["end"], round(float(s["score"]), 6)]
             for s in pipe(t)] for t in texts if t is not None]


def pack(rows):
    out = bytearray()
    for x in np.concatenate(rows):
        low, high = np.float32(x.min()), np.float32(x.max())
        span = float(high) - float(low)
        q = np.rint((x.astype(np.float64) - float(low)) / (span or 1) * 65535).astype("<u2")
        out += struct.pack("<ff", low, high) + q.tobytes()
    return bytes(out)


def least_gap(rows):
    gaps = []
    for x in rows:
        top = np.sort(x, -1)
        gaps.append(float(np.min((top[:, -1] - top[:, -2]) / x.std(-1))))
    return min(gaps)


def build(name, folder):
    """Fills the folder; a line of what was found."""
    row, kind = MODELS[name], kind_of(MODELS[name])
    cls = getattr(transformers, row["cls"])
    seed = sum(ord(c) << i for i, c in enumerate(name))
    model = cls(make_config(row)).eval()
    draw_weights(model, seed)
    safetensors.torch.save_file(stored_tensors(model, row), folder / "model.safetensors",
                                metadata={"format": "pt"})
    config = spelled(model.config, row)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if row.get("vocabulary"):
        write_vocabulary(folder)

    # What is computed is what the folder says, read by the reference itself.
    how = dict(dtype=torch.float32, attn_implementation="eager")
    if row.get("mxfp4"):
        how["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    if row.get("spell") == "nomic":  # its published spelling is not read by transformers 5
        how["config"] = make_config(row)
    meant = {k: p.detach().clone() for k, p in model.named_parameters() if "experts." in k}
    model = cls.from_pretrained(folder, **how).eval().float()
    if row.get("mxfp4"):
        for key, p in meant.items():
            if not key.endswith("bias"):  # ours and the reference's idea of the blocks
                _, _, w = mxfp4_blocks(p.numpy().swapaxes(1, 2))
                assert np.array_equal(w.swapaxes(1, 2), model.get_parameter(key).detach().numpy())
    rng = np.random.default_rng(seed)
    for _ in range(50):
        prompts, types, texts = draw_prompts(row, folder, rng)
        rows = run(model, prompts, types)
        if kind != "logits" or least_gap(rows) > GAP:
            break
    else:
        sys.exit(f"{name}: no prompts without a near tie")

    for change in row["bites"]:
        other = cls(make_config(row, **change)).eval()
        other.load_state_dict(model.state_dict())
        d = difference(rows, run(other, prompts, types))
        if d < BITE:
            sys.exit(f"{name}: {change} changes the answers by {d:.2g} only")

    golden = {"class": row["cls"], "kind": kind, "width": int(rows[0].shape[-1]),
              "prompts": prompts}
    if types[0] is not None:
        golden["types"] = types
    if kind == "logits":
        golden["top1"] = [x.argmax(-1).tolist() for x in rows]
    if texts:
        golden["texts"] = texts
    if kind == "hidden":
        golden["mean"] = [[float(f"{v:.7g}") for v in x.mean(0)] for x in rows]
    if kind == "tokens":
        golden["spans"] = spans_of(model, folder, texts)
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    (folder / "golden.json").write_text("{\n" + lines + "\n}\n")
    (folder / "golden.bin").write_bytes(pack(rows))
    deviation = float(np.mean([x.std(-1).mean() for x in rows]))
    size = sum(p.stat().st_size for p in folder.iterdir())
    return f"{name:22} {kind:9} deviation {deviation:5.2f}  {size / 1024:6.1f} KiB"


def read_rows(folder):
    width = json.loads((folder / "golden.json").read_text())["width"]
    a = np.frombuffer((folder / "golden.bin").read_bytes(), dtype=np.uint8)
    a = a.reshape(-1, 8 + 2 * width)
    ends = a[:, :8].copy().view("<f4").astype(np.float64)
    q = a[:, 8:].copy().view("<u2")
    return ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * q / 65535


def main(doc, build_one, known, here):
    """Makes the folders of `known` in `here` anew, or those that are named, or compares with --check."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in arguments.names or known:
        with tempfile.TemporaryDirectory() as made:
            made = pathlib.Path(made)
            line = build_one(name, made)
            there = here / name
            if arguments.check:
                print(name, "differs by", difference([read_rows(there)], [read_rows(made)]))
                continue
            if there.is_dir():
                shutil.rmtree(there)
            shutil.copytree(made, there)
        print(line, flush=True)


if __name__ == "__main__":
    main(__doc__, build, MODELS, HERE)
