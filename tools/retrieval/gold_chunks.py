#!/usr/bin/env python3
"""Give every question about the ten applications of examples/apps10 the ids of the chunks that bear its answer.

    gold_chunks.py --questions QUESTIONS.jsonl [--check]

QUESTIONS.jsonl holds the 205 questions with template wordings (`id`, `question`, `expected_answer`, `category`, `app_id`, ...). Beside this script are the questions that were written by hand
(apps10_questions.jsonl) and decisions by hand about what a rule cannot find (apps10_decisions.jsonl). Writes examples/apps10/retrieval/KIND.jsonl; with --check only compares.

A chunk bears an answer when it is of the right application and holds the answer after its label (`Statut: En production`) where the category has one, or anywhere where it has none. `support`
in a row is what has to stand there in place of the answer. Letters, figures and single spaces are compared, without case and accents. What no chunk holds has to have a decision: the
chunks that hold a part of the answer, or none, and why. Exit status 1 when something has neither.
"""
import argparse
import json
import pathlib
import re
import sys
import unicodedata

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples" / "apps10"
ROUTES = {"gold_chunk_ids": "chunks.jsonl", "gold_chunk_ids_markdown": "chunks_markdown.jsonl"}
# What stands before the value, where the value alone might stand for something else.
LABELS = {
    "status": ["statut", "statut si"],
    "geographic_scope": ["portee geographique"],
    "domains": ["domaine", "domaine metier"],
    "app_id": ["application d identifiant", "id identifiant"],
    "full_info": ["nom complet", "nom long"],
    "events": ["mise en production"],
    "actors": ["acteur"],
    "related_apps": ["application liee"],
}
KINDS = ["named", "misspelt", "paraphrased", "nameless", "unanswerable"]


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def fold(text):
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c)).replace("œ", "oe")
    return " ".join(re.findall(r"[^\W_]+", plain))


def holds(content, value, category):
    """Whether a chunk's text holds a value of a category."""
    text, value = f" {fold(content)} ", fold(value)
    if category not in LABELS:
        return f" {value} " in text
    lines = [f"{fold(line)} " for line in content.splitlines()]
    return any(line.startswith(f"{label} {value} ") for line in lines for label in LABELS[category])


def with_identifiers(chunks):
    """The chunks as `index-rag` takes them: an application's id that no passage says is a line at the end of the first."""
    done = set()
    for chunk in chunks:
        source, number = chunk["source_id"], (chunk.get("metadata") or {}).get("id")
        if source in done or number is None:
            continue
        done.add(source)
        texts = [f" {fold(other['title'])} {fold(other['content'])} " for other in chunks if other["source_id"] == source]
        said = f" {fold(str(number))} " if len(str(number)) > 2 else f" id {number} "
        if not any(said in text for text in texts):
            chunk["content"] += f"\nid (identifiant): {number}"
    return chunks


def find(chunks, row):
    """Ids of the chunks that bear the answer of a row, in order."""
    category, answer = row["category"], row.get("support") or row["expected_answer"]
    of_app = [chunk for chunk in chunks if chunk["source_id"] == str(row["app_id"])]
    values = [part.strip() for part in answer.split(", ")] if category == "actors" else [answer]
    return [chunk["id"] for chunk in of_app if all(holds(chunk["content"], value, category) for value in values)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    chunks = {key: with_identifiers(rows(EXAMPLE / name)) for key, name in ROUTES.items()}
    decisions = {(one["route"], one["app_id"], one["category"]): one for one in rows(HERE / "apps10_decisions.jsonl")}
    questions = [row | {"kind": "named"} for row in rows(args.questions)] + rows(HERE / "apps10_questions.jsonl")
    used, unsettled, files = set(), [], {kind: [] for kind in KINDS}
    counts = {}
    for row in questions:
        kind, row_out = row["kind"], {}
        number = len(files[kind]) + 1
        row_out["id"] = row.get("id") or f"{kind}-{number:02d}"
        for key in ["question", "expected_answer", "category", "difficulty", "app_name", "app_id"]:
            if row.get(key) is not None:
                row_out[key] = row[key]
        row_out["kind"] = kind
        for key, route in ROUTES.items():
            found = [] if kind == "unanswerable" else find(chunks[key], row)
            decision = decisions.get((route, row.get("app_id"), row["category"]))
            if not found and decision and kind != "unanswerable":
                used.add((route, row["app_id"], row["category"]))
                found = decision["gold_chunk_ids"]
                if found and row["expected_answer"] != "***TEMPORAIRE***":
                    row_out["partial"] = True
            elif not found and kind != "unanswerable":
                unsettled.append(f"{row_out['id']} ({row['app_id']}, {row['category']}) in {route}: {row['question']} -> {row['expected_answer'][:80]}")
            row_out[key] = found
            tally = counts.setdefault((kind, route), [0, 0])
            tally[0] += 1
            tally[1] += bool(found)
        files[kind].append(row_out)
    unused = sorted(set(decisions) - used)
    for (kind, route), (n, n_found) in counts.items():
        print(f"{kind}: {n} questions, {n_found} with a chunk in {route}")
    for line in unsettled:
        print(f"no chunk and no decision: {line}", file=sys.stderr)
    for key in unused:
        print(f"a decision that nothing needs: {key}", file=sys.stderr)
    differs = False
    for kind, content in files.items():
        path = EXAMPLE / "retrieval" / f"{kind}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        if args.check:
            if path.read_text(encoding="utf-8") != text:
                differs = True
                print(f"{path} is not what this script makes", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    sys.exit(1 if unsettled or unused or differs else 0)


if __name__ == "__main__":
    main()
