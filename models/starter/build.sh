#!/bin/sh
# Rebuilds the built-in model: corpus -> samples -> training -> starter.gguf.
# usage: build.sh LLLM WORK_FOLDER. An interrupted run goes on where it was when started again.
set -eu
lllm=$1 work=$2
here=$(dirname "$0")
python3 "$here/make_corpus.py" --out "$work/data" --seed 1
# The first stage learns to copy, from texts short enough for that; the second everything.
for recipe in recipe-warmup recipe; do
    sed "s|@WORK@|$work|g" "$here/$recipe.json" >"$work/$recipe.json"
    "$lllm" pretrain --config "$work/$recipe.json"
done
cp "$work/run/model.gguf" "$here/starter.gguf.new"
mv "$here/starter.gguf.new" "$here/starter.gguf"
ls -l "$here/starter.gguf"
