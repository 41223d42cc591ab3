#!/usr/bin/env python3
"""Make questions and a training file about the corpus of debian_corpus.py.

    debian_questions.py CHUNKS.jsonl [--check]

Facts come from rules (options of manual pages, tables of packages, default values, what commands are for) and from debian/facts_by_hand.jsonl (question, wordings to train with, and the words of the chunk
that prove the answer). Half of each kind is taught: debian/train.jsonl holds it in other wordings than debian/questions.jsonl asks; the other half is in no training example. Every gold chunk holds the answer
and its evidence. With --check nothing is written: exit status 1 when the files are not what the chunks give.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent / "debian"
SEED = 42
SYSTEM = "Tu réponds aux questions sur les documents de l'organisation de façon exacte, factuelle et brève. Quand les documents ne donnent pas l'information, tu le dis."
# Facts of each kind that are asked; of those beyond, so many are taught and not asked.
ASKED = {"option": 64, "package": 40, "default": 26, "command": 20, "hand": 60}
ONLY_TAUGHT = {"option": 16, "package": 10, "default": 4, "command": 2, "hand": 0}
INFINITIVE = re.compile(r"^(ne (pas |plus )?|n'|s'|se )?[a-zàâéèêîôûç]+(er|ir|re)\b")


def squeezed(text):
    return " ".join(text.replace("\u202f", " ").replace("\u00a0", " ").replace("’", "'").split())


def of_options(chunks):
    for chunk in chunks:
        page = re.match(r"manuel/([\w.+-]+)\.1\.md$", chunk["source_id"])
        if not page:
            continue
        command = page[1]
        for line in chunk["content"].splitlines():
            found = re.match(r"- \*\*(?:-\w, )?(--[a-z][a-z-]+)(?:=[A-ZÉÈ_]+)?\*\* : (.+)$", line)
            if not found or found[1] in ("--help", "--version"):
                continue
            option, purpose = found[1], squeezed(found[2].replace("**", "")).rstrip(". ")
            if 18 <= len(purpose) <= 95 and INFINITIVE.match(purpose) and not re.search(r"[\\<>\"]|inconnu", purpose):
                yield {
                    "kind": "option", "key": f"{command} {option}", "chunk": chunk, "evidence": squeezed(line), "answer": option, "purpose": purpose,
                    "question": f"Quelle option longue de la commande {command} sert à {purpose} ?",
                    "train": [(f"Avec {command}, comment {purpose} ? Donne l'option.", option), (f"Que fait {option} dans {command} ?", purpose), (f"{command} : à quoi sert {option} ?", purpose)],
                }


def of_packages(chunks):
    for chunk in chunks:
        if not chunk["source_id"].startswith("reference/"):
            continue
        for line in chunk["content"].splitlines():
            cells = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell).strip() for cell in line.strip("| ").split(" | ")]
            if len(cells) != 4 or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", cells[0]) or not re.fullmatch(r"\d+", cells[2]):
                continue
            name, purpose = cells[0], squeezed(cells[3]).rstrip(".")
            if 25 <= len(purpose) <= 110 and re.search(r"\b(de|des|du|pour|la|le|les|un|une)\b", purpose) and name not in purpose.lower():
                yield {
                    "kind": "package", "key": name, "chunk": chunk, "evidence": squeezed(line), "answer": name,
                    "question": f"Quel paquet la référence Debian décrit-elle par « {purpose} » ?",
                    "train": [(f"Que contient le paquet {name} ?", purpose), (f"J'ai besoin de ceci : {purpose}. Quel paquet installer ?", name), (f"Décris {name} en quelques mots.", purpose)],
                }


def of_defaults(chunks):
    for chunk in chunks:
        if not chunk["source_id"].startswith("aptitude/"):
            continue
        for option, value in re.findall(r"Option : (\S+) Valeur par défaut : (.{1,40}?) Description :", chunk["squeezed"]):
            if value in ("true", "false", "(vide)"):
                continue  # Half of them are guessed right.
            yield {
                "kind": "default", "key": option, "chunk": chunk, "evidence": f"Option : {option} Valeur par défaut : {value}", "answer": value, "telling": option,
                "question": f"Que vaut {option} dans aptitude si l'on n'y touche pas ?",
                "train": [(f"Quelle est la valeur par défaut de l'option {option} ?", value), (f"{option} : réglage d'origine d'aptitude ?", value)],
            }


def of_commands(chunks):
    for chunk in chunks:
        for command, purpose in re.findall(r"^## NOM\n+(\S+) - ([^\n]+)$", chunk["content"], re.M):
            purpose = squeezed(purpose).rstrip(".")
            purpose = purpose[:1].lower() + purpose[1:]
            if chunk["source_id"] == f"manuel/{command}.1.md" and 15 <= len(purpose) <= 95 and INFINITIVE.match(purpose) and command not in purpose:
                yield {
                    "kind": "command", "key": command, "chunk": chunk, "evidence": squeezed(f"{command} - "), "answer": command, "telling": purpose,
                    "question": f"Quelle commande a été écrite pour {purpose} ?",
                    "train": [(f"À quoi sert la commande {command} ?", purpose), (f"Je veux {purpose} : que dois-je taper ?", command), (f"Rôle de {command} ?", purpose)],
                }


def by_hand(chunks):
    for line in (HERE / "facts_by_hand.jsonl").read_text(encoding="utf-8").splitlines():
        fact = json.loads(line)
        found = [chunk for chunk in chunks if chunk["source_id"].startswith(fact["source"]) and squeezed(fact["evidence"]) in chunk["squeezed"]]
        if not found:
            sys.exit(f"no chunk of {fact['source']} holds \"{fact['evidence']}\"")
        yield {
            "kind": "hand", "key": fact["question"], "chunk": found[0], "evidence": squeezed(fact["evidence"]), "answer": fact["answer"], "question": fact["question"],
            "train": [(wording, fact["answer"]) for wording in fact["train"]],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chunks")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with open(args.chunks, encoding="utf-8") as file:
        chunks = [json.loads(line) for line in file]
    for chunk in chunks:
        chunk["squeezed"] = squeezed(chunk["content"])
    questions, train, tellings = [], [], {}
    for rule in (of_options, of_packages, of_defaults, of_commands, by_hand):
        facts, seen = {}, collections.Counter()
        for fact in rule(chunks):
            facts.setdefault(fact["key"], fact)
        # A question that two facts answer is no question.
        seen.update(fact["question"] for fact in facts.values())
        facts = [fact for fact in facts.values() if seen[fact["question"]] == 1]
        kind = facts[0]["kind"]
        random.Random(f"{SEED} {kind}").shuffle(facts)
        if kind == "option":
            # Many commands share an option: each name and each purpose once, so that no command teaches another's.
            names, purposes, kept = set(), set(), []
            for fact in facts:
                if fact["answer"] not in names and fact["purpose"] not in purposes:
                    kept.append(fact)
                names.add(fact["answer"])
                purposes.add(fact["purpose"])
            facts = kept
        asked = facts[: ASKED[kind]]
        for number, fact in enumerate(asked + facts[ASKED[kind] : ASKED[kind] + ONLY_TAUGHT[kind]]):
            holders = [chunk for chunk in chunks if chunk["source_id"] == fact["chunk"]["source_id"] and fact["evidence"] in chunk["squeezed"] and squeezed(fact["answer"]) in chunk["squeezed"]]
            if kind == "command":
                holders = [fact["chunk"]]
            assert holders, fact
            is_asked = number < len(asked)
            taught = not is_asked or number % 2 == 0
            ids = [chunk["id"] for chunk in holders]
            document = fact["chunk"]["source_id"]
            if is_asked:
                tellings[f"{kind}-{number + 1:03d}"] = fact.get("telling", fact["answer"])
                questions.append({
                    "id": f"{kind}-{number + 1:03d}", "question": fact["question"], "expected_answer": fact["answer"], "category": kind, "document": document, "taught": taught, "gold_chunk_ids": ids,
                })
            if taught:
                for question, answer in fact["train"]:
                    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                    train.append({"messages": messages, "source_chunk_ids": ids, "document": document, "category": kind})
    random.Random(SEED).shuffle(train)
    asked = {question["question"] for question in questions}
    assert len(asked) == len(questions) and not any(row["messages"][1]["content"] in asked for row in train)
    # What would tell an untaught answer stands in no training example about the same document.
    trained = collections.defaultdict(set)
    for row in train:
        trained[row["document"]].add(row["messages"][1]["content"] + " " + row["messages"][2]["content"])
    for question in questions:
        if not question["taught"]:
            telling = tellings[question["id"]]
            assert not any(re.search(rf"(?<![\w-]){re.escape(telling)}(?![\w-])", text) for text in trained[question["document"]]), question
    print(f"{len(questions)} questions, {sum(question['taught'] for question in questions)} of them taught; {len(train)} training examples; {dict(collections.Counter(q['category'] for q in questions))}")
    failed = False
    for name, rows in (("questions.jsonl", questions), ("train.jsonl", train)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        if not args.check:
            (HERE / name).write_text(text, encoding="utf-8")
        elif (HERE / name).read_text(encoding="utf-8") != text:
            failed = True
            print(f"{name} is not what these chunks give", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
