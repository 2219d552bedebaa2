#!/usr/bin/env python3
"""Random LoRA adapters for the models in ../golden, and what the peft library makes of them.

    python make_adapters.py [NAME...]          rewrites those folders beside this file (all of them)
    python make_adapters.py --check [NAME...]  computes again and compares with what is there

Needs what ../golden/make_golden.py needs, and peft. Each folder holds what peft saves
(adapter_config.json, adapter_model.safetensors) and, in the form of ../golden, golden.json and
golden.bin: the logits of the model with the adapter. golden.json has besides

    base  the folder of ../golden whose model is adapted
    uses  [[FOLDER, STRENGTH], ...] beside this file, in the order in which they are applied

A folder with several uses has no adapter of its own. Both halves of an adapter are random, and large
enough for the script to fail when one use alone, or any of its matrices, hardly changes the
answers.
"""

import json
import pathlib
import sys

import numpy as np
import peft
import safetensors.torch
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
sys.path.insert(0, str(GOLDEN))
import make_golden  # noqa: E402

BITE = 0.02  # deviations: what each adapted matrix must do to some row, 100 times the tolerance

# name: base, then
#   lora   settings of peft.LoraConfig
#   dtype  in which the adapter is saved
#   uses   of other folders, where there is no adapter of its own
ADAPTERS = {
    "llama-attention": dict(base="llama", lora=dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
    "llama-all": dict(base="llama", lora=dict(
        r=6, lora_alpha=5, use_rslora=True,
        target_modules=["q_proj", "k_proj", "up_proj", "gate_proj", "down_proj", "lm_head"],
        rank_pattern={"up_proj": 3, r"layers\.1\.self_attn.q_proj": 2},
        alpha_pattern={"mlp.(gate|down)_proj": 7, "^model.layers.0.self_attn.k_proj": 11})),
    "llama-two": dict(base="llama", uses=[["llama-attention", 0.75], ["llama-all", 1.25]]),
    "llama-less": dict(base="llama", uses=[["llama-all", -0.5]]),
    "phi3": dict(base="phi3", lora=dict(
        r=3, lora_alpha=6, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])),
    "phi": dict(base="phi", dtype="float16", lora=dict(
        r=5, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"])),
    "gpt2": dict(base="gpt2", lora=dict(
        r=4, lora_alpha=8, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"])),
    "qwen2moe": dict(base="qwen2moe", lora=dict(
        r=4, lora_alpha=4,
        target_modules=r".*(self_attn\.[qkvo]_proj|shared_expert\.(gate|up|down)_proj)")),
    "qwen3": dict(base="qwen3", dtype="bfloat16", lora=dict(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"],
        layers_to_transform=[1])),
    "gemma2": dict(base="gemma2", dtype="bfloat16", lora=dict(
        r=1, lora_alpha=2, target_modules="all-linear")),
    "gpt-oss": dict(base="gpt-oss", lora=dict(
        r=4, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
    "starcoder2": dict(base="starcoder2", lora=dict(
        r=4, lora_alpha=4, target_modules=["c_fc", "c_proj", "k_proj"])),
}


def base_model(name):
    row = make_golden.MODELS[name]
    cls = getattr(transformers, row["cls"])
    return cls.from_pretrained(GOLDEN / name, dtype=torch.float32,
                               attn_implementation="eager").eval().float()


def draw(model, seed):
    """Both halves, so that b (a x) is about as large as x."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if ".lora_" in name:
                std = (1.0 if ".lora_A." in name else 0.25) / p.shape[1] ** 0.5
                p.copy_(torch.empty_like(p).normal_(0, 1, generator=g) * std)


def save(name, folder):
    row = ADAPTERS[name]
    model = peft.get_peft_model(base_model(row["base"]),
                                peft.LoraConfig(task_type="CAUSAL_LM", **row["lora"])).eval()
    draw(model, sum(ord(c) << i for i, c in enumerate(name)))
    # The embedding that an adapted head shares is not part of the adapter.
    model.save_pretrained(folder, save_embedding_layers=False)
    path = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    dtype = getattr(torch, row.get("dtype", "float32"))
    safetensors.torch.save_file({k: t.to(dtype).contiguous() for k, t in tensors.items()}, path,
                                metadata={"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = row["base"]
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    for extra in folder.glob("README.md"):
        extra.unlink()


def adapted(base, uses, folders):
    """The model as peft loads it, with all uses active at once."""
    model = None
    for i, (name, _) in enumerate(uses):
        folder = folders[name]
        if model is None:
            model = peft.PeftModel.from_pretrained(base_model(base), folder, adapter_name="use0")
        else:
            model.load_adapter(folder, adapter_name=f"use{i}")
    model.base_model.set_adapter([f"use{i}" for i in range(len(uses))])
    for i, (_, strength) in enumerate(uses):
        for layer in layers_of(model):
            if f"use{i}" in layer.scaling:
                layer.scaling[f"use{i}"] *= strength
    return model.eval().float()


def layers_of(model):
    return [m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]


def check_bites(name, model, prompts, types, rows):
    for layer in layers_of(model):
        for use in list(layer.scaling):
            kept = layer.scaling[use]
            layer.scaling[use] = 0.0
            d = make_golden.difference(rows, make_golden.run(model, prompts, types))
            layer.scaling[use] = kept
            if d < BITE:
                sys.exit(f"{name}: an adapted matrix changes the answers by {d:.2g} only")


def build(name, folder):
    row = ADAPTERS[name]
    uses = row.get("uses", [[name, 1.0]])
    folders = {use: HERE / use for use, _ in uses}
    if "lora" in row:
        save(name, folder)
        folders[name] = folder
    model = adapted(row["base"], uses, folders)
    rng = np.random.default_rng(sum(ord(c) << i for i, c in enumerate(name)))
    golden_row = make_golden.MODELS[row["base"]]
    for _ in range(50):
        prompts, types, _ = make_golden.draw_prompts({"cls": golden_row["cls"]}, None, rng)
        rows = make_golden.run(model, prompts, types)
        if make_golden.least_gap(rows) > make_golden.GAP:
            break
    else:
        sys.exit(f"{name}: no prompts without a near tie")
    check_bites(name, model, prompts, types, rows)
    golden = {"base": row["base"], "uses": uses, "kind": "logits",
              "width": int(rows[0].shape[-1]), "prompts": prompts,
              "top1": [x.argmax(-1).tolist() for x in rows]}
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    (folder / "golden.json").write_text("{\n" + lines + "\n}\n")
    (folder / "golden.bin").write_bytes(make_golden.pack(rows))
    size = sum(p.stat().st_size for p in folder.iterdir())
    return f"{name:18} {len(layers_of(model)):3} matrices  {size / 1024:6.1f} KiB"


if __name__ == "__main__":
    make_golden.main(__doc__, build, ADAPTERS, HERE)
