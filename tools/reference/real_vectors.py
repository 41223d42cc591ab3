#!/usr/bin/env python3
"""Writes what sentence-transformers makes of many texts with real models, for `vectors_of_many_texts` of crates/dyag/src/encoder/retrieval_tests.rs.

usage: real_vectors.py OUT.json TEXTS.json MODEL_FOLDER ...        (needs torch, transformers, sentence-transformers; ../bench/encoder_against_python.py lies where it does)

    DYAG_TEST_ENCODERS=FOLDER_OF_MODELS DYAG_TEST_VECTORS=OUT.json cargo test -p dyag --bin dyag vectors_of_many_texts -- --nocapture

TEXTS.json is a list of texts. E5 models whose folder has no modules.json get `query: ` and `passage: `, the mean and length 1.
"""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bench"))
from encoder_against_python import load

if __name__ == "__main__":
    texts = json.load(open(sys.argv[2], encoding="utf-8"))
    models = {}
    for folder in sys.argv[3:]:
        folder = folder.rstrip("/")
        published, named = load(folder), os.path.exists(os.path.join(folder, "modules.json"))
        out = {}
        for role, encode, prefix in (("query", published.encode_query, "query: "), ("document", published.encode_document, "passage: ")):
            vectors = encode(texts if named else [prefix + text for text in texts])
            out[role] = [[float(f"{v:.9g}") for v in row] for row in vectors.tolist()]
        models[os.path.basename(folder)] = out
    with open(sys.argv[1], "w", encoding="utf-8") as file: json.dump({"texts": texts, "models": models}, file, ensure_ascii=False)
