#!/usr/bin/env python3
"""Make the lessons by which dyag-tiny learns to read: each is one conversation that shows passages once and then asks and answers many questions about them.

usage: make_lessons.py OUT EXAMPLES [EXAMPLES ...] [--lessons N] [--declined 0.15] [--together 1,1,2,3] [--prompts 0.5] [--by-heart 0.05] [--seed 1]

EXAMPLES are files of `dyag generate-training --with-context --passages 1`. A passage costs most of an example's tokens, so all questions about it are put behind it. --together says how
many documents' passages a lesson shows, by chance. The share --prompts opens as the program asks (its sentences around the passages, half of them with its system message), the
others with the passages alone. Of the questions that the passages do not answer, the share --declined is kept. The share --by-heart asks without any passage: how such questions are
answered, not what is true. Needs Python alone.
"""
import argparse
import json
import random
import re


def parts(example):
    """(language, system, what stands around the passages, passage, question, answer) of an example with one passage; None for others."""
    *before, asked, answered = (message["content"] for message in example["messages"])
    passages = re.findall(r'\[\d+\] (.*?\n""".*?""")', asked, flags=re.DOTALL)
    found = re.fullmatch(r'(.*?)\[\d+\] .*"""(.*?\nQuestion ?: )(.*)', asked, flags=re.DOTALL)
    if len(passages) != 1 or found is None:
        return None
    head, tail, question = found.groups()
    return "fr" if head.startswith("Voici") else "en", before[0] if before else None, (head, tail), passages[0], question, answered


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("examples", nargs="+")
    parser.add_argument("--lessons", type=int, default=None)
    parser.add_argument("--declined", type=float, default=0.15)
    parser.add_argument("--together", default="1,1,2,3")
    parser.add_argument("--prompts", type=float, default=0.5)
    parser.add_argument("--by-heart", type=float, default=0.05)
    parser.add_argument("--most", type=int, default=8, help="questions of a lesson")
    parser.add_argument("--longest", type=int, default=240, help="characters of an answer")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, together = random.Random(args.seed), [int(n) for n in args.together.split(",")]
    passages, around, system = {"fr": {}, "en": {}}, {}, {}
    for file in args.examples:
        for line in open(file, encoding="utf-8"):
            example = json.loads(line)
            found = parts(example)
            if found is None or len(found[5]) > args.longest or (example["kind"] == "unanswerable" and rng.random() > args.declined):
                continue
            language, system[language], around[language], passage, question, answer = found
            passages[language].setdefault(passage, []).append((question, answer))
    lessons = []
    for language, asked in passages.items():
        keys = list(asked)
        rng.shuffle(keys)
        while keys:
            shown = [keys.pop() for _ in range(min(rng.choice(together), len(keys)))]
            questions = [pair for key in shown for pair in asked[key]]
            rng.shuffle(questions)
            head, tail = around[language]
            label = f"Question{' ' if language == 'fr' else ''}: "
            block = "\n\n".join(f"[{number}] {passage}" for number, passage in enumerate(shown, 1))
            messages, kind = [], rng.random()
            if kind < args.by_heart:
                questions, opening, label = questions[:1], "", ""
            elif kind < args.by_heart + args.prompts:
                opening = head + block + tail.removesuffix(label)
                if rng.random() < 0.5:
                    messages.append({"role": "system", "content": system[language]})
            else:
                opening = block + "\n\n"
            for number, (question, answer) in enumerate(questions[: args.most]):
                messages += [{"role": "user", "content": f"{opening if number == 0 else ''}{label}{question}"}, {"role": "assistant", "content": answer}]
            lessons.append({"messages": messages})
    rng.shuffle(lessons)
    lessons = lessons[: args.lessons]
    with open(args.out, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(lesson, ensure_ascii=False) + "\n" for lesson in lessons)
    print(f"{args.out}: {len(lessons)} lessons, {sum(message['role'] == 'assistant' for lesson in lessons for message in lesson['messages'])} questions")


if __name__ == "__main__":
    main()
