#!/usr/bin/env python3
"""Training speed and memory of dyag by length of context and number of threads: a table.

usage: contexts.py --dyag PROGRAM --model PATH --text FILE.jsonl [--lengths 256 1024 4096 16384] [--threads 1 2] [--steps 2]

Every example is one conversation of just that many tokens, made of the messages of FILE.jsonl from different places on, cut at the length; a step holds at least 1,024 tokens.
Nothing is shared between examples, and every token is learned. Needs Python alone; nothing else should run on the machine.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile


def write_examples(texts, length, count, path):
    # A token has at least one byte, so that many characters and some more are more tokens than needed only where text is short: repeat it.
    with open(path, "w", encoding="utf-8") as file:
        for i in range(count):
            turned = texts[i * 7 % len(texts):] + texts[: i * 7 % len(texts)]
            text = "\n".join(turned)
            text = (text + "\n") * (length * 8 // len(text) + 1)
            file.write(json.dumps({"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": text[: length * 8]}]}, ensure_ascii=False) + "\n")


def measure(o, length, threads, folder):
    count = max(1, 1024 // length)
    data = folder / "data.jsonl"
    write_examples(o.texts, length, count, data)
    command = [o.dyag, "finetune", "--base-model", o.model, "--dataset", data, "--output", folder / f"run-{length}-{threads}", "--batch-size", count]
    command += ["--accumulation", 1, "--max-steps", o.steps, "--epochs", o.steps, "--loss", "all", "--max-seq-length", length, "--truncate", "--no-shared-prefix", "--threads", threads, "--json"]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    timing = json.loads(done.stdout)["timing"]
    return timing["computed_tokens_per_s"], timing["peak_memory_bytes"] / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dyag", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024, 4096, 16384])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=2)
    o = parser.parse_args()
    o.texts = [message["content"] for line in open(o.text, encoding="utf-8") for message in json.loads(line)["messages"] if message["role"] != "system"]
    print("| tokens of context | " + " | ".join(f"{n} thread{'s' * (n > 1)}, tokens/s | memory" for n in o.threads) + " |")
    print("|---|" + "---|---|" * len(o.threads))
    with tempfile.TemporaryDirectory() as folder:
        for length in o.lengths:
            cells = [measure(o, length, threads, pathlib.Path(folder)) for threads in o.threads]
            print(f"| {length:,} | " + " | ".join(f"{speed:.1f} | {memory:.2f} GB" for speed, memory in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
