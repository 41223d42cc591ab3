#!/usr/bin/env python3
"""Adapters that PEFT saved over the small reference models, in each of the ways its configuration can name matrices, with reference dumps.

    make_peft_fixtures.py GOLDEN_DIR OUT_DIR

Needs torch, transformers, peft, safetensors. OUT_DIR/CASE holds adapter/, reference.safetensors, reference.json and base.txt (the folder of
GOLDEN_DIR whose model it adapts). OUT_DIR/dora is an adapter alone, with magnitudes; make_lora_variants.py makes dumps of such.
"""
import json
import os
import sys

import torch

from make_adapter import make_adapter
from make_reference import make_reference

# Where two patterns match, the first in the file decides, and PEFT writes them sorted; so they are sorted here.
CASES = {
    "patterns": ("qwen2", {
        "r": 5, "lora_alpha": 7, "target_modules": ["q_proj", "self_attn.v_proj", "o_proj", "down_proj", "model.layers.1.mlp.up_proj"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 3, "self_attn.(o|v)_proj": 4, "v_proj": 6},
        "alpha_pattern": {"^model.layers.2.mlp.down_proj": 11, "model.layers.0.mlp.down_proj": 2.5, "v_proj": 1},
    }, torch.float32),
    "rslora": ("tinyllama", {
        "r": 6, "lora_alpha": 9, "use_rslora": True, "target_modules": ["q_proj", "k_proj", "gate_proj"], "layers_to_transform": [0, 2],
        "rank_pattern": {"k_proj": 3},
    }, torch.float32),
    "all-linear": ("phi3", {"r": 3, "lora_alpha": 6, "target_modules": "all-linear"}, torch.float32),
    "regex": ("mistral-window", {
        "r": 4, "lora_alpha": 8, "target_modules": r"model\.layers\.(0|2)\.(?!mlp\.down).*_proj",
    }, torch.float16),
    "excluded": ("qwen2-ragged", {
        "r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q_proj", "k_proj", "up_proj", "down_proj"],
        "exclude_modules": ["model.layers.0.self_attn.q_proj", "layers.1.mlp.up_proj"],
    }, torch.bfloat16),
}


def main():
    golden, out = sys.argv[1:3]
    for name, (base, options, dtype) in CASES.items():
        model, folder = os.path.join(golden, base, "model"), os.path.join(out, name)
        adapter = os.path.join(folder, "adapter")
        make_adapter(model, adapter, seed=sum(map(ord, name)), dtype=dtype, **options)
        if options["target_modules"] == "all-linear":
            # PEFT writes the names it found; a configuration made by hand, or saved before a model was loaded, says it in one word.
            path = os.path.join(adapter, "adapter_config.json")
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
            config["target_modules"] = "all-linear"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file, indent=2, sort_keys=True)
        make_reference(model, adapter, folder, [11, 7], steps=3, new_tokens=6)
        with open(os.path.join(folder, "base.txt"), "w", encoding="utf-8") as file:
            file.write(base + "\n")
    make_adapter(os.path.join(golden, "qwen2", "model"), os.path.join(out, "dora", "adapter"), r=2, lora_alpha=4, use_dora=True,
                 target_modules=["v_proj"])


if __name__ == "__main__":
    main()
