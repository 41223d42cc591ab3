#!/usr/bin/env python3
"""Everything that docs/results.md reports, made again: one command after the other, each printed before it runs; what is in OUT already is not made again.

usage: all.py DYAG OUT --models DIR [--only demo,apps10,apps10-large,debian,debian-large,fictional,headline] [--python PYTHON --model-folder FOLDER]

DIR holds qwen2.5-coder-0.5b/model.gguf, qwen2.5-coder-1.5b/model.gguf and multilingual-e5-small/. On two processors with AVX2 alone all of it takes most of a day; --only takes parts. TRL beside it (headline) needs --python and --model-folder (see headline.py). Needs Python alone.

demo          the three catalogues of `dyag demo`
apps10        ten real applications, 0.5B: four ways of answering
apps10-large  the same, 1.5B
debian        3,379 passages of Debian's French documents, 0.5B: four ways, taught and untaught facts apart
debian-large  the same, 1.5B
fictional     1,008 invented applications, 1,000 examples, 0.5B: the same; half of the facts asked were never taught
headline      10 examples once and 100 three times, 1.5B, beside TRL
"""
import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOOLS, ROOT = HERE.parent, HERE.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dyag")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="demo,apps10,apps10-large,debian,debian-large,fictional,headline")
    parser.add_argument("--python")
    parser.add_argument("--model-folder")
    args = parser.parse_args()
    if bool(args.python) != bool(args.model_folder):
        parser.error("--python and --model-folder go together")
    out, dyag = args.out, args.dyag
    out.mkdir(parents=True, exist_ok=True)
    small, large = (args.models / f"qwen2.5-coder-{size}" / "model.gguf" for size in ("0.5b", "1.5b"))
    vectors = ["--embedding-model", args.models / "multilingual-e5-small"]

    def call(*command, makes=None):
        if makes is None or not (out / makes).exists():
            command = [str(word) for word in command]
            print("$", " ".join(command), flush=True)
            subprocess.run(command, check=True)

    def arms(name, model, chunks, train, test, *more):
        call(sys.executable, TOOLS / "retrieval/four_arms.py", dyag, out / name, "--model", model, "--chunks", chunks, "--train", train, "--test", test, *more)

    def demo():
        for catalogue in (1, 2, 3):
            call(dyag, "demo", "--catalogue", catalogue, "--output", out / f"demo-{catalogue}", makes=f"demo-{catalogue}/comparison/comparison.json")

    def apps10(name, model, *more):
        examples = ROOT / "examples/apps10"
        arms(name, model, examples / "chunks.jsonl", examples / "train.jsonl", examples / "test.jsonl", *vectors, *more)

    def debian(name, model, *more):
        folder = TOOLS / "retrieval/debian"
        corpus = out / "debian-corpus"
        call(sys.executable, TOOLS / "retrieval/debian_corpus.py", corpus, makes="debian-corpus/works.json")
        call(dyag, "chunk", corpus / "docs", "--output", corpus / "chunks.jsonl", makes="debian-corpus/chunks.jsonl")
        arms(name, model, corpus / "chunks.jsonl", folder / "train.jsonl", folder / "questions.jsonl", *more)

    def fictional():
        folder = out / "fictional-set"
        folder.mkdir(exist_ok=True)
        call(sys.executable, TOOLS / "catalogue/make_catalogue.py", folder / "catalogue.json", "--applications", 1008, makes="fictional-set/catalogue.json")
        call(dyag, "chunk", folder / "catalogue.json", "--output", folder / "chunks.jsonl", makes="fictional-set/chunks.jsonl")
        questions = ["--output", folder / "set.jsonl", "--method", "augmented", "--count", 1250, "--split", "both", "--max-answer-chars", 160]
        call(dyag, "generate-training", folder / "chunks.jsonl", *questions, makes="fictional-set/set_train.jsonl")
        arms("fictional", small, folder / "chunks.jsonl", folder / "set_train.jsonl", folder / "set_test.jsonl", "--max-passage-chars", 400, "--n-chunks", 3, "--checkpointing", "none")

    def headline():
        beside = ["--python", args.python, "--model-folder", args.model_folder] if args.python else []
        call(sys.executable, HERE / "headline.py", dyag, out / "headline", "--model", large, *beside)

    parts = {
        "demo": demo, "apps10": lambda: apps10("apps10", small, "--epochs", 8), "apps10-large": lambda: apps10("apps10-large", large, "--epochs", 5), "debian": lambda: debian("debian", small),
        "debian-large": lambda: debian("debian-large", large, "--checkpointing", "none"), "fictional": fictional, "headline": headline,
    }
    wanted = args.only.split(",")
    if set(wanted) - set(parts):
        parser.error(f"--only: expected some of {', '.join(parts)}")
    for name in wanted:
        print(f"\n## {name}", flush=True)
        parts[name]()


if __name__ == "__main__":
    main()
