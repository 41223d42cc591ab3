#!/usr/bin/env python3
"""Make an untrained small Llama with a byte-level BPE of its own: a folder that `dyag finetune --method full` trains.

usage: make_model.py OUT TEXT [TEXT ...] [--vocab 3072] [--hidden 256] [--layers 6] [--heads 8] [--kv-heads 4] [--ffn 640] [--seed 7]

The tokenizer is trained on the texts (any files; JSON Lines of conversations give their messages). It cuts words as SmolLM's does, a rule that GGUF has a name for: digits are tokens of their own, so that numbers are
read and written figure by figure. The template writes a space before each answer: in a passage a word's first token holds the space before it, and so the answer's first word is a copy, token for token, of one in a
passage. Weights are drawn from N(0, 0.02), those that write to the residual stream from N(0, 0.02 / sqrt(2 layers)), as GPT-2 has it; embedding and head are tied. Needs numpy, safetensors and tokenizers.
"""
import argparse
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + (' ' if message['role'] == 'assistant' else '\\n') + message['content'] + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"


def texts(files):
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                if file.endswith(".jsonl"):
                    yield from (message["content"] for message in json.loads(line)["messages"])
                else:
                    yield line


def train_tokenizer(files, vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=2, show_progress=False)
    tokenizer.train_from_iterator(texts(files), trainer)
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("texts", nargs="+")
    for name, default in [("vocab", 3072), ("hidden", 256), ("layers", 6), ("heads", 8), ("kv-heads", 4), ("ffn", 640), ("positions", 2048), ("seed", 7)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(args.texts, args.vocab)
    tokenizer.save(str(args.out / "tokenizer.json"))
    vocab = tokenizer.get_vocab_size()
    rng, n, head = np.random.default_rng(args.seed), args.hidden, args.hidden // args.heads
    draw = lambda rows, cols, scale=1.0: (0.02 * scale * rng.standard_normal((rows, cols))).astype(np.float32)
    writes = 1 / np.sqrt(2 * args.layers)
    tensors = {"model.embed_tokens.weight": draw(vocab, n), "model.norm.weight": np.ones(n, np.float32)}
    for layer in range(args.layers):
        prefix = f"model.layers.{layer}."
        tensors |= {
            prefix + "input_layernorm.weight": np.ones(n, np.float32), prefix + "post_attention_layernorm.weight": np.ones(n, np.float32),
            prefix + "self_attn.q_proj.weight": draw(n, n), prefix + "self_attn.k_proj.weight": draw(args.kv_heads * head, n),
            prefix + "self_attn.v_proj.weight": draw(args.kv_heads * head, n), prefix + "self_attn.o_proj.weight": draw(n, n, writes),
            prefix + "mlp.gate_proj.weight": draw(args.ffn, n), prefix + "mlp.up_proj.weight": draw(args.ffn, n), prefix + "mlp.down_proj.weight": draw(n, args.ffn, writes),
        }
    save_file(tensors, str(args.out / "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": n, "intermediate_size": args.ffn, "num_hidden_layers": args.layers,
        "num_attention_heads": args.heads, "num_key_value_heads": args.kv_heads, "head_dim": head, "max_position_embeddings": args.positions, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "vocab_size": vocab, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "torch_dtype": "float32",
    }
    files = {
        "config.json": config, "generation_config.json": {"eos_token_id": 1, "pad_token_id": 0},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|pad|>", "model_max_length": args.positions, "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE},
    }
    for name, content in files.items():
        (args.out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{args.out}: {sum(tensor.size for tensor in tensors.values()):,} weights, {vocab} tokens")


if __name__ == "__main__":
    main()
