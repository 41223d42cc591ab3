#!/usr/bin/env python3
"""Writes the tiny Qwen2 model of the fixtures, with the tokenizer and the chat template of fixtures/tiny-chat, as one GGUF file in F32.

usage: tiny_gguf.py MODEL_DIR TOKENIZER_DIR OUT.gguf        (needs: gguf safetensors numpy)
"""
import json, os, sys
import gguf
from safetensors.numpy import load_file

model, text, out = sys.argv[1:]
def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)
config, tokenizer, words = read(model, "config.json"), read(text, "tokenizer.json"), read(text, "tokenizer_config.json")

w = gguf.GGUFWriter(out, "qwen2")
w.add_name("tiny-qwen2")
w.add_block_count(config["num_hidden_layers"])
w.add_context_length(config["max_position_embeddings"])
w.add_embedding_length(config["hidden_size"])
w.add_feed_forward_length(config["intermediate_size"])
w.add_head_count(config["num_attention_heads"])
w.add_head_count_kv(config["num_key_value_heads"])
w.add_layer_norm_rms_eps(config["rms_norm_eps"])
w.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
w.add_file_type(gguf.LlamaFileType.ALL_F32)

vocabulary = {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
special = {t["id"] for t in tokenizer["added_tokens"]}
tokens = sorted(vocabulary, key=vocabulary.get)
assert [vocabulary[t] for t in tokens] == list(range(config["vocab_size"]))
w.add_tokenizer_model("gpt2")
w.add_tokenizer_pre("qwen2")
w.add_token_list(tokens)
w.add_token_types([gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(len(tokens))])
w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
w.add_eos_token_id(vocabulary[words["eos_token"]])
w.add_bos_token_id(vocabulary["<|endoftext|>"])
w.add_add_bos_token(False)
w.add_chat_template(words["chat_template"])

names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
for name, values in load_file(os.path.join(model, "model.safetensors")).items():
    w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), values.astype("float32"))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
