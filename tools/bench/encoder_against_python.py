#!/usr/bin/env python3
"""Texts a second of dyag's encoder beside sentence-transformers in float32, in turns on the same machine with the same number of threads.

usage: encoder_against_python.py TEST_BINARY MODELS TEXTS.jsonl [ROUNDS]

    cargo test -p dyag --release --bin dyag --no-run         (prints TEST_BINARY)

MODELS holds all-minilm-l6-v2 and multilingual-e5-small; TEXTS.jsonl has a JSON string a line. Both tokenize, run all layers and pool; sentence-transformers sorts by length and pads batches of 32.
A folder without sentence-transformers' files gets the mean and length 1 there too.
"""
import json, os, re, statistics, subprocess, sys, tempfile, time

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer

NAMES = ("all-minilm-l6-v2", "multilingual-e5-small")


def load(folder):
    if os.path.exists(os.path.join(folder, "modules.json")): return SentenceTransformer(folder, device="cpu")
    copy = tempfile.mkdtemp()
    for file in ("config.json", "model.safetensors", "tokenizer.json"): os.symlink(os.path.abspath(os.path.join(folder, file)), os.path.join(copy, file))
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
              open(os.path.join(copy, "tokenizer_config.json"), "w"))
    transformer = Transformer(copy)
    return SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension()), Normalize()], device="cpu")


def main():
    binary, models, file = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    torch.set_num_threads(2)
    texts = [json.loads(line) for line in open(file, encoding="utf-8")]
    python = {name: load(os.path.join(models, name)) for name in NAMES}
    for model in python.values(): model.encode(texts[:64])
    rates = {(who, name): [] for who in ("dyag", "python") for name in NAMES}
    environment = {**os.environ, "DYAG_TEST_ENCODERS": models, "DYAG_BENCH_TEXTS": file, "DYAG_BENCH_ROUNDS": "1"}
    for _ in range(rounds):
        for name, model in python.items():
            start = time.perf_counter()
            model.encode(texts, batch_size=32)
            rates["python", name].append(len(texts) / (time.perf_counter() - start))
        out = subprocess.run([binary, "encoder::local::tests::speed", "--ignored", "--nocapture"], env=environment, capture_output=True, text=True, check=True).stdout
        for name, rate in re.findall(r"speed (\S+) ([0-9.]+) texts/s", out): rates["dyag", name].append(float(rate))
    for name in NAMES:
        ours, theirs = rates["dyag", name], rates["python", name]
        ratios = [a / b for a, b in zip(ours, theirs)]
        print(f"{name}: dyag {statistics.median(ours):.0f} texts/s ({min(ours):.0f} to {max(ours):.0f}), sentence-transformers {statistics.median(theirs):.0f} ({min(theirs):.0f} to {max(theirs):.0f}), "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(out.strip())


if __name__ == "__main__":
    main()
