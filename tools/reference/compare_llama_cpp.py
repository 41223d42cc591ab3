#!/usr/bin/env python3
"""Export a model to GGUF in every type and read each file with dyag and with llama.cpp.

    compare_llama_cpp.py --dyag PATH --model PATH --text FILE.md --work DIR [--adapter DIR] [--types F32,Q4_K_M] [--tokens 32] [--quantiser]

For each type: which format each tensor got, how many of the first greedy tokens of five answers are the same in both programs (dyag in f32, and as it computes
by default), and llama.cpp's perplexity on the text. With --quantiser, llama.cpp also quantises the F32 export: formats must be the same, and its perplexity is
printed beside. Needs llama-cpp-python (built from source) and gguf. The work folder needs room for the F32 export and one other.
"""
import argparse
import collections
import json
import math
import pathlib
import subprocess

import gguf
import jinja2
import llama_cpp
import numpy as np

QUESTIONS = [
    "Écris une fonction Python qui renvoie la somme des carrés d'une liste.",
    "What is the capital of France? Answer in one sentence.",
    "Explique en deux phrases ce qu'est une base de données.",
    "Write a SQL query that counts the rows of the table users.",
    "Donne trois couleurs et un animal.",
]
FILE_TYPES = {"Q8_0": 7, "Q4_0": 2, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
WINDOW = 512


def formats(path):
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def prompt(llama, question):
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(llama.metadata["tokenizer.chat_template"])
    text = template.render(messages=[{"role": "user", "content": question}], add_generation_prompt=True, bos_token="", eos_token="")
    return llama.tokenize(text.encode(), add_bos=False, special=True)


def greedy(llama, question, n):
    llama.reset()
    llama.eval(prompt(llama, question))
    ends = {llama.token_eos(), llama_cpp.llama_vocab_eot(llama_cpp.llama_model_get_vocab(llama.model))}
    ids = []
    for _ in range(n):
        best = int(np.argmax(llama._scores[-1] if hasattr(llama, "_scores") else llama.scores[llama.n_tokens - 1]))
        if best in ends:
            break
        ids.append(best)
        llama.eval([best])
    return ids


def same_tokens(llama, ids, text):
    """How many of llama.cpp's tokens stand at the beginning of dyag's text."""
    for n in range(len(ids), -1, -1):
        if text.encode().startswith(llama.detokenize(ids[:n])):
            return n
    return 0


def perplexity(llama, text):
    ids = llama.tokenize(text.encode(), add_bos=False, special=False)
    nats, count = 0.0, 0
    for first in range(0, len(ids), WINDOW):
        piece = ids[first : first + WINDOW]
        if len(piece) < 2:
            continue
        llama.reset()
        llama.eval(piece)
        logits = np.array(llama.scores[: len(piece)], dtype=np.float64)
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        nats += float((log_sum[:-1] - logits[np.arange(len(piece) - 1), piece[1:]]).sum())
        count += len(piece) - 1
    return math.exp(nats / count), count


def dyag_answers(dyag, model, work, n, precision):
    questions, output = work / "questions.jsonl", work / "answers.jsonl"
    questions.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS))
    output.unlink(missing_ok=True)
    command = [dyag, "query-finetuned", "--base-model", model, "--questions", questions, "--output", output]
    command += ["--temperature", "0", "--max-tokens", str(n), "--no-system", "--precision", precision]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return [json.loads(line) for line in output.read_text().splitlines()]


def answer_text(row):
    return row["answer"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dyag", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--adapter")
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--types", default="F32,F16,BF16,Q8_0,Q4_0,Q4_K_M,Q5_K_M,Q6_K")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--characters", type=int, default=1 << 30, help="of the text, for the perplexity")
    parser.add_argument("--threads", type=int, help="of llama.cpp")
    parser.add_argument("--quantiser", action="store_true")
    o = parser.parse_args()
    o.work.mkdir(parents=True, exist_ok=True)
    text = o.text.read_text()[: o.characters]
    threads = {"n_threads": o.threads, "n_threads_batch": o.threads}
    types = o.types.split(",")
    if o.quantiser and "F32" in types:
        types = ["F32"] + [kind for kind in types if kind != "F32"]
    for kind in types:
        path = o.work / f"{kind}.gguf"
        path.unlink(missing_ok=True)
        adapter = ["--adapter", o.adapter] if o.adapter else []
        subprocess.run([o.dyag, "export-gguf", o.model, "--type", kind, "--output", path, *adapter], check=True, capture_output=True)
        llama = llama_cpp.Llama(str(path), n_ctx=WINDOW + 64, n_batch=WINDOW, logits_all=True, verbose=False, **threads)
        answers = {precision: dyag_answers(o.dyag, path, o.work, o.tokens, precision) for precision in ("f32", "auto")}
        counts, total = {precision: [] for precision in answers}, []
        for i, question in enumerate(QUESTIONS):
            ids = greedy(llama, question, o.tokens)
            total.append(len(ids))
            for precision, rows in answers.items():
                counts[precision].append(same_tokens(llama, ids, answer_text(rows[i])))
        value, n = perplexity(llama, text)
        row = {"type": kind, "bytes": path.stat().st_size, "tokens": total, "same as dyag f32": counts["f32"], "same as dyag auto": counts["auto"]}
        row |= {"llama.cpp perplexity": round(value, 4), "of tokens": n, "formats": collections.Counter(formats(path).values())}
        del llama
        if o.quantiser and kind in FILE_TYPES:
            theirs = o.work / "theirs.gguf"
            theirs.unlink(missing_ok=True)
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype = FILE_TYPES[kind]
            assert llama_cpp.llama_model_quantize(str(o.work / "F32.gguf").encode(), str(theirs).encode(), params) == 0
            ours, reference = formats(path), formats(theirs)
            row["formats that differ from llama.cpp's"] = {n: (ours.get(n), reference.get(n)) for n in ours.keys() | reference.keys() if ours.get(n) != reference.get(n)}
            llama = llama_cpp.Llama(str(theirs), n_ctx=WINDOW + 64, n_batch=WINDOW, logits_all=True, verbose=False, **threads)
            row["perplexity of llama.cpp's own file"] = round(perplexity(llama, text)[0], 4)
            del llama
            theirs.unlink()
        print(json.dumps(row), flush=True)
        if kind != "F32" or not o.quantiser:
            path.unlink()


if __name__ == "__main__":
    main()
