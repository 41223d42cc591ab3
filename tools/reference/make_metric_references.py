"""What the Python metrics say about pairs of texts: sacrebleu, rouge-score, SQuAD v1.1, the French benchmark of lm-evaluation-harness.

    pip install sacrebleu==2.6.0 rouge-score==0.1.2
    python tools/reference/make_metric_references.py fixtures/metrics
    python tools/reference/make_metric_references.py --random 5000 --seed 7 OUT

Two files. `pairs.jsonl`, one object a pair: `id`, `answer`, `expected`; `squad`, `french_bench`, `french`: [exact match, F1]; `bleu_13a`, `bleu_intl`: [answer's length, expected
length, four correct, four totals, sentence BLEU]; `chrf`: 24 counts (answer, expected, common; six of characters, two of words), chrF2, chrF++; `rouge`, `rouge_unicode`: precision,
recall, F of rouge1, rouge2, rougeL, rougeLsum. `corpora.jsonl`: sets of pairs (`first`, `step`), each with corpus scores and signatures.

The SQuAD and French normalisations below are written from their published definitions; `french` is dyag's own, written a second time.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import string
import unicodedata

import regex
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

FRENCH = [
    "6Tzen est en production depuis le 10/02/2020.",
    "L’outil national de dématérialisation des démarches des transports routiers",
    "L'application a été mise à jour le 1er mars 2021 par la direction générale.",
    "En production",
    "Nationale",
    "Le taux d'utilisation atteint 12,5 % en 2023, soit 1 234 agents.",
    "Aujourd'hui, jusqu’à 3 000 000 € sont versés ; c'est « inédit » !",
    "Je ne sais pas.",
    "Qu'est-ce que c'est ? Un système d'information — ou presque…",
    "La version 2.3.1 corrige les anomalies n° 12, 14 et 17.",
    "Contact : prenom.nom@exemple.fr, tél. 01 23 45 67 89",
    "Les utilisateurs l'ont adoptée : l'été dernier, des milliers d'entre eux s'y sont connectés.",
    "Gestion électronique de documents (GED)",
    "Où est-il né ? À Orléans, l’hiver.",
    "Œuvre, cœur, ÇA, Éléphant, naïf, Noël, ÉTÉ",
]
ENGLISH = [
    "The quick brown fox jumps over the lazy dog.",
    "It was deployed on February 10, 2020, by the agency.",
    "An application for road transport procedures.",
    "The cat sat on the mat; a dog didn't.",
    "I don't know.",
    "Revenue grew by 12.5% to $1,234.50 in Q3-2021.",
    "See https://example.org/a?b=1&c=2 (v2.3.1).",
    "\"Hello,\" she said -- 'twas 3-4 o'clock, e.g. 15:30.",
    "A&amp;B &lt;tag&gt; &quot;quoted&quot; &amp;lt;",
    "state-of-the-art, well-known, 10-20, 1,000,000.00",
]
ODD = [
    "", " ", "\n", "\t \n", "...", "?!", "-", "«»", "'", "’", "a", "the", "le", "la la", "un", "é", "I", "1", "12", "0.5", "🎉", "🎉🎉 👨‍👩‍👧", "👍🏽 ok", "日本語のテキスト。", "東京は2020年2月10日です",
    "你好，世界！", "한국어 문장입니다.", "Привет, мир!", "Ελλάδα ΣΟΦΟΣ", "İstanbul", "ﬁn ﬀ", "K Å", "e\u0301te\u0301 le\u0301", "½ ² Ⅳ ٣", "straße STRASSE", "<skipped> text", "line-\nbreak", "end-\n", "a\u00a0b\u202fc\u2009d",
    "x\x1cy\x1dz", "x\x85y", "a\u2028b\u2029c", "tab\tnew\r\nline", "a\n\nb\nc", "\n\nx\n", "$5 + €6 = £11", "1.", "1,", ".5", "a.b,c", "1.a", "a.1", "..1..", "1-2", "a-1-b", "--", "(hi)", "(hi", "hi)", "\"", "&amp;", "&", "#tag @me",
    "under_score _x_ le_la", "l'", "d'", "qu’il", "aujourd’hui", "S’IL N’Y A QU’UN", "`x` ~y~ {z} [w] ^v^ |u|", "a b c d", "a b c", "the the the the the", "la-la-la", "…", "— – ‑", "№5 ™ © ®", "5°C", "a\u200bb", "\ufeffstart", "x" * 40,
]
ALPHABET = (
    list("aabeeilnorstu dlqu'’ .,;:!?-()/&<>\"%0123456789\n ABCEL")
    + ["le", "la", "the ", " a ", "un ", "l'", "d’", "qu'", "é", "è", "É", "ç", "œ", "\u00a0", "\u202f", "\u2009", "\x1c", "\x1f", "\x85", "\u2028", "\t", "\r\n", "-\n", "&amp;", "&quot;", "&lt;", "<skipped>", "«", "»", "…", "—", "–", "€", "$",
       "£", "°", "²", "½", "Ⅳ", "٣", "日", "本", "語", "。", "，", "한", "Σ", "σ", "ς", "İ", "K", "ß", "ﬁ", "🎉", "👍🏽", "\u200d", "\u0301", "\u0327", "_", "+", "=", "~", "^", "`", "|", "\\", "{", "}", "[", "]", "#", "@", "*", "©", "¿", "٪", "\u200b", "\ufeff",
       "१", "①", "Ǆ", "ŉ", "𝟙", "𝓐", "𐐀", "ৎ", "ा", "‿", "﹏", "＿", "’s"]
)


def sentence_pairs(generator):
    """Pairs of the sentences above, as they are, mixed, changed."""
    sentences = FRENCH + ENGLISH
    yield from ((text, text) for text in sentences + ODD)
    yield from ((text, "") for text in ODD[:8] + sentences[:2])
    yield from (("", text) for text in ODD[:8] + sentences[:2])
    for text in ODD:
        yield text, generator.choice(ODD)
        yield text, generator.choice(sentences)
        yield generator.choice(sentences), text
    for text in sentences:
        words = text.split()
        yield text.upper(), text
        yield unicodedata.normalize("NFD", text), text
        yield text.replace("’", "'"), text.replace("'", "’")
        yield " ".join(words[: len(words) // 2]), text
        yield text, " ".join(words[len(words) // 3:])
        yield " ".join(generator.sample(words, len(words))), text
        yield "\n".join(words), text
        yield f"{text}\n{generator.choice(sentences)}", f"{generator.choice(sentences)}\n{text}\n\n{generator.choice(sentences)}"
        yield " ".join([text] * 3), text
        yield re.sub(r"[^\w\s]", "", text), text


def random_text(generator):
    length = generator.choice([1, 2, 3, 5, 8, 13, 25, 60])
    return "".join(generator.choice(ALPHABET) for _ in range(generator.randint(0, length)))


def random_pair(generator):
    """A random text, and another one or the same one after a few changes; or random lines of few different words, for common subsequences."""
    kind = generator.random()
    if kind < 0.3:
        few = generator.choice(["abc", "abcdefgh"])
        lines = lambda: "\n".join(" ".join(generator.choice(few) for _ in range(generator.randint(0, 9))) for _ in range(generator.randint(1, 4)))
        return lines(), lines()
    answer = random_text(generator)
    if kind < 0.45:
        return answer, random_text(generator)
    characters = list(answer)
    for _ in range(generator.randint(0, 4)):
        at = generator.randint(0, len(characters))
        characters[at:at + generator.randint(0, 2)] = [generator.choice(ALPHABET)] * generator.randint(0, 2)
    return answer, "".join(characters)


def long_pairs(generator):
    sentences = FRENCH + ENGLISH
    for separator in ["\n", " ", "\n\n"]:
        chosen = [generator.choice(sentences) for _ in range(12)]
        yield separator.join(chosen), separator.join(generator.sample(chosen, 9) + [generator.choice(sentences)])


def squad_normalize(text, articles=r"\b(a|an|the)\b"):
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(articles, " ", text).split())


FRENCH_ARTICLES = r"\b(un|une|des|le|la|les)\b"
ELIDED = {"l": " ", "d": "de ", "qu": "que ", "j": "je ", "m": "me ", "t": "te ", "s": "se ", "n": "ne ", "c": "ce ", "jusqu": "jusque ", "lorsqu": "lorsque ", "puisqu": "puisque ", "quoiqu": "quoique ", "presqu": "presque "}


def french_normalize(text):
    text = re.sub("[’‘ʼ′´＇]", "'", unicodedata.normalize("NFC", text).lower())
    text = regex.sub(r"(?<![\p{L}\p{M}\p{N}_])(" + "|".join(ELIDED) + r")'(?=[\p{L}\p{N}])", lambda found: ELIDED[found[1]], text)
    return squad_normalize(regex.sub(r"\p{P}", "", text), FRENCH_ARTICLES)


def token_f1(answer, expected, empty_is_equal):
    answer, expected = answer.split(), expected.split()
    n_same = sum((collections.Counter(answer) & collections.Counter(expected)).values())
    if empty_is_equal and not (answer and expected):
        return int(answer == expected)
    if n_same == 0:
        return 0
    precision, recall = n_same / len(answer), n_same / len(expected)
    return 2 * precision * recall / (precision + recall)


def overlap_scores(answer, expected, normalize, empty_is_equal):
    answer, expected = normalize(answer), normalize(expected)
    return [int(answer == expected), token_f1(answer, expected, empty_is_equal)]


class UnicodeTokenizer:
    """dyag's words: runs of letters, marks and digits of the composed, lower-cased text."""

    def tokenize(self, text):
        return regex.findall(r"[\p{L}\p{M}\p{N}]+", unicodedata.normalize("NFC", text).lower())


