#!/bin/sh
# Make dyag-tiny from nothing: tokenizer, weights, drills, lessons, export. docs/tiny.md says what each step is for and what it measured.
#
# usage: make.sh DYAG PYTHON OUT [THREADS]
#
# DYAG is the program, PYTHON has numpy, safetensors and tokenizers. OUT becomes a folder of some 200 MB with OUT/dyag-tiny.gguf in it. About an hour on two Zen 4 processors.
set -eu
dyag=$1 python=$2 out=$3 threads=${4:-2}
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../crates/dyag/assets/demo
mkdir -p "$out"

# Invented catalogues, and questions about them by the program's own rules.
for seed in 1 2 3 4 5 6 7; do
    "$python" "$here/make_catalogues.py" "$out/catalogues-$seed" --applications 2200 --seed $seed --avoid "$demo"/catalogue-*.md
    for language in fr en; do
        at=$out/catalogues-$seed/$language
        "$dyag" chunk "$at.md" --output "$at.jsonl"
        "$dyag" generate-training "$at.jsonl" --method augmented --count 9000 --with-context --passages 1 --max-passage-chars 500 --output "$at-examples.jsonl"
    done
done
examples=$(echo "$out"/catalogues-[1-5]/*-examples.jsonl)
fresh=$(echo "$out"/catalogues-[67]/*-examples.jsonl)

"$python" "$here/make_drills.py" "$out/drills-1.jsonl" --drills 12000 --kinds said_again
"$python" "$here/make_drills.py" "$out/drills-2.jsonl" --drills 45000 --seed 2 --kinds said_again,said_again,looked_up,field_of
"$python" "$here/make_drills.py" "$out/drills-3.jsonl" --drills 24000 --seed 3 --kinds said_at_length,said_at_length,looked_up,field_of
"$python" "$here/make_lessons.py" "$out/lessons-1.jsonl" $examples --together 1 --prompts 0.2 --by-heart 0.02 --declined 0.1 --lessons 10000
"$python" "$here/make_lessons.py" "$out/lessons-2.jsonl" $examples
"$python" "$here/make_lessons.py" "$out/lessons-3.jsonl" $fresh --together 1,1,2 --prompts 0.6 --seed 3
"$python" "$here/make_lessons.py" "$out/lessons-4.jsonl" $fresh --together 1,1,2 --prompts 0.6 --seed 4 --lessons 3500
"$python" "$here/make_lessons.py" "$out/lessons-5.jsonl" $fresh --together 1,1,2 --prompts 0.7 --declined 0.4 --by-heart 0.02 --seed 5 --lessons 2800
"$python" "$here/make_model.py" "$out/model" "$out/lessons-2.jsonl" --layers 4 --ffn 768
patchwork() {
    "$python" "$here/make_drills.py" "$out/drills-$1.jsonl" --drills "$2" --seed "$1" --kinds patchwork_again,patchwork_field --tokenizer "$out/model/tokenizer.json"
    cat "$out/drills-$1.jsonl" "$out/lessons-$1.jsonl" >"$out/mixed-$1.jsonl"
}
patchwork 4 9000
patchwork 5 2000

# train MODEL DATASET NAME BATCH RATE
train() {
    "$dyag" finetune --method full --base-model "$1" --dataset "$2" --output "$out/$3" --batch-size "$4" --accumulation 1 --learning-rate "$5" --epochs 1 \
        --warmup-ratio 0.03 --weight-decay 0.05 --loss assistant --max-seq-length 1100 --threads "$threads" --save-total-limit 1
}
train "$out/model" "$out/drills-1.jsonl" trained-1 16 1.5e-3
train "$out/trained-1/final" "$out/drills-2.jsonl" trained-2 32 2.5e-3
train "$out/trained-2/final" "$out/drills-3.jsonl" trained-3 24 3e-3
train "$out/trained-3/final" "$out/lessons-1.jsonl" trained-4 12 2e-3
train "$out/trained-4/final" "$out/lessons-2.jsonl" trained-5 12 1.5e-3
train "$out/trained-5/final" "$out/lessons-3.jsonl" trained-6 12 1.5e-3
train "$out/trained-6/final" "$out/mixed-4.jsonl" trained-7 12 1.5e-3
train "$out/trained-7/final" "$out/mixed-5.jsonl" trained-8 12 1.2e-3
# A folder's name is the model's.
rm -rf "$out/dyag-tiny" && cp -R "$out/trained-8/final" "$out/dyag-tiny"
"$dyag" export-gguf "$out/dyag-tiny" --type Q8_0 --output "$out/dyag-tiny.gguf"
