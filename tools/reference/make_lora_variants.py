#!/usr/bin/env python3
"""Reference dumps of the variants of LoRA that PEFT has and dyag trains, over the small reference models.

    make_lora_variants.py GOLDEN_DIR [CASE ...]

Needs torch, transformers, peft, safetensors. GOLDEN_DIR/lora-CASE holds adapter/, reference.safetensors, reference.json and base.txt (the folder of GOLDEN_DIR
whose model it adapts); make_reference.py says what a dump holds. lora-dora/dropout.safetensors has the loss and the gradients of one sequence with dropout, which
elements are dropped being decided as dyag decides it: PEFT computes magnitudes otherwise then.
"""
import os
import sys

import numpy
import torch
from make_adapter import make_adapter
from make_reference import adapter_parameters, load, make_reference
from safetensors.torch import save_file

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Where two patterns match, the first in the file decides, and PEFT writes them sorted; so they are sorted here.
PATTERNS = {
    "rank_pattern": {"^model.layers.2.mlp.down_proj": 7, "layers.1.self_attn.q_proj": 2, "q_proj": 3, "self_attn.(o|v)_proj": 6},
    "alpha_pattern": {"[gu].*_proj": 3, "model.layers.0.*": 10.5, "v_proj": 1},
}

CASES = {
    # name: (base, options of LoraConfig, options of the dump)
    "rslora": ("qwen2", {"r": 6, "lora_alpha": 9, "use_rslora": True, "target_modules": ALL}, {}),
    "dora": ("qwen2", {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": ALL}, {}),
    "dora-fused": ("phi3", {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": "all-linear"}, {}),
    "dora-some": ("llama3", {"r": 4, "lora_alpha": 8, "use_dora": True, "target_modules": ["q_proj", "v_proj", "up_proj"]}, {}),
    "patterns": ("tinyllama", {"r": 4, "lora_alpha": 8, "target_modules": ALL, **PATTERNS}, {}),
    "all-linear": ("mistral-window", {"r": 3, "lora_alpha": 6, "target_modules": "all-linear"}, {}),
    "regex": ("qwen2-ragged", {"r": 4, "lora_alpha": 8, "target_modules": r"model\.layers\.(0|1)\.(self_attn\.[qo]_proj|mlp\.(?!gate).*_proj)"}, {}),
    "plus": ("tinyllama", {"r": 4, "lora_alpha": 8, "target_modules": ALL}, {"lora_plus_ratio": 16.0}),
    "everything": ("tinyllama", {"r": 4, "lora_alpha": 8, "use_dora": True, "use_rslora": True, "target_modules": ALL, **PATTERNS},
                   {"lora_plus_ratio": 4.0}),
}


PROJECTIONS = [*ALL, "qkv_proj", "gate_up_proj"]
DROPPED, SEED = 0.3, 11


def bits(seed, index):
    """The finaliser of SplitMix64 over seed and index."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) ^ ((numpy.asarray(index, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return z ^ (z >> numpy.uint64(31))


class FixedDropout(torch.nn.Module):
    """Drops the elements of a row-major input that a seed decides."""

    def __init__(self, p, seed):
        super().__init__()
        self.p, self.seed = p, seed

    def forward(self, x):
        drop = bits(self.seed, numpy.arange(x.numel())) < numpy.uint64(int(float(numpy.float32(self.p)) * 2.0**64))
        return torch.where(torch.from_numpy(drop).view(x.shape), torch.zeros_like(x), x / (1 - self.p))


def make_dropout(model_dir, adapter_dir, path, n_tokens=23):
    model = load(model_dir, adapter_dir, torch.float32)
    for name, module in model.named_modules():
        if hasattr(module, "lora_dropout") and hasattr(module, "lora_A"):
            *_, layer, _, projection = name.split(".")
            seed = int(bits(SEED, int(layer) * 16 + PROJECTIONS.index(projection)))
            module.lora_dropout["default"] = FixedDropout(DROPPED, seed)
            module.training = True
    ids = torch.randint(3, model.config.vocab_size, (1, n_tokens), generator=torch.Generator().manual_seed(SEED))
    logits = model(input_ids=ids).logits
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")
    loss.backward()
    dump = {"input_ids": ids, "loss": loss.detach().reshape(1), "p": torch.tensor([DROPPED])}
    dump.update({"grad." + name: p.grad.clone() for name, p in adapter_parameters(model).items()})
    save_file({name: t.contiguous() for name, t in dump.items()}, path)
    print(f"{path}: loss {loss.item() / (n_tokens - 1):.5f}")


def main():
    golden = sys.argv[1]
    for name in sys.argv[2:] or CASES:
        base, options, of_dump = CASES[name]
        model, folder = os.path.join(golden, base, "model"), os.path.join(golden, "lora-" + name)
        adapter = os.path.join(folder, "adapter")
        make_adapter(model, adapter, seed=sum(map(ord, name)), **options)
        make_reference(model, adapter, folder, [12, 9], **of_dump)
        with open(os.path.join(folder, "base.txt"), "w", encoding="utf-8") as file:
            file.write(base + "\n")
        if name == "dora":
            make_dropout(model, adapter, os.path.join(folder, "dropout.safetensors"))


if __name__ == "__main__":
    main()