KINDS = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
ROUGE = rouge_scorer.RougeScorer(KINDS, use_stemmer=False)
ROUGE_UNICODE = rouge_scorer.RougeScorer(KINDS, tokenizer=UnicodeTokenizer())
SENTENCE_BLEU = {name: BLEU(tokenize=name, effective_order=True) for name in ["13a", "intl"]}
CHRF2, CHRF_PLUS = CHRF(), CHRF(word_order=2)


def references(number, answer, expected):
    line = {"id": number, "answer": answer, "expected": expected}
    line["squad"] = overlap_scores(answer, expected, squad_normalize, False)
    line["french_bench"] = overlap_scores(answer, expected, lambda text: squad_normalize(text, FRENCH_ARTICLES), True)
    line["french"] = overlap_scores(answer, expected, french_normalize, True)
    for name, metric in SENTENCE_BLEU.items():
        score = metric.sentence_score(answer, [expected])
        line[f"bleu_{name}"] = [score.sys_len, score.ref_len, *score.counts, *score.totals, score.score]
    counts = CHRF_PLUS._extract_corpus_statistics([answer], [[expected]])[0]
    line["chrf"] = [*counts, CHRF2.sentence_score(answer, [expected]).score, CHRF_PLUS.sentence_score(answer, [expected]).score]
    for name, scorer in [("rouge", ROUGE), ("rouge_unicode", ROUGE_UNICODE)]:
        scores = scorer.score(expected, answer)
        line[name] = [part for kind in KINDS for part in scores[kind]]
    return line


