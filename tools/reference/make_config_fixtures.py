"""What Transformers makes of configurations: keys of versions 4 and 5, defaults, rope kinds, windows.

    python tools/reference/make_config_fixtures.py fixtures/config/cases.json

Each case has the configuration as a file would have it, and what the model then computes with: sizes, the frequencies of the rotary embedding (short sequences,
and one past the original length), the factor of cos and sin, the window of each layer, whether the head is tied, token ids.
"""

import copy
import json
import sys

from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

BASE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 50}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64, "rope_type": "llama3"}
SHORT = [1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0]
LONG = [1.0, 2.1, 3.2, 5.5, 9.0, 12.5, 23.0, 34.0]
LONGROPE = {"type": "longrope", "short_factor": SHORT, "long_factor": LONG}

CASES = {
    "qwen2 bare": ("qwen2", {"num_attention_heads": 32}),
    "qwen2 null": ("qwen2", {"num_key_value_heads": None, "sliding_window": None, "rope_scaling": None, "bos_token_id": None, "eos_token_id": 7}),
    "qwen2 windows": ("qwen2", {"num_key_value_heads": 2, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}),
    "qwen2 windows everywhere": ("qwen2", {"num_key_value_heads": 2, "use_sliding_window": True, "max_window_layers": 0}),
    "qwen2 windows unused": ("qwen2", {"num_key_value_heads": 2, "sliding_window": 16, "max_window_layers": 0}),
    "qwen2 layer types": (
        "qwen2",
        {
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
    "qwen2 tied, theta": ("qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True, "rope_theta": 1e6, "head_dim": 24}),
    "llama bare": ("llama", {}),
    "llama null head_dim": ("llama", {"head_dim": None, "num_key_value_heads": None}),
    "llama head_dim": ("llama", {"head_dim": 32, "num_key_value_heads": 2, "sliding_window": 8, "rms_norm_eps": 1e-5}),
    "llama linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 5e5}),
    "llama llama3": ("llama", {"rope_scaling": LLAMA3, "rope_theta": 5e5, "eos_token_id": [5, 6, 5]}),
    "llama llama3, 5": ("llama", {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}}),
    "llama llama3, original beside": ("llama", {"rope_scaling": LLAMA3, "rope_theta": 5e5, "original_max_position_embeddings": 32}),
    "llama both rope keys": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 7e4}}),
    "llama theta twice": ("llama", {"rope_theta": 3e4, "rope_parameters": {"rope_type": "default", "rope_theta": 7e4}}),
    "llama longrope": ("llama", {"rope_scaling": {**LONGROPE, "factor": 4.0, "original_max_position_embeddings": 32}}),
    "mistral bare": ("mistral", {"num_attention_heads": 8}),
    "mistral no window": ("mistral", {"sliding_window": None, "num_key_value_heads": 2}),
    "mistral window": ("mistral", {"sliding_window": 24, "num_key_value_heads": 4}),
    "phi3 bare": ("phi3", {}),
    "phi3 window": ("phi3", {"sliding_window": 47, "num_key_value_heads": 2}),
    "phi3 longrope": ("phi3", {"rope_scaling": LONGROPE, "max_position_embeddings": 131072}),
    "phi3 longrope, original": ("phi3", {"rope_scaling": LONGROPE, "max_position_embeddings": 256, "original_max_position_embeddings": 64}),
    "phi3 su": ("phi3", {"rope_scaling": {**LONGROPE, "type": "su", "original_max_position_embeddings": 4096}, "max_position_embeddings": 4096}),
    "phi3 longrope factor": ("phi3", {"rope_scaling": {**LONGROPE, "factor": 3.0}, "max_position_embeddings": 8192}),
    "phi3 attention_factor": ("phi3", {"rope_scaling": {**LONGROPE, "attention_factor": 1.25}, "max_position_embeddings": 8192}),
    "phi3 hidden original": ("phi3", {"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 99}, "max_position_embeddings": 8192}),
    "phi3 partial": ("phi3", {"partial_rotary_factor": 0.75}),
    "phi3 partial longrope, 5": (
        "phi3",
        {
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "longrope",
                "short_factor": SHORT[:6],
                "long_factor": LONG[:6],
                "rope_theta": 2e4,
                "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 4096,
            },
        },
    ),
}


def frequencies(model, config, length):
    rope = model.model.rotary_emb
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        values, factor = rope.compute_default_rope_parameters(config)
    else:
        values, factor = ROPE_INIT_FUNCTIONS[kind](config, None, seq_len=length)
    return [float(v) for v in values], float(factor)


def expected(family, keys):
    config = CONFIG_MAPPING[family].from_dict({"pad_token_id": None, **copy.deepcopy(keys)})
    model = AutoModelForCausalLM.from_config(config)
    config = model.config
    attention = model.model.layers[0].self_attn
    original = config.rope_parameters.get("original_max_position_embeddings", config.max_position_embeddings)
    if getattr(config, "layer_types", None) is not None and family == "qwen2":
        windows = [config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types]
    else:
        windows = [config.sliding_window if family in ("mistral", "phi3") else None] * config.num_hidden_layers
    ids = config.eos_token_id
    short, factor = frequencies(model, config, 1)
    return {
        "head_size": attention.head_dim,
        "n_kv_heads": config.num_key_value_heads,
        "max_positions": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "frequencies": short,
        "frequencies_long": frequencies(model, config, original + 1)[0],
        "original_positions": original,
        "attention_factor": factor,
        "windows": windows,
        "tied_head": model.lm_head.weight is model.model.embed_tokens.weight,
        "bos_token_id": config.bos_token_id,
        "eos_token_ids": [] if ids is None else [ids] if isinstance(ids, int) else list(dict.fromkeys(ids)),
        "qkv_bias": getattr(getattr(attention, "q_proj", None), "bias", None) is not None,
    }


def main():
    cases = []
    for name, (family, keys) in CASES.items():
        keys = {"model_type": family, **BASE, **keys}
        cases.append({"name": name, "config": keys, "expected": expected(family, keys)})
    with open(sys.argv[1], "w") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
