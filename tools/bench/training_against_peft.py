#!/usr/bin/env python3
"""Training speed of dyag beside Transformers + PEFT: the same conversations, alternately, in both orders; a table of medians.

usage: training_against_peft.py --dyag PROGRAM --model PATH [--model PATH ...] --baseline "COMMAND" [--baseline "COMMAND" ...] --data FILE.jsonl
                                [--runs 3] [--steps 2] [--loss all|assistant] [--dyag-arguments "..."] [--out FILE.json]

A baseline's COMMAND trains on its own and prints, as its last line, JSON with "tokens_per_s" and "peak_rss_gb", such as

    python peft_baseline.py MODEL_FOLDER plain --dtype float32 --steps 2 --data FILE.jsonl

dyag trains batches of 4, accumulation 4. Both count the tokens of the data set; dyag's tokens that really went through the decoder stand beside them.
Nothing else should run on the machine. Needs Python alone; the baselines need what they need.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile


def last_json_line(output):
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    sys.exit(f"expected a line of JSON at the end of:\n{output}")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def run_dyag(o, model):
    with tempfile.TemporaryDirectory() as folder:
        command = [o.dyag, "finetune", "--base-model", model, "--dataset", o.data, "--output", f"{folder}/run", "--batch-size", "4", "--accumulation", "4"]
        command += ["--max-steps", str(o.steps), "--loss", o.loss, "--json", *shlex.split(o.dyag_arguments)]
        timing = json.loads(run(command))["timing"]
    return {"tokens_per_s": timing["tokens_per_s"], "computed_tokens_per_s": timing["computed_tokens_per_s"], "peak_rss_gb": timing["peak_memory_bytes"] / 1e9}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dyag", required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--baseline", action="append", required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--loss", default="all", choices=["all", "assistant"])
    parser.add_argument("--dyag-arguments", default="")
    parser.add_argument("--out")
    o = parser.parse_args()
    models = {f"dyag {'/'.join(model.rstrip('/').split('/')[-2:])}": model for model in o.model}
    names = [*models, *o.baseline]
    results = {name: [] for name in names}
    for index in range(o.runs):
        # Forwards, then backwards: whatever drifts in the machine meets both.
        for name in names if index % 2 == 0 else reversed(names):
            result = run_dyag(o, models[name]) if name in models else last_json_line(run(shlex.split(name)))
            results[name].append(result)
            print(f"run {index + 1}: {name}: {result['tokens_per_s']:.1f} tokens/s, {result['peak_rss_gb']:.2f} GB", file=sys.stderr, flush=True)
    median = lambda name, key: statistics.median(result[key] for result in results[name])
    print("| program | tokens/s of the data, median | lowest to highest | peak memory | dyag is faster by |\n|---|---|---|---|---|")
    for name in names:
        rates = sorted(result["tokens_per_s"] for result in results[name])
        computed = f" ({median(name, 'computed_tokens_per_s'):.1f} computed)" if name in models else ""
        factor = "" if name in models else ", ".join(f"{median(ours, 'tokens_per_s') / median(name, 'tokens_per_s'):.1f}" for ours in models)
        print(f"| `{name}` | {median(name, 'tokens_per_s'):.1f}{computed} | {rates[0]:.1f} to {rates[-1]:.1f} | {median(name, 'peak_rss_gb'):.2f} GB | {factor} |")
    if o.out:
        with open(o.out, "w", encoding="utf-8") as file:
            json.dump({"settings": vars(o), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
