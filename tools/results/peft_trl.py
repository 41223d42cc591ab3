#!/usr/bin/env python3
"""LoRA by TRL's SFTTrainer, as the original program used it: batches of 4, accumulation 4, rank 16, alpha 32, seven projections, 2e-4, cosine, clip 0.3, all tokens.

usage: peft_trl.py MODEL_FOLDER DATA.jsonl EPOCHS [--steps N] [--dtype float32] [--ask QUESTION ...]

The last line is JSON: seconds of training, steps, the losses, the token accuracies, memory at most, answers. Needs torch, transformers, peft, trl and datasets.
"""
import argparse
import json
import os
import resource
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("epochs", type=float)
    parser.add_argument("--steps", type=int, default=-1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--ask", nargs="*", default=[])
    args = parser.parse_args()
    conversations = [json.loads(line)["messages"] for line in open(args.data, encoding="utf-8")]
    dtype = getattr(torch, args.dtype)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"messages": conversation} for conversation in conversations]),
            peft_config=LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=PROJECTIONS, task_type="CAUSAL_LM"),
            args=SFTConfig(
                output_dir=folder, num_train_epochs=args.epochs, max_steps=args.steps, per_device_train_batch_size=4, gradient_accumulation_steps=4, learning_rate=2e-4,
                lr_scheduler_type="cosine", warmup_steps=1, max_grad_norm=0.3, weight_decay=0.0, bf16=dtype == torch.bfloat16, use_cpu=True, max_length=512, seed=42,
                gradient_checkpointing=False, report_to="none", save_strategy="no", logging_steps=1, dataloader_pin_memory=False,
            ),
        )
        start = time.time()
        trainer.train()
        seconds = time.time() - start
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    model, answers = trainer.model.eval(), []
    for question in args.ask:
        turns = [*[turn for turn in conversations[0] if turn["role"] == "system"], {"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)
        answers.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    print(json.dumps({
        "seconds": seconds, "steps": len(steps), "losses": [entry["loss"] for entry in steps], "token_accuracies": [entry["mean_token_accuracy"] for entry in steps],
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "threads": torch.get_num_threads(), "answers": answers,
    }, ensure_ascii=False))


if __name__ == "__main__":
    main()
