#!/usr/bin/env python3
"""Write what Transformers and PEFT compute with a model and an adapter, for `dyag check` to recompute.

    make_reference.py MODEL_DIR ADAPTER_DIR OUT_DIR [--rows 12,9] [--steps 10] [--lora-plus-ratio R] [--text FILE] [--no-bf16]
    dyag check --model MODEL_DIR --adapter ADAPTER_DIR --reference OUT_DIR/reference.safetensors
    make_reference.py MODEL_DIR all-weights OUT_DIR        all weights are trained, and not an adapter
    dyag check --model MODEL_DIR --reference OUT_DIR/reference.safetensors

Needs torch, transformers, peft, safetensors. Everything is computed in float32 with plain attention.

OUT_DIR/reference.safetensors
    input_ids, attention_mask, labels   [B, T] int64; rows are padded on the right; label -100 carries no loss
    base_logits, logits                 [B, T, V] float32, without and with the adapter
    loss                                [1], mean over the labelled tokens, each predicted from the position before it
    grad.NAME                           gradient of that loss for each tensor of adapter_model.safetensors
    losses, grad_norms                  [S], of S AdamW steps on this batch; norms are taken before clipping
    final.NAME                          the adapter after those steps
    greedy_ids                          [1, P + N]: P tokens of the first row, then the N most likely ones with the adapter
OUT_DIR/reference.json
    the constants of the steps ("loraplus_lr_ratio" where B and magnitudes have a learning rate of their own), versions, and under "bf16" how far the same model in bfloat16 is from these numbers
"""
import argparse
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

NO_LOSS = -100


ALL_WEIGHTS = "all-weights"


def load(model_dir, adapter_dir, dtype):
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, attn_implementation="eager")
    if adapter_dir == ALL_WEIGHTS:
        return base.eval()
    return PeftModel.from_pretrained(base, adapter_dir, is_trainable=True).eval()


def adapter_parameters(model):
    """Trained tensors by the names they have in adapter_model.safetensors."""
    def in_file(name):
        name = name.replace(".default.", ".")
        # PEFT keeps magnitudes in a module of their own and saves them under its name.
        return name.removesuffix(".weight") if "lora_magnitude_vector" in name else name

    return {in_file(name): p for name, p in model.named_parameters() if p.requires_grad}


def make_optimizer(model, constants):
    options = dict(lr=constants["learning_rate"], betas=tuple(constants["betas"]), eps=constants["eps"])
    ratio = constants.get("loraplus_lr_ratio")
    if ratio is None:
        return torch.optim.AdamW(list(adapter_parameters(model).values()), weight_decay=constants["weight_decay"], **options)
    return create_loraplus_optimizer(model, torch.optim.AdamW, loraplus_lr_ratio=ratio, loraplus_weight_decay=constants["weight_decay"], **options)


