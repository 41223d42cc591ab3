#!/usr/bin/env python3
"""Make the drills that come before the lessons: conversations whose answers are copied from what was said, so that most of what is learned from them is how to copy.

usage: make_drills.py OUT [--drills 20000] [--seed 1] [--kinds KIND,KIND] [--tokenizer tokenizer.json]

Kinds: a line is said again (said_again), or a long one (said_at_length); of a list of names with values, the values of names are asked (looked_up); of one name with labelled values,
the values of labels (field_of); both of words that are tokens by chance (patchwork_again, patchwork_field). Words are invented, by chance, in the alphabets of French and English, with numbers and signs between them. Needs Python alone,
and tokenizers for patchwork.
"""
import argparse
import json
import random

from make_catalogues import TAILS, WORDS, acronym, invented, office, phrase


def value(rng, language):
    """Something that cannot be guessed: a word or several, a number, a date, an office."""
    w = WORDS[language]
    return rng.choice([
        lambda: invented(rng, language, 1, 4),
        lambda: invented(rng, language, 1, 3) + " " + invented(rng, language, 1, 3),
        lambda: str(rng.randint(1, 9999)),
        lambda: w["date"].format(d=rng.randint(1, 28), m=rng.randint(1, 12), y=rng.randint(1995, 2026)),
        lambda: office(rng),
        lambda: phrase(rng, language),
        lambda: phrase(rng, language),
        lambda: f"{rng.choice(w['actions'])} {w['of']} {rng.choice(w['objects'])} ({acronym(rng)})",
        lambda: f"{rng.choice(w['domains'])} > {rng.choice(w['subdomains'])}",
        lambda: f"{rng.choice(w['statuses'])}, {rng.choice(w['scopes'])}",
    ])()


def said_again(rng, language):
    line = " ".join(value(rng, language) for _ in range(rng.randint(2, 6)))
    return [(f"- {line}", line)]


def said_at_length(rng, language):
    """A long line: what stands in it is too much to be put together again by guessing, so that only going along it word by word is right."""
    line = " ".join(value(rng, language) for _ in range(rng.randint(5, 12)))
    return [(f"- {line}", line)]


def looked_up(rng, language):
    """Names with values, then questions that are a name, or a name among a few words."""
    names = [invented(rng, language) + rng.choice(TAILS) for _ in range(rng.randint(1, 5))]
    values = {name: value(rng, language) for name in names}
    shown = "\n".join(f"{name}: {text}" for name, text in values.items())
    rng.shuffle(names)
    wordings = ["{}", "{} ?", "Question: {}?"]
    turns = [(rng.choice(wordings).format(name), values[name]) for name in names]
    return [(f"{shown}\n\n{turns[0][0]}", turns[0][1]), *turns[1:]]


def field_of(rng, language):
    """One name with labelled values, as in a catalogue; labels are asked."""
    w = WORDS[language]
    name = invented(rng, language) + rng.choice(TAILS)
    labels = rng.sample(w["labels"] + [part for part in w["sections"]], rng.randint(2, 5))
    values = {label: value(rng, language) for label in labels}
    shown = f"# {name}\n" + "\n".join(rng.choice([f"**{label}:** {text}", f"{label}\n- {text}"]) for label, text in values.items())
    rng.shuffle(labels)
    turns = [(f"{name}: {label}?" if rng.random() < 0.5 else f"{label} / {name}", values[label]) for label in labels]
    return [(f"{shown}\n\n{turns[0][0]}", turns[0][1]), *turns[1:]]


def pieces(tokenizer):
    """The tokens of a vocabulary that are letters."""
    from tokenizers import Tokenizer

    read = Tokenizer.from_file(tokenizer)
    texts = {read.decode([number]).strip() for number in range(read.get_vocab_size())}
    return sorted(text for text in texts if text.isalpha())


PIECES = []


def patchwork(rng, fewest, most):
    """Words of tokens by chance, so that each token is copied now and then, those of words that catalogues seldom have too."""
    words = ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 3))).lower() for _ in range(rng.randint(fewest, most))]
    return " ".join(word.capitalize() if rng.random() < 0.3 else word for word in words)


def patchwork_again(rng, language):
    line = patchwork(rng, 4, 14)
    return [(f"- {line}", line)]


def patchwork_field(rng, language):
    """As field_of, with such words for names and values, and an address."""
    name = patchwork(rng, 1, 1)
    labels = rng.sample(WORDS[language]["labels"] + WORDS[language]["sections"], rng.randint(2, 4))
    values = {label: patchwork(rng, 1, 5) for label in labels}
    values[labels[0]] = rng.choice([values[labels[0]], f"https://{name.lower()}-{rng.randint(1, 99)}.example/"])
    shown = f"# {name}\n" + "\n".join(rng.choice([f"**{label}:** {text}", f"## {label}\n- {text}"]) for label, text in values.items())
    rng.shuffle(labels)
    turns = [(f"{name}: {label}?" if rng.random() < 0.5 else f"{label} / {name}", values[label]) for label in labels]
    return [(f"{shown}\n\n{turns[0][0]}", turns[0][1]), *turns[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--drills", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="said_again,looked_up,field_of")
    parser.add_argument("--tokenizer", help="tokenizer.json, for the patchwork kinds; needs the package tokenizers")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    if args.tokenizer:
        PIECES.extend(pieces(args.tokenizer))
    kinds = [globals()[kind] for kind in args.kinds.split(",")]
    with open(args.out, "w", encoding="utf-8") as out:
        for _ in range(args.drills):
            turns = rng.choice(kinds)(rng, rng.choice(["fr", "en"]))
            messages = [message for question, answer in turns for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
