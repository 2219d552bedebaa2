#!/usr/bin/env python3
"""What transformers makes of pairs of a query and a document with the tiny sequence classifiers of
tests/model/golden: rerank.json.

    make_rerank.py > rerank.json
"""
import json
import pathlib

import torch
import transformers

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "model" / "golden"
QUERY = "what does the film stay with?"
DOCUMENTS = ["a film that stays with you", "the cat sat on the mat", "x", "No. No! 12 films, 3 cats",
             "with you"]


def logits(name):
    path = GOLDEN / name
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval().float()
    rows = []
    for document in DOCUMENTS:
        inputs = tokenizer(QUERY, document, return_tensors="pt")
        with torch.no_grad():
            rows.append([round(x, 6) for x in model(**inputs).logits[0].tolist()])
    return rows


def main():
    models = {name: logits(name) for name in ("bert-sequence", "distilbert-sequence")}
    print(json.dumps({"query": QUERY, "documents": DOCUMENTS, "logits": models}, indent=1))


if __name__ == "__main__":
    main()
