#!/usr/bin/env python3
"""Writes fixtures/encoder: tiny random encoders with what Transformers and sentence-transformers make of some texts.

usage: make_encoder_golden.py FIXTURES [NAME=FOLDER ...]        (needs torch, transformers, sentence-transformers, tokenizers, safetensors)

Each folder holds a model as it would be published, and beside it
  texts.json               the texts, and for each the ids with special tokens, cut to the model's positions
  reference.safetensors    hidden.N [sum of tokens, C]: the states after N layers (0: embeddings), texts one after the other, in double precision, each text by itself;
                           types.N: the same with token types 0, 1, 0, 1, ... (only where the model has two)
                           pool.KIND [texts, C]: sentence-transformers' pooling of the last states
                           plain, query, document [texts, C]: its encode, encode_query and encode_document, where the folder has modules.json

  bert         WordPiece, erf GELU, bare names, modules.json with the mean and length 1, prompts, max_seq_length
  xlm-roberta  Unigram, names with `roberta.` and a head beside them, positions after the padding token, modules.json with the first token
  bert-old     names with `bert.`, gamma and beta, bf16, tanh GELU, no tokenizer of its own

The trainers of tokenizers break ties by chance, so a tokenizer.json that is there already is kept.

real/NAME.json, for real models: sentence-transformers' vectors of the texts and of some questions, as queries and as documents: the first 16 numbers of each, and the cosine of each with the next.
E5 models whose folder has no modules.json get `query: ` and `passage: `, the mean and length 1.
"""
import json, os, sys

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaModel

TEXTS = [
    "", " ", "a", "Paris", "🙂", "👩‍💻 et 🚀", "Quelle est l'adresse du service ?", "The service starts at 8:30, every day.",
    "l’été — « déjà vu », naïve cœur", "A" * 120, "mot " * 70, "<s> [SEP] un [MASK] </s> deux [CLS]", "<pad> puis <pad> encore", "日本語 and العربية", "tab\tnew\nline  two  spaces ",
    "Contact : equipe-donnees@example.org (tél. 01 23 45 67 89), version 2.4.1", "x", "élève Élève ELEVE", "¿Qué?", "not in the vocabulary: ∮ ⟂ ꙮ",
]


def corpus(fixtures):
    lines = [row["question"] + " " + row["expected_answer"] for row in map(json.loads, open(os.path.join(fixtures, "apps10/questions.jsonl")))]
    return lines + TEXTS + ["the service of the day is open and the answer is known", "every question has one expected answer"]


