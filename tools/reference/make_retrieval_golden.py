#!/usr/bin/env python3
"""Writes fixtures/retrieval: tiny random embedders and rerankers as they are published, with what sentence-transformers makes of some texts.

usage: make_retrieval_golden.py FIXTURES             (needs torch, transformers, sentence-transformers, tokenizers, safetensors; make_encoder_golden.py lies beside it)

Each folder holds a model, and beside it reference.json:
  embedders   {"texts": [...], "query": [[...]], "document": [[...]], "plain": [[...]]}: encode_query, encode_document and encode
  rerankers   {"queries": [...], "passages": [...], "scores": [[...]]}: predict for every query (outer) with every passage, with the folder's own activation function;
              "ids" and "types": the tokens of each pair, a query's pairs one after the other

  e5                    XLM-R, the mean, length 1, "query: " and "passage: "
  bge-m3                XLM-R, the first token, length 1; heads for other kinds of vectors lie beside it and are not read
  qwen3-embedding       Qwen3, bf16, the last token, length 1, an instruction before queries, names without `model.`, the class without a head, tokenizer that ends texts
  bert-reranker         BERT with pooler and classifier, token types, sentence_transformers.activation_fn: the identity
  xlm-roberta-reranker  XLM-R with its classification head, no activation function named: the sigmoid
  camembert-reranker    the same under CamemBERT's names, with the older key of the activation function

The trainers of tokenizers break ties by chance, so a tokenizer.json that is there already is kept.
"""
import json, os, sys

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForSequenceClassification, CamembertConfig, CamembertForSequenceClassification, Qwen3Config, Qwen3Model, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification, XLMRobertaModel)

from make_encoder_golden import TEXTS, corpus, kept, randomise, unigram, word_piece, write_json

QUERIES = ["Quelle est l'adresse du service ?", "À quelle heure le service ouvre-t-il, et qui peut y répondre quand il est fermé ?", "x", "mot " * 60]
MODULE = "sentence_transformers.models."


def byte_level(fixtures):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(corpus(fixtures), trainers.BpeTrainer(vocab_size=340, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="$A <|endoftext|>", pair="$A <|endoftext|> $B <|endoftext|>", special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))])])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def of_roberta(longest):
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest, "cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>",
            "unk_token": "<unk>", "mask_token": "<mask>", "model_input_names": ["input_ids", "attention_mask"]}


