#!/usr/bin/env python3
"""Load a folder that `dyag merge-lora` wrote in Transformers, and compare greedy tokens with dyag's.

    check_merged_folder.py --dyag PATH --folder DIR [--adapter DIR] [--tokens 32]

Both compute in f32. With --adapter, dyag answers with base and adapter, not from the folder. Prints, for five questions, how many of the first tokens are the same.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = [
    "Quel est le statut de 6Tzen ?",
    "Écris une fonction Python qui renvoie la somme des carrés d'une liste.",
    "What is the capital of France? Answer in one sentence.",
    "Explique en deux phrases ce qu'est une base de données.",
    "Donne trois couleurs et un animal.",
]


def dyag_answers(o, work):
    questions, output = work / "questions.jsonl", work / "answers.jsonl"
    questions.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS))
    model = ["--model", o.adapter] if o.adapter else ["--base-model", o.folder]
    command = [o.dyag, "query-finetuned", *model, "--questions", questions, "--output", output]
    command += ["--temperature", "0", "--max-tokens", o.tokens, "--no-system", "--precision", "f32"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return [json.loads(line)["answer"] for line in output.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dyag", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--adapter")
    parser.add_argument("--tokens", type=int, default=32)
    o = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(o.folder)
    model = AutoModelForCausalLM.from_pretrained(o.folder, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as work:
        answers = dyag_answers(o, pathlib.Path(work))
    for question, answer in zip(QUESTIONS, answers):
        text = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=o.tokens, do_sample=False)[0, ids.shape[1] :]
        made = [i for i in made.tolist() if i not in tokenizer.all_special_ids]
        same = next(n for n in range(len(made), -1, -1) if answer.startswith(tokenizer.decode(made[:n]).rstrip("\ufffd")))
        print(f"{same} of {len(made)} tokens the same: {question}")


if __name__ == "__main__":
    main()
