#!/usr/bin/env python3
"""Answer the questions of a set in four ways with one model, and compare: base, with passages, fine-tuned, fine-tuned with passages (hybrid).

usage: four_arms.py DYAG OUT --model MODEL --chunks CHUNKS.jsonl --train TRAIN.jsonl --test QUESTIONS.jsonl
                    [--embedding-model DIR] [--n-chunks 2] [--max-passage-chars 400] [--epochs 3] [--passages-epochs 3] [--learning-rate 5e-4] [--context-free 0.3]
                    [--checkpointing auto|layer|none] [--max-tokens 64] [--limit N] [--arms base,rag,...]

The model is fine-tuned on TRAIN.jsonl; `hybrid` gives the surer of its answers with and without passages. Three more arms by name: `hybrid-shown` answers with the passages alone;
`finetuned-passages` and `hybrid-passages` are trained on the same examples with the passages that a search finds for them.
Every step is a command of dyag, printed before it runs; a step whose result is in OUT already is not done again, so a run that was stopped goes on. The comparison is in OUT/comparison;
when it is known which questions were taught (they say so, `"taught": true`, or both sets name documents and fields, as `dyag generate-training` writes them), those are also scored apart. Needs Python alone.
"""
import argparse
import json
import pathlib
import subprocess

FOUR = ["base", "rag", "finetuned", "hybrid"]
ARMS = [*FOUR, "hybrid-shown", "finetuned-passages", "hybrid-passages"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dyag")
    parser.add_argument("out", type=pathlib.Path)
    for name in ["--model", "--chunks", "--train", "--test"]:
        parser.add_argument(name, required=True)
    parser.add_argument("--embedding-model", default="none")
    parser.add_argument("--n-chunks", default="2")
    parser.add_argument("--max-passage-chars", default="400")
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--passages-epochs", help="of the training with passages, when it is another number")
    parser.add_argument("--learning-rate", default="5e-4")
    parser.add_argument("--max-seq-length", default="1024")
    parser.add_argument("--checkpointing", default="auto", help="none is a quarter faster and takes two or three times the memory")
    parser.add_argument("--context-free", default="0.3")
    parser.add_argument("--max-tokens", default="64")
    parser.add_argument("--limit")
    parser.add_argument("--arms", default=",".join(FOUR))
    args = parser.parse_args()
    arms = args.arms.split(",")
    if set(arms) - set(ARMS):
        parser.error(f"--arms: expected some of {', '.join(ARMS)}")
    known_to_be_taught = taught_questions(args.train, args.test)
    out = args.out
    out.mkdir(parents=True, exist_ok=True)

    def run(*command, makes):
        if (out / makes).exists():
            return
        command = [args.dyag, *map(str, command)]
        print("$", " ".join(command), flush=True)
        subprocess.run(command, check=True)

    search = ["--store", out / "index", "--collection", "passages", "--n-chunks", args.n_chunks, "--max-passage-chars", args.max_passage_chars]
    run("index-rag", args.chunks, "--store", out / "index", "--collection", "passages", "--embedding-model", args.embedding_model, makes="index/passages/CURRENT")
    train = ["--base-model", args.model, "--accumulation", "1", "--learning-rate", args.learning_rate, "--max-seq-length", args.max_seq_length, "--checkpointing", args.checkpointing, "--save-total-limit", "1"]

    def finetune(dataset, name, epochs):
        resume = ["--resume"] if any(out.glob(f"{name}/checkpoint-*")) else []
        run("finetune", "--dataset", dataset, "--output", out / name, "--epochs", epochs, *train, *resume, makes=f"{name}/final/adapter_model.safetensors")

    if {"finetuned", "hybrid", "hybrid-shown"} & set(arms):
        finetune(args.train, "plain", args.epochs)
    if {"finetuned-passages", "hybrid-passages"} & set(arms):
        run("add-passages", args.train, "--output", out / "train_passages.jsonl", "--context-free", args.context_free, *search, makes="train_passages.jsonl")
        finetune(out / "train_passages.jsonl", "passages", args.passages_epochs or args.epochs)
    models = {
        "base": ["--base-model", args.model], "rag": ["--base-model", args.model],
        "finetuned": ["--model", out / "plain/final"], "hybrid": ["--model", out / "plain/final"],
        "hybrid-shown": ["--model", out / "plain/final", "--hybrid", "passages"],
        "finetuned-passages": ["--model", out / "passages/final"], "hybrid-passages": ["--model", out / "passages/final"],
    }
    for arm in arms:
        with_passages = arm == "rag" or arm.startswith("hybrid")
        command = ["evaluate-rag" if with_passages else "evaluate-finetuned", args.test, *models[arm], "--no-perplexity", "--max-tokens", args.max_tokens, "--output", out / f"{arm}.json"]
        if with_passages:
            command += search
        if args.limit:
            command += ["--limit", args.limit]
        run(*command, makes=f"{arm}.json")
    results = [part for arm in arms for part in ("--results", f"{arm}={out / arm}.json")]
    if len(arms) > 1:
        learned = [part for arm in arms if arm not in ("base", "rag") for part in ("--training-set", f"{arm}={args.train}")]
        run("compare-models", *results, *learned, "--format", "all", "--output", out / "comparison", makes="comparison/comparison.json")
    taught(out, arms, known_to_be_taught)


def is_taught(row, fields):
    """Whether a question's fact was taught; None where that is not known."""
    if "taught" in row:
        return row["taught"]
    if row.get("kind") == "unanswerable" or not row.get("field"):
        return None
    return all((row.get("document"), field) in fields for field in row["field"].split("+"))


def read(file):
    """The rows of a dataset: JSON Lines, or one list."""
    text = pathlib.Path(file).read_text(encoding="utf-8")
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]


def taught_questions(train, test):
    """Whether each question was taught, by its text."""
    fields = {(row.get("document"), field) for row in read(train) for field in row.get("field", "").split("+")}
    asked = lambda row: row["question"] if "question" in row else next(message["content"] for message in reversed(row["messages"]) if message["role"] == "user")
    return {asked(row): is_taught(row, fields) for row in read(test)}


def taught(out, arms, kinds):
    """Scores of each arm, over all questions and apart by whether they were taught."""
    for arm in arms:
        found = json.loads((out / f"{arm}.json").read_text(encoding="utf-8"))["results"]
        line = f"{arm:20}"
        for name, wanted in [("all", None), ("taught", True), ("untaught", False)]:
            scores = [row["metrics"] for row in found if wanted is None or kinds.get(row["question"]) is wanted]
            if scores:
                mean = lambda key: 100 * sum(float(score.get(key) or 0) for score in scores) / len(scores)
                line += f"  {name} ({len(scores)}): exact {mean('exact_match_french'):5.1f} %, F1 {mean('f1_french'):5.1f} %, holds the answer {mean('contains_expected'):5.1f} %"
        print(line)


if __name__ == "__main__":
    main()
