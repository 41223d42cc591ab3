#!/usr/bin/env python3
"""Widen a GGUF file of a Qwen2 model to float32, as the folder that Transformers reads.

    gguf_to_folder.py MODEL.gguf OUT_DIR [--no-tokenizer]

Needs numpy, gguf, safetensors, and transformers for the tokenizer. A dump that make_reference.py makes of that folder is what the GGUF file
should compute. Takes four bytes a parameter of disk and of memory.
"""
import argparse
import json
import os

import numpy as np
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file

OUTSIDE_LAYERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INSIDE_LAYERS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def folder_name(gguf_name):
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    parts = gguf_name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{INSIDE_LAYERS[parts[2]]}.{parts[3]}"
    return f"{OUTSIDE_LAYERS[parts[0]]}.{parts[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf")
    parser.add_argument("out_dir")
    parser.add_argument("--no-tokenizer", action="store_true")
    o = parser.parse_args()
    reader = GGUFReader(o.gguf)

    def field(key, default=None):
        found = reader.get_field(key)
        return default if found is None else found.contents()

    if field("general.architecture") != "qwen2":
        raise SystemExit(f"{o.gguf}: expected architecture qwen2, found {field('general.architecture')}")
    tensors = {}
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        tensors[folder_name(tensor.name)] = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(shape)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": tensors["model.embed_tokens.weight"].shape[0],
        "hidden_size": field("qwen2.embedding_length"),
        "intermediate_size": field("qwen2.feed_forward_length"),
        "num_hidden_layers": field("qwen2.block_count"),
        "num_attention_heads": field("qwen2.attention.head_count"),
        "num_key_value_heads": field("qwen2.attention.head_count_kv"),
        "max_position_embeddings": field("qwen2.context_length"),
        "rms_norm_eps": float(field("qwen2.attention.layer_norm_rms_epsilon")),
        "rope_theta": float(field("qwen2.rope.freq_base")),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "hidden_act": "silu",
        "use_sliding_window": False,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "float32",
    }
    os.makedirs(o.out_dir, exist_ok=True)
    save_file(tensors, os.path.join(o.out_dir, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(o.out_dir, "config.json"), "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in config.items() if value is not None}, file, indent=1)
    if not o.no_tokenizer:
        from transformers import AutoTokenizer

        folder, name = os.path.split(os.path.abspath(o.gguf))
        AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(o.out_dir)
    print(o.out_dir, sum(t.size for t in tensors.values()), "parameters", "tied" if config["tie_word_embeddings"] else "own head")


if __name__ == "__main__":
    main()
