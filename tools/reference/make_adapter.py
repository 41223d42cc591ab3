#!/usr/bin/env python3
"""Write a LoRA adapter that PEFT made for a model, with B away from zero, so that it changes what the model says.

    make_adapter.py MODEL_DIR OUT_DIR [--rank 8] [--alpha 16] [--targets q_proj,v_proj | all-linear | --targets-regex REGEX]
        [--rank-pattern KEY=N]... [--alpha-pattern KEY=X]... [--rslora] [--dora] [--layers 0,2] [--exclude NAMES] [--dtype float32|float16|bfloat16]

Needs torch, transformers, peft. Only MODEL_DIR/config.json is read: an adapter depends on the shape of its base, not on its weights. But for --dora, whose magnitudes
start from the norms of the base's rows; they are moved from there, and the first of each matrix is 0.
"""
import argparse
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM


def make_adapter(model_dir, out_dir, *, seed=1, b_deviation=0.05, dtype=torch.float32, **options):
    """`options` go to LoraConfig."""
    torch.manual_seed(seed)
    if options.get("use_dora"):
        model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_dir), dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(**{"lora_dropout": 0.0, "bias": "none", "task_type": "CAUSAL_LM", **options}))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            torch.nn.init.kaiming_uniform_(parameter.data, a=5**0.5)
        elif "lora_B" in name:
            parameter.data.normal_(0, b_deviation)
        elif "lora_magnitude_vector" in name:
            parameter.data.mul_(1 + 0.1 * torch.randn_like(parameter.data))
            parameter.data[0] = 0
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    model.save_pretrained(out_dir)
    readme = os.path.join(out_dir, "README.md")
    if os.path.exists(readme):
        os.remove(readme)
    print(out_dir, sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")


def pattern(pairs, number):
    result = {}
    for pair in pairs:
        key, _, value = pair.rpartition("=")
        result[key] = number(value)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir")
    parser.add_argument("out_dir")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16)
    parser.add_argument("--targets", default="all-linear", help="names with commas between, or all-linear (default)")
    parser.add_argument("--targets-regex", help="a regular expression for whole module names, instead of --targets")
    parser.add_argument("--rank-pattern", action="append", default=[], metavar="KEY=N")
    parser.add_argument("--alpha-pattern", action="append", default=[], metavar="KEY=X")
    parser.add_argument("--rslora", action="store_true", help="scale by alpha / sqrt(rank)")
    parser.add_argument("--dora", action="store_true", help="weight-decomposed: a magnitude for each output channel")
    parser.add_argument("--layers", help="layer numbers with commas between")
    parser.add_argument("--exclude", help="module names with commas between")
    parser.add_argument("--b-deviation", type=float, default=0.05, help="standard deviation of B (default 0.05)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    targets = o.targets_regex or (o.targets if o.targets == "all-linear" else o.targets.split(","))
    alpha = int(o.alpha) if o.alpha == int(o.alpha) else o.alpha
    make_adapter(o.model_dir, o.out_dir, seed=o.seed, b_deviation=o.b_deviation, dtype=getattr(torch, o.dtype), r=o.rank, lora_alpha=alpha,
                 target_modules=targets, rank_pattern=pattern(o.rank_pattern, int), alpha_pattern=pattern(o.alpha_pattern, float),
                 use_rslora=o.rslora, use_dora=o.dora, layers_to_transform=[int(n) for n in o.layers.split(",")] if o.layers else None,
                 exclude_modules=o.exclude.split(",") if o.exclude else None)


if __name__ == "__main__":
    main()