def word_piece(fixtures):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(fixtures), trainers.WordPieceTrainer(vocab_size=220, special_tokens=special, limit_alphabet=60))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def unigram(fixtures):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(corpus(fixtures), trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", shrinking_factor=0.5))
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def kept(folder):
    path = os.path.join(folder, "tokenizer.json")
    return Tokenizer.from_file(path) if os.path.exists(path) else None


def randomise(model, seed):
    """Weights far from zero and norms far from one, so that everything matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name: parameter.copy_(1 + 0.3 * noise)
            elif parameter.dim() == 1: parameter.copy_(0.2 * noise)
            elif "embeddings" in name: parameter.copy_(0.5 * noise)
            else: parameter.copy_(1.5 * noise / parameter.shape[1] ** 0.5)
    return model.eval()


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def cut(tokenizer, text, longest):
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tokenizer.encode(text).ids


def dump(folder, model, ids, has_modules):
    """model in double precision"""
    hidden, types, last = None, None, []
    with torch.no_grad():
        for text in ids:
            row = torch.tensor([text])
            states = model(input_ids=row, attention_mask=torch.ones_like(row), output_hidden_states=True).hidden_states
            hidden = [[] for _ in states] if hidden is None else hidden
            for of_layer, state in zip(hidden, states): of_layer.append(state[0])
            last.append(states[-1])
            if model.config.type_vocab_size > 1:
                kinds = torch.arange(row.shape[1])[None] % 2
                states = model(input_ids=row, attention_mask=torch.ones_like(row), token_type_ids=kinds, output_hidden_states=True).hidden_states
                types = [[] for _ in states] if types is None else types
                for of_layer, state in zip(types, states): of_layer.append(state[0])
    tensors = {f"hidden.{n}": torch.cat(of_layer) for n, of_layer in enumerate(hidden)}
    if types: tensors.update({f"types.{n}": torch.cat(of_layer) for n, of_layer in enumerate(types)})
    for kind in Pooling.POOLING_MODES:
        pooling = Pooling(model.config.hidden_size, pooling_mode=kind)
        pooled = [pooling({"token_embeddings": state, "attention_mask": torch.ones(state.shape[:2], dtype=torch.long)})["sentence_embedding"][0] for state in last]
        tensors[f"pool.{kind}"] = torch.stack(pooled)
    if has_modules:
        published = SentenceTransformer(folder, device="cpu")
        for name, encode in (("plain", published.encode), ("query", published.encode_query), ("document", published.encode_document)):
            tensors[name] = encode(TEXTS, convert_to_tensor=True, batch_size=4)
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, os.path.join(folder, "reference.safetensors"))


def bert(root, fixtures):
    folder = os.path.join(root, "bert")
    tokenizer = kept(folder) or word_piece(fixtures)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=40, max_position_embeddings=50,
                        type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu")
    model = randomise(BertModel(config, add_pooling_layer=True), 1)
    model.save_pretrained(folder)
    # As published files often have it; neither must have a say.
    tokenizer.enable_truncation(12)
    tokenizer.enable_padding(length=12)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    open(os.path.join(folder, "vocab.txt"), "w").write("".join(token + "\n" for token, _ in vocabulary))
    write_json(os.path.join(folder, "tokenizer_config.json"), {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 48, "cls_token": "[CLS]", "sep_token": "[SEP]",
                                                               "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"})
    module = "sentence_transformers.models."
    write_json(os.path.join(folder, "modules.json"), [{"idx": 0, "name": "0", "path": "", "type": module + "Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"},
                                                      {"idx": 2, "name": "2", "path": "2_Normalize", "type": module + "Normalize"}])
    write_json(os.path.join(folder, "1_Pooling/config.json"), {"word_embedding_dimension": 24, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
                                                               "pooling_mode_mean_sqrt_len_tokens": False})
    write_json(os.path.join(folder, "sentence_bert_config.json"), {"max_seq_length": 32, "do_lower_case": False})
    write_json(os.path.join(folder, "config_sentence_transformers.json"), {"prompts": {"query": "question : ", "document": "service : "}, "default_prompt_name": None})
    ids = [cut(tokenizer, text, 50) for text in TEXTS]
    write_json(os.path.join(folder, "texts.json"), {"texts": TEXTS, "ids": ids})
    dump(folder, model.double(), ids, True)


def xlm_roberta(root, fixtures):
    folder = os.path.join(root, "xlm-roberta")
    tokenizer = kept(folder) or unigram(fixtures)
    config = XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=36, max_position_embeddings=60, type_vocab_size=1,
                              layer_norm_eps=1e-5, hidden_act="gelu", pad_token_id=1, bos_token_id=0, eos_token_id=2)
    model = randomise(XLMRobertaForMaskedLM(config), 2)
    model.save_pretrained(folder)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write_json(os.path.join(folder, "tokenizer_config.json"), {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 58, "cls_token": "<s>", "bos_token": "<s>", "sep_token": "</s>", "eos_token": "</s>",
                                                               "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"})
    module = "sentence_transformers.models."
    write_json(os.path.join(folder, "modules.json"), [{"idx": 0, "name": "0", "path": "", "type": module + "Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"}])
    write_json(os.path.join(folder, "1_Pooling/config.json"), {"word_embedding_dimension": 20, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    ids = [cut(tokenizer, text, 58) for text in TEXTS]
    write_json(os.path.join(folder, "texts.json"), {"texts": TEXTS, "ids": ids})
    dump(folder, model.roberta.double(), ids, True)


def bert_old(root):
    folder = os.path.join(root, "bert-old")
    config = BertConfig(vocab_size=90, hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=33, max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-7, hidden_act="gelu_new")
    model = randomise(BertModel(config, add_pooling_layer=False), 3).bfloat16()
    model.save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    old = lambda name: "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    tensors = {old(name): tensor for name, tensor in load_file(path).items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    tensors["cls.predictions.bias"] = torch.zeros(90, dtype=torch.bfloat16)
    save_file(tensors, path)
    generator = torch.Generator().manual_seed(4)
    ids = [torch.randint(0, 90, (n,), generator=generator).tolist() for n in (1, 2, 3, 17, 40, 33, 5, 8)]
    write_json(os.path.join(folder, "texts.json"), {"ids": ids})
    dump(folder, model.double(), ids, False)


def real(root, fixtures, name, folder):
    texts = TEXTS + [line["question"] for line in map(json.loads, open(os.path.join(fixtures, "apps10/questions.jsonl")))][:40]
    if os.path.exists(os.path.join(folder, "modules.json")):
        published, prompts = SentenceTransformer(folder, device="cpu"), {}
    else:
        tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        published, prompts = None, {"query": "query: ", "document": "passage: "}
        model = BertModel.from_pretrained(folder).eval()
    out = {"texts": texts}
    for kind in ("query", "document"):
        if published:
            vectors = (published.encode_query if kind == "query" else published.encode_document)(texts, convert_to_tensor=True)
        else:
            vectors = []
            with torch.no_grad():
                for text in texts:
                    row = torch.tensor([cut(tokenizer, prompts[kind] + text, model.config.max_position_embeddings)])
                    vectors.append(torch.nn.functional.normalize(model(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state.mean(1), dim=1)[0])
            vectors = torch.stack(vectors)
        vectors = vectors.double()
        cosines = (vectors[:-1] * vectors[1:]).sum(1) / vectors[:-1].norm(dim=1) / vectors[1:].norm(dim=1)
        out[kind] = {"first": [round(v, 7) for v in vectors[:, :16].flatten().tolist()], "cosines": [round(v, 7) for v in cosines.tolist()]}
    os.makedirs(os.path.join(root, "real"), exist_ok=True)
    with open(os.path.join(root, "real", name + ".json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(out, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = os.path.join(sys.argv[1], "encoder")
    bert(root, sys.argv[1])
    xlm_roberta(root, sys.argv[1])
    bert_old(root)
    for named in sys.argv[2:]: real(root, sys.argv[1], *named.split("=", 1))
