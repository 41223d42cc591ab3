#!/usr/bin/env python3
"""The original program's headline, done again: a model fine-tuned on 10 examples for one epoch and on 100 for three, by dyag and by TRL on the same machine.

usage: headline.py DYAG OUT --model MODEL [--python PYTHON --model-folder FOLDER] [--runs 10x1,100x3] [--baseline-steps N] [--dtype float32]

Training sets are made of examples/apps10 by `dyag generate-training --method augmented`. MODEL is what dyag trains (a GGUF file or a folder), FOLDER the same model for Transformers
(tools/reference/gguf_to_folder.py makes one of a GGUF file); without --python TRL is left out. --baseline-steps ends TRL's longer run after N steps and reckons the rest from them, which the table
says. Both train all tokens. A result that is in OUT is not made again. Needs Python alone; TRL needs what peft_trl.py says.
"""
import argparse
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
QUESTIONS = ["Quel est le statut de 6Tzen ?", "Quel est le nom complet de ADES ?", "Quel est le domaine métier de Acceslibre ?"]


def epoch_means(values, n_examples, epochs):
    """Means of the steps of each epoch, by how many examples a step has: the last one of an epoch has the rest. Single steps compare nothing, since the programs shuffle differently."""
    a_step = 16
    n_steps = -(-n_examples // a_step)
    shares = [min(a_step, n_examples - a_step * step) / n_examples for step in range(n_steps)]
    whole = [values[start : start + n_steps] for start in range(0, min(len(values), epochs * n_steps), n_steps)]
    return [sum(map(lambda share, value: share * value, shares, epoch)) / sum(shares[: len(epoch)]) for epoch in whole]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dyag")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--python")
    parser.add_argument("--model-folder")
    parser.add_argument("--runs", default="10x1,100x3")
    parser.add_argument("--baseline-steps", type=int)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    out = args.out
    out.mkdir(parents=True, exist_ok=True)

    def call(command):
        print("$", " ".join(map(str, command)), flush=True)
        return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout

    chunks = HERE.parent.parent / "examples/apps10/chunks.jsonl"
    if not (out / "examples.jsonl").exists():
        call([args.dyag, "generate-training", chunks, "--output", out / "examples.jsonl", "--method", "augmented", "--count", "100"])
    lines = (out / "examples.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = []
    for run in args.runs.split(","):
        n_examples, epochs = map(int, run.split("x"))
        data = out / f"{run}.jsonl"
        data.write_text("".join(lines[:n_examples]), encoding="utf-8")
        kept = out / f"{run}-dyag.json"
        if not kept.exists():
            command = [args.dyag, "finetune", "--base-model", args.model, "--dataset", data, "--output", out / run, "--epochs", epochs, "--batch-size", 4, "--accumulation", 4, "--loss", "all"]
            found = json.loads(call([*command, "--save-total-limit", 1, "--json"]))
            steps = [json.loads(line) for line in (out / run / "log.jsonl").read_text().splitlines()]
            ask = [args.dyag, "query-finetuned", "--model", out / run / "final", "--temperature", 0, "--max-tokens", 64]
            kept.write_text(json.dumps({
                "seconds": found["timing"]["elapsed_s"], "steps": len(steps), "losses": [step["loss"] for step in steps], "token_accuracies": [step["token_accuracy"] for step in steps],
                "peak_memory_gb": found["timing"]["peak_memory_bytes"] / 1e9, "answers": [call([*ask, question]).strip() for question in QUESTIONS],
            }, ensure_ascii=False, indent=1))
        rows.append((run, "dyag", json.loads(kept.read_text()), 1.0))
        kept = out / f"{run}-trl.json"
        if args.python:
            n_steps = len(rows[-1][2]["losses"])
            steps = min(args.baseline_steps or n_steps, n_steps)
            if not kept.exists():
                asked = ["--ask", *QUESTIONS] if steps == n_steps else []
                command = [args.python, HERE / "peft_trl.py", args.model_folder, data, epochs, "--steps", steps, "--dtype", args.dtype, *asked]
                kept.write_text(call(command).splitlines()[-1])
            rows.append((run, "TRL", json.loads(kept.read_text()), n_steps / steps))
    print("\n| examples x epochs | program | time | steps | mean loss of each epoch | token accuracy of the last epoch | memory |\n|---|---|---:|---:|---|---:|---:|")
    for run, name, found, share in rows:
        reckoned = "" if share == 1.0 else f" (from {found['steps']} steps)"
        n_examples, epochs = map(int, run.split("x"))
        losses, accuracies = (epoch_means(found[key], n_examples, epochs) for key in ("losses", "token_accuracies"))
        print(f"| {run} | {name} | {found['seconds'] * share:.0f} s{reckoned} | {found['steps'] * share:.0f} | {', '.join(f'{loss:.3f}' for loss in losses)} "
              f"| {100 * accuracies[-1]:.1f} % | {found['peak_memory_gb']:.2f} GB |")
    for run, name, found, _ in rows:
        for question, answer in zip(QUESTIONS, found["answers"]):
            print(f"{run} {name}: {question} {answer}")


if __name__ == "__main__":
    main()