def make_batch(row_lengths, vocabulary, seed, tokens=None):
    """Rows of consecutive tokens of a text, or of random ones; the last two thirds of each row are labelled."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(row_lengths), max(row_lengths))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, NO_LOSS)
    taken = 0
    for row, n in enumerate(row_lengths):
        if tokens is None:
            ids[row, :n] = torch.randint(3, vocabulary, (n,), generator=generator)
        else:
            if taken + n > len(tokens):
                raise SystemExit(f"the text has {len(tokens)} tokens; --rows asks for {sum(row_lengths)}")
            ids[row, :n] = torch.tensor(tokens[taken:taken + n])
            taken += n
        mask[row, :n] = 1
        labels[row, n // 3:n] = ids[row, n // 3:n]
    return {"input_ids": ids, "attention_mask": mask}, labels


def mean_loss(logits, labels):
    predicted, expected = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return cross_entropy(predicted.float(), expected, ignore_index=NO_LOSS)


def greedy(model, prompt, n_new):
    ids = prompt
    for _ in range(n_new):
        best = model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, best], dim=1)
    return ids


def forward_and_gradients(model, batch, labels):
    model.zero_grad(set_to_none=True)
    logits = model(**batch).logits
    loss = mean_loss(logits, labels)
    loss.backward()
    gradients = {name: p.grad.detach().float().clone() for name, p in adapter_parameters(model).items()}
    return logits.detach().float(), loss.item(), gradients


def optimise(model, batch, labels, constants):
    parameters = list(adapter_parameters(model).values())
    optimizer = make_optimizer(model, constants)
    losses, norms = [], []
    for _ in range(constants["steps"]):
        optimizer.zero_grad()
        loss = mean_loss(model(**batch).logits, labels)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, constants["max_grad_norm"]).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def bf16_distance(model_dir, adapter_dir, batch, labels, dump):
    """How far the base in bfloat16, with the adapter in float32 as PEFT keeps it, is from the dump."""
    logits, loss, gradients = forward_and_gradients(load(model_dir, adapter_dir, torch.bfloat16), batch, labels)
    seen = batch["attention_mask"].bool()
    relative = [((g - dump["grad." + name]).norm() / dump["grad." + name].norm()).item() for name, g in gradients.items()]
    return {
        "logits_max_relative_to_largest": ((logits - dump["logits"])[seen].abs().max() / dump["logits"][seen].abs().max()).item(),
        "loss_abs": abs(loss - dump["loss"].item()),
        "grad_relative_l2_worst": max(relative),
        "grad_relative_l2_mean": sum(relative) / len(relative),
    }


def make_reference(model_dir, adapter_dir, out_dir, row_lengths, *, steps=10, learning_rate=2e-3, clip=0.3, prompt_tokens=8,
                   new_tokens=16, seed=1, text=None, bf16=True, eps=None, lora_plus_ratio=None):
    if eps is None:
        # A bias of keys hardly changes a softmax, least of all in channels that turn slowly: its gradients may be of the size of Adam's usual 1e-8, where the update hangs on the
        # last digits of float32.
        eps = 1e-6 if adapter_dir == ALL_WEIGHTS else 1e-8
    constants = {"optimizer": "AdamW", "steps": steps, "learning_rate": learning_rate, "betas": [0.9, 0.999], "eps": eps,
                 "weight_decay": 0.0, "max_grad_norm": clip}
    if lora_plus_ratio is not None:
        constants["loraplus_lr_ratio"] = lora_plus_ratio
    model = load(model_dir, adapter_dir, torch.float32)
    names = set(adapter_parameters(model))
    if adapter_dir != ALL_WEIGHTS:
        names = set(load_file(os.path.join(adapter_dir, "adapter_model.safetensors")))
    if names != set(adapter_parameters(model)):
        raise SystemExit(f"the file and the model disagree on {sorted(names ^ set(adapter_parameters(model)))}")
    tokens = None
    if text is not None:
        with open(text, encoding="utf-8") as file:
            tokens = AutoTokenizer.from_pretrained(model_dir)(file.read(), add_special_tokens=False)["input_ids"]
    batch, labels = make_batch(row_lengths, model.config.vocab_size, seed, tokens)
    dump = {**batch, "labels": labels}
    with torch.no_grad():
        if adapter_dir != ALL_WEIGHTS:
            with model.disable_adapter():
                dump["base_logits"] = model(**batch).logits.clone()
        prompt_tokens = min(prompt_tokens, row_lengths[0])
        dump["greedy_ids"] = greedy(model, batch["input_ids"][:1, :prompt_tokens], new_tokens)
    dump["logits"], loss, gradients = forward_and_gradients(model, batch, labels)
    dump["loss"] = torch.tensor([loss])
    dump.update({"grad." + name: g for name, g in gradients.items()})
    losses, norms = optimise(model, batch, labels, constants)
    dump["losses"], dump["grad_norms"] = torch.tensor(losses), torch.tensor(norms)
    dump.update({"final." + name: p.detach().clone() for name, p in adapter_parameters(model).items()})
    del model
    facts = {**constants, "dtype": "float32", "prompt_tokens": prompt_tokens}
    if bf16:
        facts["bf16"] = bf16_distance(model_dir, adapter_dir, batch, labels, dump)
    facts.update({"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__})
    os.makedirs(out_dir, exist_ok=True)
    save_file({name: t.contiguous() for name, t in dump.items()}, os.path.join(out_dir, "reference.safetensors"))
    with open(os.path.join(out_dir, "reference.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
    print(f"{out_dir}: loss {losses[0]:.5f} -> {losses[-1]:.5f}, {len(names)} adapter tensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir")
    parser.add_argument("adapter_dir", help=f"or {ALL_WEIGHTS}")
    parser.add_argument("out_dir")
    parser.add_argument("--rows", default="12,9", help="tokens of each row, with commas between (default 12,9)")
    parser.add_argument("--steps", type=int, default=10, help="optimiser steps (default 10)")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--lora-plus-ratio", type=float, help="learning rate of B and of magnitudes, as a multiple of A's (LoRA+)")
    parser.add_argument("--clip", type=float, default=0.3, help="largest gradient norm (default 0.3)")
    parser.add_argument("--prompt-tokens", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=16, help="greedy tokens (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="of the random tokens used without --text")
    parser.add_argument("--text", help="take the tokens from this file; needs the model's tokenizer in MODEL_DIR")
    parser.add_argument("--no-bf16", action="store_true", help="leave out the comparison with bfloat16")
    o = parser.parse_args()
    row_lengths = [int(n) for n in o.rows.split(",")]
    if min(row_lengths) < 2 or o.steps < 1:
        parser.error("--rows must be at least 2 and --steps at least 1")
    make_reference(o.model_dir, o.adapter_dir, o.out_dir, row_lengths, steps=o.steps, learning_rate=o.learning_rate, clip=o.clip,
                   prompt_tokens=o.prompt_tokens, new_tokens=o.new_tokens, seed=o.seed, text=o.text, bf16=not o.no_bf16,
                   lora_plus_ratio=o.lora_plus_ratio)


if __name__ == "__main__":
    main()
