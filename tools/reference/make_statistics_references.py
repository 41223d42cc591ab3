#!/usr/bin/env python3
"""Write the reference values that the tests of dyag-eval's statistics compare with.

    make_statistics_references.py OUT_DIR

Needs numpy, scipy, statsmodels. Writes distributions.json (quantiles and tails of Student's t), mcnemar.json (the exact test), holm.json, clustered.json (CR2 standard
errors and Satterthwaite degrees of freedom from matrices, beside statsmodels' own cluster-robust errors), bootstrap.json (means of resampled clusters, with the indices
that were drawn) and randomisation.json (all exchanges of signs).
"""
import argparse
import itertools
import json
import os

import numpy as np
import statsmodels.api as sm
from scipy import stats
from scipy.linalg import sqrtm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests


def distributions():
    degrees = [1.0, 1.5, 2.0, 4.3, 7.078, 9.0, 23.7, 78.0, 1000.0]
    quantiles = [{"p": p, "df": df, "value": stats.t.ppf(p, df)} for df in degrees for p in [0.005, 0.1, 0.6, 0.8, 0.95, 0.975, 0.995]]
    tails = [{"t": t, "df": df, "value": 2 * stats.t.sf(t, df)} for df in degrees for t in [0.0, 0.1, 1.0, 2.3, 4.0, 12.0]]
    return {"quantiles": quantiles, "tails": tails}


def mcnemar_exact():
    tables = [(0, 0), (0, 1), (3, 3), (1, 8), (8, 1), (5, 15), (20, 41), (100, 160), (0, 30), (480, 520)]
    return [{"b": b, "c": c, "p": float(mcnemar([[50, b], [c, 20]], exact=True).pvalue)} for b, c in tables]


def holm(rng):
    families = [[0.01], [0.01, 0.02, 0.03, 0.04], [0.04, 0.001, 0.5, 0.5], [0.9, 0.8, 1.0], list(rng.uniform(0, 0.2, 9))]
    return [{"p": p, "adjusted": list(multipletests(p, method="holm")[1])} for p in families]


def cr2_of_mean(d, labels):
    """Bell and McCaffrey's estimator as matrices, for a regression on a constant."""
    n = len(d)
    x = np.ones((n, 1))
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    residual = d - hat @ d
    variance = 0.0
    vectors = []
    for label in dict.fromkeys(labels):
        rows = np.array([other == label for other in labels])
        adjust = np.linalg.inv(np.real(sqrtm(np.eye(rows.sum()) - hat[np.ix_(rows, rows)])))
        weight = adjust @ x[rows] / n
        variance += float((residual[rows] @ weight).item() ** 2)
        vectors.append(((np.eye(n) - hat)[rows].T @ weight).ravel())
    gram = np.array(vectors) @ np.array(vectors).T
    return np.sqrt(variance), np.trace(gram) ** 2 / np.trace(gram @ gram)


def clustered(rng):
    cases = []
    for sizes in [[1] * 8, [3, 4, 5, 6, 7, 8, 8, 9, 12, 17], [2, 2], [1, 30], [5, 5, 5, 5], [40, 1, 1, 1, 1]]:
        labels = [g for g, size in enumerate(sizes) for _ in range(size)]
        for kind in ["binary", "real"]:
            n = len(labels)
            d = rng.integers(-1, 2, n).astype(float) if kind == "binary" else rng.normal(0.2, 1, n)
            d += rng.normal(0, 0.3, len(sizes))[labels] if kind == "real" else 0
            order = rng.permutation(n)
            d, shuffled = d[order], [labels[i] for i in order]
            error, df = cr2_of_mean(d, shuffled)
            mean, alpha = d.mean(), 0.05
            quantile = stats.t.ppf(1 - alpha / 2, df)
            model = sm.OLS(d, np.ones(n))
            cr1 = model.fit(cov_type="cluster", cov_kwds={"groups": np.array(shuffled), "use_correction": True}).bse[0]
            cases.append({
                "differences": list(d), "labels": shuffled, "mean": mean, "standard_error": error, "degrees_of_freedom": df,
                "p_value": 2 * stats.t.sf(abs(mean) / error, df), "low": mean - quantile * error, "high": mean + quantile * error,
                "smallest_detectable": (quantile + stats.t.ppf(0.8, df)) * error, "equal_sizes": len(set(sizes)) == 1, "statsmodels_cr1": cr1,
            })
    return cases


def bootstrap(rng):
    sizes = [3, 4, 5, 6, 7, 8, 8, 9, 12, 17]
    labels = [g for g, size in enumerate(sizes) for _ in range(size)]
    d = rng.normal(0.2, 1, len(labels))
    groups = [d[np.array(labels) == g] for g in range(len(sizes))]
    draws = rng.integers(0, len(sizes), (200, len(sizes)))
    means = [np.concatenate([groups[g] for g in draw]).mean() for draw in draws]
    shares = [0.0, 0.025, 0.05, 0.31, 0.5, 0.975, 1.0]
    return {"differences": list(d), "labels": labels, "draws": draws.tolist(), "means": means,
            "percentiles": [{"share": s, "value": np.percentile(means, 100 * s)} for s in shares]}


def randomisation(rng):
    cases = []
    for n_clusters in [3, 6, 10]:
        labels = [g for g in range(n_clusters) for _ in range(1 + g % 3)]
        d = rng.normal(0.5, 1, len(labels))
        sums = np.array([d[np.array(labels) == g].sum() for g in range(n_clusters)])
        found = np.array([abs(np.dot(signs, sums)) for signs in itertools.product([1, -1], repeat=n_clusters)])
        cases.append({"differences": list(d), "labels": labels, "p": float((found >= abs(sums.sum()) - 1e-12).mean())})
    alone = rng.normal(0.4, 1, 9)
    exact = stats.permutation_test((alone,), np.mean, permutation_type="samples", n_resamples=np.inf)
    cases.append({"differences": list(alone), "labels": list(range(9)), "p": float(exact.pvalue)})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir")
    o = parser.parse_args()
    rng = np.random.default_rng(20)
    dumps = {
        "distributions": distributions(), "mcnemar": mcnemar_exact(), "holm": holm(rng), "clustered": clustered(rng),
        "bootstrap": bootstrap(rng), "randomisation": randomisation(rng),
    }
    os.makedirs(o.out_dir, exist_ok=True)
    for name, dump in dumps.items():
        with open(os.path.join(o.out_dir, name + ".json"), "w") as out:
            json.dump(dump, out, default=float)
            out.write("\n")


if __name__ == "__main__":
    main()