def corpus(pairs, first, step):
    chosen = pairs[first::step]
    answers, expected = [answer for answer, _ in chosen], [expected for _, expected in chosen]
    line = {"first": first, "step": step}
    metrics = {"bleu_13a": BLEU(tokenize="13a", force=True), "bleu_intl": BLEU(tokenize="intl", force=True), "chrf2": CHRF(), "chrf++": CHRF(word_order=2)}
    for name, metric in metrics.items():
        line[name] = [metric.corpus_score(answers, [expected]).score, str(metric.get_signature())]
    return line


def write(path, lines):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--random", type=int, metavar="N", help="N random pairs instead of the fixture's")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    if arguments.random is None:
        pairs = [*sentence_pairs(generator), *long_pairs(generator), *(random_pair(generator) for _ in range(150))]
    else:
        pairs = [random_pair(generator) for _ in range(arguments.random)]
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "pairs.jsonl", (references(number, *pair) for number, pair in enumerate(pairs)))
    sets = [(0, 1), *((first, 7) for first in range(7)), *((first, len(pairs) // 3) for first in range(0, 40, 4)), (1, len(pairs))]
    write(arguments.output / "corpora.jsonl", (corpus(pairs, first, step) for first, step in sets))
    print(len(pairs), "pairs")


if __name__ == "__main__":
    main()
