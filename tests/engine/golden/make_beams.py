#!/usr/bin/env python3
"""What transformers' beam search finds on the tiny models of tests/model/golden.

    python make_beams.py            writes beams.json beside this file
    python make_beams.py --check    computes again and compares with what is there

Needs transformers 5 and torch; runs on the CPU in float32 (generate(num_beams=..., do_sample=False)).
beams.json is an array of cases:

    model      folder below tests/model/golden
    prompt     token ids
    ends       ids that end an answer (eos_token_id); often drawn ones, since random models end rarely
    beams, length_penalty, early_stopping (false, true, "never"), max_tokens, repetition_penalty
    results    [tokens behind the prompt, without the end token], score, whether an end token followed

A case is taken only where the results stay the same when all weights are changed by noise of NOISE
of their size, several times: then roundings cannot decide.
"""

import argparse
import itertools
import json
import pathlib
import sys

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent.parent / "model" / "golden"
NOISE = 3e-4
NAMES = ["llama", "qwen3", "gpt2", "gemma2", "qwen2moe"]
WANTED = 6  # cases of each model


def load(name):
    return transformers.AutoModelForCausalLM.from_pretrained(
        MODELS / name, dtype=torch.float32, attn_implementation="eager").eval()


def search(model, case):
    prompt = torch.tensor([case["prompt"]])
    out = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=case["beams"],
        num_return_sequences=case["beams"], max_new_tokens=case["max_tokens"],
        length_penalty=case["length_penalty"], early_stopping=case["early_stopping"],
        repetition_penalty=case["repetition_penalty"], eos_token_id=case["ends"],
        pad_token_id=case["ends"][0], return_dict_in_generate=True, output_scores=True)
    results = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
        tokens = row[len(case["prompt"]):]
        ended = [i for i, t in enumerate(tokens) if t in case["ends"]]
        results.append(dict(tokens=tokens[:ended[0]] if ended else tokens, ended=bool(ended),
                            score=round(score, 6)))
    return results


def texts(results):
    return [(r["tokens"], r["ended"]) for r in results]


def is_steady(name, case, results):
    for seed in range(3):
        torch.manual_seed(seed)
        model = load(name)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + NOISE * torch.randn_like(p))
        if texts(search(model, case)) != texts(results):
            return False
    return True


def cases_of(name):
    golden = json.loads((MODELS / name / "golden.json").read_text())
    model = load(name)
    ways = list(itertools.product([3, 2, 5, 8], [1.0, 0.0, 2.0, -0.5], [False, True, "never"],
                                  [1.0, 1.3]))
    found = []
    for i in range(len(ways)):
        beams, penalty, early, repetition = ways[(i * 29 + len(name)) % len(ways)]
        prompt = golden["prompts"][i % len(golden["prompts"])][:6 + i % 9]
        case = dict(model=name, prompt=prompt, ends=[2], beams=beams, length_penalty=penalty,
                    early_stopping=early, max_tokens=10 + i % 5, repetition_penalty=repetition)
        if i % 4:  # tokens that do come, so that answers end at different places
            free = search(model, case)
            pool = [t for r in free for t in r["tokens"][2:]]
            case["ends"] = sorted(set(pool[i % 7::11]))[:1 + i % 2] or [2]
        results = search(model, case)
        if is_steady(name, case, results):
            found.append(dict(case, results=results))
        if len(found) == WANTED:
            break
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    cases = [c for name in NAMES for c in cases_of(name)]
    ended = sum(r["ended"] for c in cases for r in c["results"])
    rest = sum(not r["ended"] for c in cases for r in c["results"])
    print(f"{len(cases)} cases, {ended} results with an end and {rest} without", file=sys.stderr)
    assert ended > 40 and rest > 40
    path = HERE / "beams.json"
    if check:
        old = json.loads(path.read_text())
        assert [texts(c["results"]) for c in old] == [texts(c["results"]) for c in cases]
        return
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


main()
