#!/usr/bin/env python3
"""Write tiny random models of each family, with an adapter and a reference dump: the cases of fixtures/golden beside the first six.

    make_family_fixtures.py OUT_DIR [CASE ...]

Needs torch, transformers, peft, safetensors. A case is a folder as `dyag check` takes it:
    model/                             config.json and model.safetensors
    config_v4.json                     the configuration with the keys of Transformers 4
    adapter/, reference.safetensors, reference.json    what make_adapter.py and make_reference.py write
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from make_adapter import make_adapter
from make_reference import make_reference
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Phi3Config, Qwen3Config

SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
SIZES = dict(vocab_size=259, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.08)
SMOL = dict(SIZES, hidden_size=72, num_attention_heads=9, num_key_value_heads=3, num_hidden_layers=2)


def longrope(original):
    """Two lists of divisors, of which the long one turns every pair of channels more slowly."""
    short = [1.0 + 0.05 * i for i in range(8)]
    long = [1.5 + 0.9 * i for i in range(8)]
    rope = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": short, "long_factor": long,
            "original_max_position_embeddings": original}
    return Phi3Config(**dict(SIZES, original_max_position_embeddings=original), rope_parameters=rope, tie_word_embeddings=False)


def gemma3(**more):
    full = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
    return Gemma3TextConfig(
        **dict(SIZES, num_hidden_layers=4), head_dim=24, query_pre_attn_scalar=40, sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        rope_parameters={"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}, **more)


# name: (configuration, target modules, tokens of each row, tokens of the greedy prompt)
CASES = {
    "qwen3": (lambda: Qwen3Config(**SIZES, head_dim=24, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), SEPARATE, (37, 22), 8),
    "qwen3-bias": (lambda: Qwen3Config(**SIZES, head_dim=16, attention_bias=True, tie_word_embeddings=False), SEPARATE, (24, 17), 8),
    "gemma3": (gemma3, SEPARATE, (41, 25), 8),
    "gemma3-plain": (lambda: Gemma3TextConfig(**SIZES, head_dim=16), ["q_proj", "down_proj"], (19, 12), 8),
    "phi3-longrope": (lambda: longrope(24), FUSED, (40, 19), 8),
    "phi3-longrope-short": (lambda: longrope(24), FUSED, (23, 15), 12),
    "smollm2": (lambda: LlamaConfig(**SMOL, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e5}), SEPARATE, (31, 16), 8),
    "llama-bias": (lambda: LlamaConfig(**SIZES, attention_bias=True, tie_word_embeddings=False), SEPARATE, (20, 13), 8),
}


def version_4(config):
    """The same with the keys that most published models have."""
    rope = config.pop("rope_parameters", None) or {}
    nested = rope.get("full_attention")
    if nested:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = dict(nested)
    config["rope_theta"] = rope.pop("rope_theta", 10_000.0)
    kind = rope.get("rope_type", "default")
    if kind == "longrope":
        config["rope_scaling"] = {"type": "longrope", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
    else:
        config["rope_scaling"] = None if kind == "default" else rope
    config["torch_dtype"] = config.pop("dtype", "float32")
    config["transformers_version"] = "4.44.0"
    return config


def forget_path(path):
    """Where the base lay is nobody's business."""
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["base_model_name_or_path"] = None
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def make(name, out_dir):
    make_config, targets, rows, prompt = CASES[name]
    folder = os.path.join(out_dir, name)
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    config = make_config()
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    for parameter in model.parameters():
        if parameter.ndim == 1:  # gains and biases that do nothing would prove nothing
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(os.path.join(folder, "model"))
    with open(os.path.join(folder, "model", "config.json"), encoding="utf-8") as file:
        config = version_4(json.load(file))
    with open(os.path.join(folder, "config_v4.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    model_dir, adapter_dir = os.path.join(folder, "model"), os.path.join(folder, "adapter")
    make_adapter(model_dir, adapter_dir, seed=seed, r=4, lora_alpha=8, target_modules=targets)
    forget_path(os.path.join(adapter_dir, "adapter_config.json"))
    make_reference(model_dir, adapter_dir, folder, list(rows), seed=seed, prompt_tokens=prompt)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for name in sys.argv[2:] or CASES:
        make(name, sys.argv[1])
