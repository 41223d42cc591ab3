#!/usr/bin/env python3
"""The training that `dyag finetune --no-shuffle --init-adapter DIR` does, by Transformers and PEFT: same order, same schedule, same loss.

usage: train_peft.py MODEL_DIR DATASET.jsonl OUT_DIR [--epochs 5] [--steps N] [--accumulation 4] [--dtype bfloat16]     (needs: torch transformers peft)

OUT_DIR/initial/   the adapter before the first step, for --init-adapter
OUT_DIR/final/     the adapter after the last
OUT_DIR/losses.jsonl  one line an optimiser step: loss (mean over the step's trained tokens), learning_rate, grad_norm, n_tokens

Rows are taken in the order of the file, in every epoch; 4 conversations a micro-batch, --accumulation micro-batches a step, the last step
of an epoch takes what is left. --steps sets the length of the schedule too, as --max-steps does. Trained tokens: the last assistant turn through its end-of-turn token. The adapter is in float32, as PEFT makes it.
"""
import argparse, json, math, os, time
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup

MICRO_BATCH = 4


def conversations(path, tokenizer):
    """Ids and labels of every row; -100 where nothing is learned."""
    rows = []
    for line in open(path, encoding="utf-8"):
        messages = json.loads(line)["messages"]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        end = text.index(tokenizer.eos_token, len(prompt)) + len(tokenizer.eos_token)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        learned = [a < end and b > len(prompt) for a, b in encoded["offset_mapping"]]
        rows.append((encoded["input_ids"], [i if keep else -100 for i, keep in zip(encoded["input_ids"], learned)]))
    return rows


def padded(rows, pad):
    longest = max(len(ids) for ids, _ in rows)
    fill = lambda values, with_what: values + [with_what] * (longest - len(values))
    batch = dict(input_ids=torch.tensor([fill(ids, pad) for ids, _ in rows]), attention_mask=torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows]))
    return batch, torch.tensor([fill(labels, -100) for _, labels in rows])[:, 1:]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model"), p.add_argument("dataset"), p.add_argument("out")
    p.add_argument("--epochs", type=int, default=5), p.add_argument("--steps", type=int), p.add_argument("--accumulation", type=int, default=4), p.add_argument("--dtype", default="bfloat16")
    o = p.parse_args()
    torch.manual_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(o.model)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(o.model, dtype=getattr(torch, o.dtype)), LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    parameters = [q for q in model.parameters() if q.requires_grad]
    for q in parameters: q.data = q.data.float()
    causal = model.base_model.model
    os.makedirs(o.out, exist_ok=True)
    model.save_pretrained(os.path.join(o.out, "initial"))
    rows = conversations(o.dataset, tokenizer)
    a_step = MICRO_BATCH * o.accumulation
    steps = o.steps or o.epochs * math.ceil(len(rows) / a_step)
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, math.ceil(0.03 * steps), steps)
    model.train(); start = time.time(); done = tokens = 0
    with open(os.path.join(o.out, "losses.jsonl"), "w") as log:
        for epoch in range(o.epochs):
            for first in range(0, len(rows), a_step):
                if done == steps: break
                part = rows[first:first + a_step]; total = 0.0
                trained = sum(l != -100 for _, labels in part for l in labels[1:])
                for micro in range(0, len(part), MICRO_BATCH):
                    batch, labels = padded(part[micro:micro + MICRO_BATCH], tokenizer.pad_token_id or 0)
                    # The head over the learned positions alone: the others' logits would take most of the memory and count for nothing.
                    hidden = causal.model(**batch).last_hidden_state[:, :-1][labels != -100]
                    loss = torch.nn.functional.cross_entropy(causal.lm_head(hidden).float(), labels[labels != -100], reduction="sum")
                    loss.backward(); total += loss.item(); tokens += int(batch["attention_mask"].sum())
                for q in parameters: q.grad /= trained
                norm = torch.nn.utils.clip_grad_norm_(parameters, 0.3).item(); rate = schedule.get_last_lr()[0]
                optimizer.step(); schedule.step(); optimizer.zero_grad(set_to_none=True); done += 1
                log.write(json.dumps({"step": done, "loss": total / trained, "learning_rate": rate, "grad_norm": norm, "n_tokens": trained}) + "\n"); log.flush()
    model.save_pretrained(os.path.join(o.out, "final"))
    seconds = time.time() - start
    print(json.dumps({"steps": done, "tokens": tokens, "seconds": round(seconds, 1), "tokens_per_s": round(tokens / seconds, 1)}))


if __name__ == "__main__": main()