def modules(folder, kind, width, normalize, prompts):
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalize else [])
    write_json(os.path.join(folder, "modules.json"), [{"idx": i, "name": str(i), "path": path, "type": MODULE + name} for i, (path, name) in enumerate(steps)])
    flags = {f"pooling_mode_{name}": name == kind for name in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")}
    write_json(os.path.join(folder, "1_Pooling/config.json"), {"word_embedding_dimension": width, **flags, "include_prompt": True})
    if prompts: write_json(os.path.join(folder, "config_sentence_transformers.json"), {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def numbers(vectors):
    return [[float(f"{v:.9g}") for v in row] for row in vectors.double().tolist()]


def embedder(folder):
    published = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    out = {"texts": TEXTS}
    for name, encode in (("query", published.encode_query), ("document", published.encode_document), ("plain", published.encode)):
        out[name] = numbers(encode(TEXTS, convert_to_tensor=True, batch_size=3))
    with open(os.path.join(folder, "reference.json"), "w", encoding="utf-8") as file: file.write(json.dumps(out, ensure_ascii=False) + "\n")


def reranker(folder):
    published = CrossEncoder(folder, device="cpu")
    pairs = [[query, passage] for query in QUERIES for passage in TEXTS]
    scores = torch.tensor(published.predict(pairs, batch_size=3)).reshape(len(QUERIES), len(TEXTS))
    # One pair at a time, in a list: so nothing is padded, and an empty text is a text.
    tokens = [published.tokenizer([pair], truncation="longest_first", max_length=published.max_seq_length, return_token_type_ids=True) for pair in pairs]
    out = {"queries": QUERIES, "passages": TEXTS, "scores": numbers(scores), "ids": [t["input_ids"][0] for t in tokens], "types": [t["token_type_ids"][0] for t in tokens]}
    with open(os.path.join(folder, "reference.json"), "w", encoding="utf-8") as file: file.write(json.dumps(out, ensure_ascii=False) + "\n")
    print(folder, published.activation_fn, scores.min().item(), scores.max().item(), published.max_seq_length)


def xlm_config(config_class, tokenizer, **more):
    return config_class(vocab_size=tokenizer.get_vocab_size(), hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=36, max_position_embeddings=60, type_vocab_size=1,
                        layer_norm_eps=1e-5, hidden_act="gelu", pad_token_id=1, bos_token_id=0, eos_token_id=2, **more)


def save_unigram(folder, fixtures):
    os.makedirs(folder, exist_ok=True)
    tokenizer = kept(folder) or unigram(fixtures)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write_json(os.path.join(folder, "tokenizer_config.json"), of_roberta(58))
    return tokenizer


def e5(root, fixtures):
    folder = os.path.join(root, "e5")
    tokenizer = save_unigram(folder, fixtures)
    randomise(XLMRobertaModel(xlm_config(XLMRobertaConfig, tokenizer)), 11).save_pretrained(folder)
    modules(folder, "mean_tokens", 20, True, {"query": "query: ", "document": "passage: "})
    write_json(os.path.join(folder, "sentence_bert_config.json"), {"max_seq_length": 40, "do_lower_case": False})
    embedder(folder)


def bge_m3(root, fixtures):
    folder = os.path.join(root, "bge-m3")
    tokenizer = save_unigram(folder, fixtures)
    randomise(XLMRobertaModel(xlm_config(XLMRobertaConfig, tokenizer)), 12).save_pretrained(folder)
    modules(folder, "cls_token", 20, True, None)
    for name, shape in (("sparse_linear", (1, 20)), ("colbert_linear", (20, 20))): torch.save({"weight": torch.zeros(shape), "bias": torch.zeros(shape[0])}, os.path.join(folder, name + ".pt"))
    embedder(folder)


def qwen3(root, fixtures):
    folder = os.path.join(root, "qwen3-embedding")
    os.makedirs(folder, exist_ok=True)
    tokenizer = kept(folder) or byte_level(fixtures)
    config = Qwen3Config(vocab_size=360, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=96,
                         rope_theta=1e6, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=None)
    model = randomise(Qwen3Model(config), 13).bfloat16()
    model.save_pretrained(folder)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write_json(os.path.join(folder, "tokenizer_config.json"), {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "padding_side": "left"})
    modules(folder, "lasttoken", 32, True, {"query": "Instruct: trouver les passages qui répondent\nQuery:", "document": ""})
    embedder(folder)


def head(folder, change):
    """changes config.json after the model was saved"""
    path = os.path.join(folder, "config.json")
    config = json.load(open(path))
    change(config)
    write_json(path, config)


def bert_reranker(root, fixtures):
    folder = os.path.join(root, "bert-reranker")
    os.makedirs(folder, exist_ok=True)
    tokenizer = kept(folder) or word_piece(fixtures)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, max_position_embeddings=64, type_vocab_size=2,
                        layer_norm_eps=1e-12, hidden_act="gelu", num_labels=1)
    randomise(BertForSequenceClassification(config), 14).save_pretrained(folder)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write_json(os.path.join(folder, "tokenizer_config.json"), {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 56, "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                                                               "unk_token": "[UNK]", "mask_token": "[MASK]", "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]})
    head(folder, lambda config: config.update({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}}))
    reranker(folder)


def roberta_reranker(root, fixtures, name, config_class, model_class, seed, change):
    folder = os.path.join(root, name)
    tokenizer = save_unigram(folder, fixtures)
    randomise(model_class(xlm_config(config_class, tokenizer, num_labels=1)), seed).save_pretrained(folder)
    head(folder, change)
    reranker(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fixtures = sys.argv[1]
    root = os.path.join(fixtures, "retrieval")
    e5(root, fixtures)
    bge_m3(root, fixtures)
    qwen3(root, fixtures)
    bert_reranker(root, fixtures)
    roberta_reranker(root, fixtures, "xlm-roberta-reranker", XLMRobertaConfig, XLMRobertaForSequenceClassification, 15, lambda config: None)
    roberta_reranker(root, fixtures, "camembert-reranker", CamembertConfig, CamembertForSequenceClassification, 16,
                     lambda config: config.update({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}))
