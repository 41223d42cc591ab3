#!/usr/bin/env python3
"""Train one small tokenizer of each kind and write down what Transformers makes of many texts.

usage: make_tokenizer_fixtures.py OUT_DIR CORPUS_FILE...      (needs: transformers, tokenizers, sentencepiece, protobuf)

OUT_DIR/NAME.json        the tokenizer.json
OUT_DIR/NAME.spec.json   the same as a GGUF file's metadata would have it
OUT_DIR/NAME.ids.json    cases: {text, times, controls, ids, decoded}: the ids of text repeated `times` times, with control words recognised or
                         taken as text (`controls`), and the text that the ids give back without control tokens
"""
import json, os, sys, tempfile
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as spm_proto
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

SUFFIX = r"\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?"
QWEN2, LLAMA3 = CONTRACTIONS + SUFFIX % r"\p{N}", CONTRACTIONS + SUFFIX % r"\p{N}{1,3}"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
split = lambda pattern: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), BYTES])
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTE_LEVEL = {
    "qwen2": dict(pre="qwen2", pre_tokenizer=split(QWEN2), nfc=True, ignore_merges=False, words=CHATML, plain=["<tool_call>", "</tool_call>"]),
    "llama3": dict(pre="llama-bpe", pre_tokenizer=split(LLAMA3), nfc=False, ignore_merges=True, plain=[],
                   words=["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "smollm": dict(pre="smollm", pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]), nfc=False, ignore_merges=False, words=CHATML, plain=[]),
    "gpt2": dict(pre="gpt-2", pre_tokenizer=GPT2, nfc=False, ignore_merges=False, words=["<|endoftext|>"], plain=[]),
    "tekken": dict(pre="tekken", pre_tokenizer=split(TEKKEN), nfc=False, ignore_merges=True, words=["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], plain=[]),
}
TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\r\n", "\t", " \n ", "a", " a", "a ", "  a  b   c    ", "\n a\n\n  b\r\n\r\nc\t\td \n",
    "Le Ministère de la Transition écologique œuvre à l’été ; « où ça ? » — là-bas, n°\u00a07\u202f000 €.",
    "Le Ministe\u0300re de l\u2019e\u0301te\u0301, c\u0327a, N\u0303, A\u030a, \u0301seul, o\u0302\u0323 \u1e69 s\u0323\u0307 \u212b \ufb01n \ufb00 ½ Ⅷ",
    "AUJOURD'HUI J'AI VU L'ÂNE D'OLIVIER, I'VE IT'S WE'RE HE'LL I'd 'S 'T 'RE 'ſ ’s",
    "def f(x: int) -> str:\n\t\"\"\"doc\"\"\"\n    return f'{x!r:>10}' if x != 0x1F else None  # fin\n\n\nclass A(B):\n        pass\n",
    "SELECT * FROM t WHERE a<>'b' AND c>=1e-10;--x\n{\"k\": [1,2,{\"z\":null}]}\n<div class=\"a\">&nbsp;</div>",
    "1 12 123 1234 12345 1234567890 3,14 1.000.000 2024-07-26T12:34:56Z +33 (0)1 23 ①②③ ٣٤٥ १२३ Ⅳ ²³",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈🇫🇷👍🏽 ❤️ ⌨︎ 𝔘𝔫𝔦 𓀀 🫠", "漢字かなカナ한글 ไทย العَرَبِيَّة עִבְרִית हिन्दी Ελληνικά Кириллица", "ﷺ ǅ ß ẞ İ ı Σς ŉ ⁿ ₂ \u3000全角　ＡＢＣ１２３",
    "".join(chr(c) for c in range(0x20)), "a\x00b\x07c\x1bd\x7fe\x80f\x85g\xa0h\xadi\u2028j\u2029k\u200bl\u200dm\ufeffn\u2060o\u180ep\ufffdq\ufdd0r\ue000s\U0010fffft",
    "\u202eabc\u202c \u0300\u0301\u0302 a\u0300\u0301\u0302\u0303 e\u0301\u0301", "a\x1c\x1d\x1e\x1f b\x0b\x0c c \x85 d", "...!!!???---___===***///\\\\\\|||~~~```^^^'''\"\"\"", "/a//b /\n/ https://exemple.fr/a/b?c=d&e=%20f#g",
    "▁ ▁a a▁b ▁▁", "<0x0A> <0xE9>", "Anticonstitutionnellement" , "x" * 40, "NON-régression: œ Œ æ Æ ÿ Ÿ", "Ġ Ċ ĠĠ Ã©", "été" * 3 + "\u0301",
]
LONG = [("a", 6000), ("été", 900), (" ", 3000), ("\n", 2000), ("ab", 2500), ("=", 3000), ("1", 2000), ("🙂", 700), ("\u0301", 800), (" \n", 1000), ("donaudampfschifffahrt", 150), ("a b ", 400), ("\x00", 500)]


def words_in_text(words):
    joined = "".join(words)
    return [joined] + [text for word in words for text in (f"a{word}b", f" {word} \n {word}\n\n c", f"{word}e\u0301 {word[:-1]} {word[1:]}", f"{word}{word}")]


def write(out, name, tokenizer, spec, words):
    """Ids by Transformers, through the file, as from_pretrained would load it."""
    path = os.path.join(out, name + ".json")
    tokenizer.save(path, pretty=False)
    fast = PreTrainedTokenizerFast(tokenizer_file=path, clean_up_tokenization_spaces=False)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    cases = []
    for text, times in [(text, 1) for text in TEXTS + words_in_text(words)] + LONG:
        for controls in (True, False):
            if not controls and (times > 1 or not any(word in text for word in special)): continue
            ids = fast(text * times, add_special_tokens=False, split_special_tokens=not controls)["input_ids"]
            cases.append({"text": text, "times": times, "controls": controls, "ids": ids, "decoded": fast.decode(ids, skip_special_tokens=True)})
            if times > 1: del cases[-1]["decoded"]
    json.dump({"cases": cases}, open(os.path.join(out, name + ".ids.json"), "w", encoding="utf-8"), ensure_ascii=True, separators=(",", ":"))
    json.dump(spec, open(os.path.join(out, name + ".spec.json"), "w", encoding="utf-8"), ensure_ascii=False, separators=(",", ":"))
    print(name, len(spec["tokens"]), "tokens,", len(cases), "cases")


def spec_of(tokens, types, scores=(), merges=(), **others):
    spec = dict(model="gpt2", pre=None, tokens=tokens, token_types=types, scores=list(scores), merges=list(merges), bos=None, eos=None, unk=None, pad=None,
                add_bos=None, add_space_prefix=None, strip_after_control=False)
    return {**spec, **others}


def byte_level(out, name, corpus, pre, pre_tokenizer, nfc, ignore_merges, words, plain):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc: tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=1600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in words])
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in plain])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    data = json.loads(tokenizer.to_str())
    n = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(n)]
    types = [3 if token in words else 4 if token in plain else 1 for token in tokens]
    merges = [" ".join(merge) for merge in data["model"]["merges"]]
    # A converter fills the embedding's remaining rows with tokens of type 5.
    spec = spec_of(tokens + [f"[PAD{n + i}]" for i in range(3)], types + [5] * 3, merges=merges, pre=pre, bos=tokenizer.token_to_id(words[0]), eos=tokenizer.token_to_id(words[-1]), add_bos=False)
    write(out, name, tokenizer, spec, words + plain)


