#!/bin/sh
# Rebuilds the built-in model: corpus -> samples -> training -> starter.gguf.
# usage: build.sh LLLM WORK_FOLDER. An interrupted run goes on where it was when started again.
set -eu
lllm=$1 work=$2
here=$(dirname "$0")
python3 "$here/make_corpus.py" --out "$work/data" --seed 1
sed "s|@WORK@|$work|g" "$here/recipe.json" >"$work/recipe.json"
"$lllm" pretrain --config "$work/recipe.json"
# The second stage goes on with the weights of the first, on samples that reward copying.
python3 "$here/make_corpus.py" --out "$work/data-2" --seed 1 --stage 2
sed "s|@WORK@|$work|g" "$here/recipe-2.json" >"$work/recipe-2.json"
"$lllm" pretrain --config "$work/recipe-2.json"
# The third has every task in many more forms, and answers that are cut where they are decided.
python3 "$here/make_corpus.py" --out "$work/data-3" --seed 1 --stage 3
sed "s|@WORK@|$work|g" "$here/recipe-3.json" >"$work/recipe-3.json"
"$lllm" pretrain --config "$work/recipe-3.json"
cp "$work/run-3/model.gguf" "$here/starter.gguf.new"
mv "$here/starter.gguf.new" "$here/starter.gguf"
ls -l "$here/starter.gguf"
