#!/usr/bin/env python3
"""Write the reference values that the tests of dyag-eval's retrieval metrics compare with.

    make_retrieval_references.py OUT.json

Needs pytrec_eval (0.5), which computes with the C code of trec_eval itself. Runs are random, with equal scores, scores that only double precision tells apart, ids that nobody
judged, grades from -1 to 3, judged ids that were not found, queries without a relevant id and without a relevant hit.
"""
import argparse
import json
import random

import pytrec_eval

CUTS = [1, 3, 5, 10]
MEASURES = {"map", "recip_rank", *(f"{name}.{','.join(map(str, CUTS))}" for name in ["P", "recall", "ndcg_cut", "success"])}


def case(rng, number):
    ids = [f"{rng.choice('aAbéz')}{n:02d}" for n in range(rng.randint(1, 24))]
    kind = number % 5
    score = {
        0: lambda: float(rng.randint(0, 3)),
        1: lambda: rng.random(),
        2: lambda: 1.0 + rng.randint(0, 2) * 1e-12,
        3: lambda: rng.choice([-1.5, -0.0, 0.0, 2.0]),
        4: lambda: rng.gauss(0, 1) * 10.0 ** rng.randint(-6, 6),
    }[kind]
    run = {name: score() for name in rng.sample(ids, rng.randint(1, len(ids)))}
    grades = [-1, 0, 1, 2, 3] if number % 3 else [0, 1]
    judged = {name: rng.choice(grades) for name in ids if rng.random() < 0.6}
    judged.update({f"never{n}": rng.choice(grades) for n in range(rng.randint(0, 4))})
    if number % 7 == 0:
        judged = {name: min(grade, 0) for name, grade in judged.items()}
    return run, judged or {"never": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    out = parser.parse_args().out
    rng = random.Random(20)
    cases = []
    for number in range(60):
        run, judged = case(rng, number)
        values = pytrec_eval.RelevanceEvaluator({"q": judged}, MEASURES).evaluate({"q": run})["q"]
        names = {"map": "map", "recip_rank": "mrr"}
        for k in CUTS:
            names |= {f"P_{k}": f"precision@{k}", f"recall_{k}": f"recall@{k}", f"ndcg_cut_{k}": f"ndcg@{k}", f"success_{k}": f"success@{k}"}
        cases.append({"run": run, "judged": judged, "expected": {ours: values[theirs] for theirs, ours in sorted(names.items())}})
    with open(out, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in cases) + "\n]\n")


if __name__ == "__main__":
    main()