def sentence_piece(out, corpus):
    """Llama 2 (words between control tokens begin with a space), the same with Phi-3's control words, and Llama's newer form (only the text begins so)."""
    with tempfile.TemporaryDirectory() as folder:
        spm.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_prefix=folder + "/m", vocab_size=1400, model_type="bpe", byte_fallback=True, character_coverage=0.9995,
                                       split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, user_defined_symbols=[],
                                       hard_vocab_limit=False, minloglevel=2)
        proto = spm_proto.ModelProto(); proto.ParseFromString(open(folder + "/m.model", "rb").read())
        piece_ids = spm.SentencePieceProcessor(model_file=folder + "/m.model")
        vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
        merges = generate_merges(vocab, {piece.piece: piece.score for piece in proto.pieces})
        tokens, scores, types = [p.piece for p in proto.pieces], [p.score for p in proto.pieces], [p.type for p in proto.pieces]
        llama = dict(model="llama", pre="default", bos=1, eos=2, unk=0, add_bos=True)
        prepend, replace = normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")
        decoder = lambda strip: decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] + ([decoders.Strip(" ", 1, 0)] if strip else []))
        phi_words = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
        kinds = {"llama2": (normalizers.Sequence([prepend, replace]), None, True, []), "phi3": (normalizers.Sequence([prepend, replace]), None, True, phi_words),
                 "llama2-noprefix": (normalizers.Sequence([replace]), None, False, []),
                 "llama2-first": (None, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False), True, [])}
        for name, (normalizer, pre_tokenizer, prefix, words) in kinds.items():
            tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
            if normalizer: tokenizer.normalizer = normalizer
            if pre_tokenizer: tokenizer.pre_tokenizer = pre_tokenizer
            tokenizer.decoder = decoder(prefix)
            tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True, rstrip=word == "</s>" and name == "phi3") for word in ("<unk>", "<s>", "</s>")])
            tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True, rstrip=word != "<|endoftext|>") for word in words])
            if name == "llama2":
                for text in TEXTS:
                    if "<0x" in text or "▁" in text: continue  # sentencepiece reads these as text, its conversion as pieces
                    assert tokenizer.encode(text, add_special_tokens=False).ids == piece_ids.encode(text), text
            spec = spec_of(tokens + words, types + [3] * len(words), scores + [0.0] * len(words), **llama, add_space_prefix=prefix, strip_after_control=name == "phi3")
            write(out, name, tokenizer, spec, ["<s>", "</s>", "<unk>"] + words)


out, corpus = sys.argv[1], [line for path in sys.argv[2:] for line in open(path, encoding="utf-8") if line.strip()]
os.makedirs(out, exist_ok=True)
for name, kind in BYTE_LEVEL.items():
    byte_level(out, name, corpus, **kind)
sentence_piece(out, corpus)
