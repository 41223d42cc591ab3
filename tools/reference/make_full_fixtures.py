#!/usr/bin/env python3
"""Write dumps of golden models with all weights trained: fixtures/full.

    make_full_fixtures.py GOLDEN_DIR OUT_DIR [CASE ...]

Needs torch, transformers, peft, safetensors. Between them the cases have every kind of tensor: embedding, head, biases, fused matrices, all norms.
"""
import os
import sys

from make_reference import ALL_WEIGHTS, make_reference

CASES = ["qwen2", "phi3", "qwen3-bias", "gemma3", "llama-bias"]

if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    for case in sys.argv[3:] or CASES:
        make_reference(os.path.join(sys.argv[1], case, "model"), ALL_WEIGHTS, os.path.join(sys.argv[2], case), [23, 14], seed=3)
