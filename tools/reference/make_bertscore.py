#!/usr/bin/env python3
"""Writes fixtures/bertscore: pairs of texts in French and English, and what bert-score 0.3.13 makes of them.

usage: make_bertscore.py FIXTURES [NAME=FOLDER:LAYERS:slow|fast ...]

    python -m venv V && V/bin/pip install bert-score==0.3.13 transformers==4.40.2 'numpy<2'
    V/bin/python tools/reference/make_bertscore.py fixtures all-minilm-l6-v2=DIR:5:slow multilingual-e5-small=DIR:9:fast

pairs.jsonl has `answer` and `expected` (made from a seed: the questions of fixtures/apps10, their answers changed in many ways, English sentences, empty texts, single tokens, emoji, texts past
every model's positions). NAME.json has the layers, the tokenizer's kind and [precision, recall, F1] for each pair. The tiny models of fixtures/encoder are scored always, real ones where they are
named. Pairs are scored one by one, so that no text is padded: with padding, bert-score takes 0 for the similarity of a padded place, which is more than a negative one, and so its value
depends on what else is in the batch.
"""
import importlib.metadata, json, os, random, sys, tempfile

WORDS = ("the a service data report team server update request network manager every when closes opens before after Monday morning version 2.4 3,5 is was are not under over new old system user "
         "access denied granted quickly secure backup weekly list of in for with and or to by").split()
LONE = ["Paris", "oui", "non", "Yes", "no", "42", "2021-03-01", "x", "é", "🙂", "…", "?", "ok", "N/A", "a", "OUI", "3 000 €", "日本", "—"]
EMOJI = ["🙂", "🚀 lancé", "👍👍", "tout va bien 🎉🎉", "👩‍💻 développeuse", "🇫🇷 France", "❤️", "½ ∑ √2", "100 % ✅"]


def change(text, rng):
    words = text.split()
    kind = rng.randrange(9)
    if not words: return "rien"
    if kind == 0: del words[rng.randrange(len(words))]
    elif kind == 1: rng.shuffle(words)
    elif kind == 2: return text.upper()
    elif kind == 3: return text.lower().rstrip(".")
    elif kind == 4: words.insert(rng.randrange(len(words) + 1), rng.choice(["vraiment", "probably", "non", "🙂", "2019"]))
    elif kind == 5: return text + " " + text
    elif kind == 6: words = words[: max(1, len(words) // 2)]
    elif kind == 7: return "La réponse est : " + text + " !"
    else: words[rng.randrange(len(words))] = rng.choice(["application", "service", "1er", "données", "agents"])
    return " ".join(words)


def pairs(fixtures, seed=20251125):
    rng = random.Random(seed)
    rows = [json.loads(line) for line in open(os.path.join(fixtures, "apps10/questions.jsonl"), encoding="utf-8")]
    french = [row["expected_answer"] for row in rows] + [row["question"] for row in rows]
    sentence = lambda: " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 25))).capitalize() + rng.choice([".", "", " !", "?"])
    out = []
    for _ in range(180): text = rng.choice(french); out.append((change(text, rng), text))
    for _ in range(100): out.append((rng.choice(french), rng.choice(french)))
    for _ in range(110): text = sentence(); out.append((change(text, rng), text))
    for _ in range(40): out.append((sentence(), sentence()))
    for _ in range(15): out.append((rng.choice(french), sentence()))
    for _ in range(45): out.append((rng.choice(LONE), rng.choice(LONE)))
    for _ in range(30): out.append((rng.choice(EMOJI), rng.choice(EMOJI + french)))
    for other in ["", " ", "\n", "Paris", french[0], "🙂"]: out += [("", other), (other, ""), (" ", other)]
    for n in (60, 200, 900): out += [(" ".join(rng.choice(WORDS) for _ in range(n)), rng.choice(french)), ("mot " * n, "le mot " * (n // 2))]
    for text in ["Deux\nlignes\tet un tab", " espaces  doubles ", "\u00a0insécable\u00a0", "\x1cséparateur\x1f", "[SEP] au milieu [CLS]", "zero\u200bwidth", "e\u0301 décomposé", "ﬁ ligature", "ÉTÉ", "Straße"]:
        out += [(text, text.strip()), (text, "deux lignes")]
    return out


def with_tokenizer_class(folder):
    """The folder, or a copy whose tokenizer has XLM-R's class where its tokens are XLM-R's: bert-score asks the class, not the file, what stands around an empty text."""
    config = os.path.join(folder, "tokenizer_config.json")
    about = json.load(open(config)) if os.path.exists(config) else {}
    names = {token["content"] for token in json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))["added_tokens"]}
    if about.get("tokenizer_class", "PreTrainedTokenizerFast") != "PreTrainedTokenizerFast" or "<s>" not in names: return folder
    copy = tempfile.mkdtemp()
    for file in ("config.json", "model.safetensors", "tokenizer.json"): os.symlink(os.path.abspath(os.path.join(folder, file)), os.path.join(copy, file))
    around = {"cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>" if "<mask>" in names else None}
    json.dump({"model_max_length": 512, **about, **around, "tokenizer_class": "XLMRobertaTokenizer"}, open(os.path.join(copy, "tokenizer_config.json"), "w"))
    return copy


def score(name, folder, layers, slow, texts, fixtures):
    from bert_score import BERTScorer
    import torch, transformers
    __version__ = importlib.metadata.version("bert-score")
    assert __version__ == "0.3.13", __version__
    torch.set_num_threads(2)
    folder = with_tokenizer_class(folder)
    scorer = BERTScorer(model_type=folder, num_layers=layers, use_fast_tokenizer=not slow, device="cpu")
    values = []
    for answer, expected in texts:
        values.append([round(float(part[0]), 7) for part in scorer.score([answer], [expected], batch_size=1)])
    with open(os.path.join(fixtures, "bertscore", name + ".json"), "w") as file:
        file.write(json.dumps({"layers": layers, "tokenizer": "slow" if slow else "fast", "bert_score": __version__, "transformers": transformers.__version__})[:-1] + ', "scores": [\n')
        file.write(",\n".join(json.dumps(value).replace("NaN", "null") for value in values) + "\n]}\n")
    print(name, len(values), values[:2])


def main():
    fixtures = sys.argv[1]
    os.makedirs(os.path.join(fixtures, "bertscore"), exist_ok=True)
    texts = pairs(fixtures)
    assert len(texts) >= 500
    with open(os.path.join(fixtures, "bertscore/pairs.jsonl"), "w", encoding="utf-8") as file:
        for answer, expected in texts: file.write(json.dumps({"answer": answer, "expected": expected}, ensure_ascii=False) + "\n")
    score("bert", os.path.join(fixtures, "encoder/bert"), 2, False, texts, fixtures)
    score("xlm-roberta", os.path.join(fixtures, "encoder/xlm-roberta"), 2, False, texts, fixtures)
    for real in sys.argv[2:]:
        name, rest = real.split("=", 1)
        folder, layers, kind = rest.rsplit(":", 2)
        score(name, folder, int(layers), kind == "slow", texts, fixtures)


if __name__ == "__main__":
    main()
