#!/usr/bin/env python3
"""Load an adapter that dyag wrote in PEFT: every tensor must find its place, and the logits must be those of a reference.

    check_peft_loads.py MODEL_DIR ADAPTER_DIR [--reference FILE.safetensors]

Needs torch, transformers, peft, safetensors. Exits 1 when PEFT misses a tensor, has one left over, reads another value than the file holds, or
is further than 1e-4 of the largest logit from the reference's `logits`.

For the proof both ways make a reference of that adapter with make_reference.py, which computes in PEFT, and run `dyag check` on it.
"""
import argparse
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from make_reference import adapter_parameters
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir")
    parser.add_argument("adapter_dir")
    parser.add_argument("--reference")
    o = parser.parse_args()
    base = AutoModelForCausalLM.from_pretrained(o.model_dir, dtype=torch.float32, attn_implementation="eager")
    model = PeftModel.from_pretrained(base, o.adapter_dir, is_trainable=True).eval()
    in_file = load_file(os.path.join(o.adapter_dir, "adapter_model.safetensors"))
    in_model = adapter_parameters(model)
    problems = [f"PEFT has no place for {name}" for name in in_file if name not in in_model]
    problems += [f"PEFT misses {name}" for name in in_model if name not in in_file]
    problems += [f"PEFT reads other values in {n}" for n, t in in_file.items() if n in in_model and not torch.equal(t.float(), in_model[n].data)]
    if o.reference:
        dump = load_file(o.reference)
        seen = dump["attention_mask"].bool()
        with torch.no_grad():
            logits = model(input_ids=dump["input_ids"], attention_mask=dump["attention_mask"]).logits
        error = ((logits - dump["logits"])[seen].abs().max() / dump["logits"][seen].abs().max()).item()
        print(f"largest logit difference {error:.2e} of the largest logit")
        if not error <= TOLERANCE:
            problems.append(f"logits differ by {error:.2e} of the largest, more than {TOLERANCE:.0e}")
    for problem in problems[:20]:
        print(problem)
    print(f"{len(in_file)} tensors,", "FAILED" if problems else "all loaded in PEFT")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
