#!/usr/bin/env python3
"""What a large collection of invented passages costs: time and memory to make, bytes, time of a search, and searches while the next state is made.

usage: scale.py DYAG OUT [--chunks 1000000] [--lines N] [--questions 1000] [--embedding-model DIR] [--approximate-from N] [--seed 1]

Passages are those of tools/tiny/make_catalogues.py, one for each application, or the first --lines of them (an encoder's time is that of the tokens). Questions ask for an application by its name and one of its fields; whether its own passage is among the first five is
counted too. With --embedding-model the questions are asked by words, by vectors and by both; with --approximate-from the collection is made twice, the second time with eight-bit copies of its
vectors, and the share of exact neighbours that a search finds by these is printed. Needs Python alone.
"""
import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tiny"))
from make_catalogues import WORDS, application, invented

FIELDS = ["le statut", "l'identifiant", "la portée géographique", "le domaine métier", "l'hébergement", "les acteurs", "le nom complet"]


def write_passages(folder, n, n_questions, seed, n_lines=None):
    rng, names = random.Random(seed), []
    with open(folder / "chunks.jsonl", "w", encoding="utf-8") as out:
        for number in range(n):
            name = invented(rng, "fr", 3, 5)
            names.append(name)
            content = "\n".join([line for line in application(rng, "fr", name) if line][:n_lines])
            out.write(json.dumps({"id": f"{number:07}", "source_id": str(number), "title": name, "content": content, "metadata": {"serie": number % 10}, "chunk_type": "main"}, ensure_ascii=False) + "\n")
    with open(folder / "questions.jsonl", "w", encoding="utf-8") as out:
        for number in range(n_questions):
            place = rng.randrange(n)
            out.write(json.dumps({"id": f"q{number}", "question": f"Quel est {rng.choice(FIELDS)} de {names[place]} ?", "expected_answer": "x", "gold_chunk_ids": [f"{place:07}"]}, ensure_ascii=False) + "\n")


def measured(command, note):
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{note}: {time.time() - start:.1f} s, at most {max(peak, before) / 1e6:.2f} GB", flush=True)


def searched(args, store, ranking, name, k=5):
    out = args.out / f"{name}.json"
    out.unlink(missing_ok=True)
    command = [args.dyag, "evaluate-rag", str(args.out / "questions.jsonl"), "--passages-only", "--store", str(store), "--collection", "large", "--search", ranking, "--n-chunks", str(k), "--output", str(out), "--restart"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = json.loads(out.read_text(encoding="utf-8"))["results"]
    times = sorted(row["search_seconds"]["all"] for row in rows)
    at = lambda share: 1e3 * times[min(len(times) - 1, int(share * len(times)))]
    hits = [row["gold_chunk_ids"][0] in [source["id"] for source in row["sources"][:5]] for row in rows]
    print(f"{name}: {len(rows)} questions, p50 {at(.5):.1f} ms, p95 {at(.95):.1f} ms, p99 {at(.99):.1f} ms; own passage among the first five: {100 * sum(hits) / len(hits):.1f} %", flush=True)
    return [[source["id"] for source in row["sources"]] for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dyag")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--embedding-model", default="none")
    parser.add_argument("--approximate-from", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "questions.jsonl").exists():
        write_passages(args.out, args.chunks, args.questions, args.seed, args.lines)
    chunks, store = args.out / "chunks.jsonl", args.out / "index"
    index = lambda store, *more: [args.dyag, "index-rag", str(chunks), "--store", str(store), "--collection", "large", "--embedding-model", args.embedding_model, *more]
    exact = ["--approximate-from", str(2**31)] if args.embedding_model != "none" else []
    measured(index(store, *exact), f"{args.chunks} passages indexed")
    stats = json.loads(subprocess.run([args.dyag, "rag-stats", "--store", str(store), "--collection", "large", "--json"], check=True, capture_output=True, text=True).stdout)
    print("bytes:", json.dumps(stats.get("bytes") or stats.get("sizes") or stats), flush=True)
    found = {}
    for ranking in ["lexical"] if args.embedding_model == "none" else ["lexical", "vector", "fused"]:
        found[ranking] = searched(args, store, ranking, ranking, 10)
    if args.approximate_from:
        near = args.out / "approximate"
        subprocess.run(["cp", "-r", str(store), str(near)], check=True)
        # One passage more, so that there is something to write; vectors are taken over.
        extra = args.out / "extra.jsonl"
        extra.write_text(json.dumps({"id": "extra", "source_id": "extra", "title": "Extra", "content": "Un passage de plus."}) + "\n")
        measured([args.dyag, "index-rag", str(extra), "--add", "--store", str(near), "--collection", "large", "--approximate-from", str(args.approximate_from)], "the same with copies, vectors taken over")
        for ranking in ["vector", "fused"]:
            some = searched(args, near, ranking, f"{ranking}, copies", 10)
            same = sum(len(set(a) & set(b)) for a, b in zip(found[ranking], some))
            print(f"  of the ten that exact search finds: {100 * same / sum(map(len, found[ranking])):.2f} %", flush=True)
    # The next state is made while questions are asked.
    extra = args.out / "next.jsonl"
    extra.write_text(json.dumps({"id": "next", "source_id": "next", "title": "Suite", "content": "Encore un passage."}) + "\n")
    writer = subprocess.Popen([args.dyag, "index-rag", str(extra), "--add", "--store", str(store), "--collection", "large", *exact], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rounds, ranking = 0, list(found)[-1]
    while writer.poll() is None:
        again = searched(args, store, ranking, "while the next state is made", 10)
        assert again == found[ranking], "another answer while the next state is made"
        rounds += 1
    assert writer.returncode == 0, "the writer failed"
    print(f"{rounds} rounds of questions while the next state was made: the same passages each time")


if __name__ == "__main__":
    main()
