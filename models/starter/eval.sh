#!/bin/sh
# Accuracy of the built-in model on what was held out of its training.
# usage: eval.sh LLLM WORK_FOLDER
set -eu
lllm=$1 work=$2
here=$(dirname "$0")
python3 "$here/make_corpus.py" --out "$work/data" --seed 1
python3 "$here/evaluate.py" --lllm "$lllm" --model starter --data "$work/data/eval"
