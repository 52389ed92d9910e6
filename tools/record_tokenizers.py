#!/usr/bin/env python3
"""Makes the small tokenizers of tests/data/tokenizer and records the reference libraries' results for them.

    tools/record_tokenizers.py tests/data/tokenizer [MODEL_DIR …]

SentencePiece models are trained here (sentencepiece 0.2.3), tiktoken ranks come from a few merges (tiktoken 0.14), the
ids of each MODEL_DIR's tokenizer.json from tokenizers 0.23. Writes expected.json: name → list of {text, ids, …}.
"""
import argparse
import base64
import json
import pathlib

import sentencepiece
import tiktoken
import tokenizers

CORPUS = """
The quick brown fox jumps over the lazy dog near the river bank.
She sells sea shells by the sea shore, and the shells she sells are surely sea shells.
To be, or not to be, that is the question: whether it is nobler in the mind to suffer.
A model reads tokens, not words; a token may be a word, a part of one, or a single byte.
In the beginning there was the command line, and the command line was good.
Numbers such as 10, 200, 3000 and 40000 are written with digits; 3.14159 is not an integer.
def encode(text): return [vocab[piece] for piece in split(text)]
for (int i = 0; i < n; ++i) { total += values[i] * weights[i]; }
Der schnelle braune Fuchs springt über den faulen Hund; Zürich liegt am See.
Le renard brun saute par-dessus le chien paresseux, et l'été est déjà là.
El zorro marrón salta sobre el perro perezoso en la mañana de España.
Быстрая коричневая лиса прыгает через ленивую собаку.
東京は日本の首都です。北京是中国的首都。
Hello there, how are you today? I am fine, thank you, and how are you?
We hold these truths to be self-evident, that all men are created equal.
It was the best of times, it was the worst of times, it was the age of wisdom.
""".strip().split("\n")

TEXTS = [
    "Hello world", "  two  spaces  ", "Hello\nworld\n\n", "The capital of France is Paris.", "東京タワー", "Zürich été",
    "emoji 🙂👩‍👩‍👧 flag 🇫🇷", "tabs\tand\r\ncontrol \x01\x7f", "1234567 3.14", "don't I'LL we've", "ﬁne ＦＵＬＬ width", "",
    " leading", "नमस्ते दुनिया", "mixed русский текст and English", "<s> not special", "[INST] hi [/INST]",
    "a" * 40, "\u200bzero\u00a0width", "x = foo(bar[0]) // comment",
]


def train(folder, name, **options):
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS * 3), encoding="utf-8")
    (folder / name).mkdir(exist_ok=True)
    prefix = folder / name / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(prefix), minloglevel=2, hard_vocab_limit=False, num_threads=1, **options)
    (folder / name / "tokenizer.vocab").unlink()
    corpus.unlink()
    return record_sentencepiece(prefix.with_suffix(".model"))


def record_sentencepiece(model):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    rows = []
    for text in TEXTS:
        if "<s>" in text or "[INST]" in text:
            continue  # control symbols are not read from text, and the space before a text's first one is left out
        ids = processor.encode(text)
        # an unknown piece is printed as ⁇; the tokenizers library prints its name
        rows.append({"text": text, "ids": ids, "decoded": None if processor.unk_id() in ids else processor.decode(ids)})
    return rows


def make_tiktoken(folder):
    merges = {}
    ranks = {bytes([b]): b for b in range(256)}
    for word in sorted({w for line in CORPUS for w in (" " + line).replace(" ", "\0 ").split("\0")}):
        data = word.encode()
        for n in range(2, min(len(data), 6) + 1):
            merges[data[:n]] = merges.get(data[:n], 0) + 1
    for data in sorted(merges, key=lambda d: (len(d), -merges[d], d))[:700]:
        ranks[data] = len(ranks)
    path = folder / "tiktoken" / "qwen.tiktoken"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{base64.b64encode(d).decode()} {r}\n" for d, r in ranks.items()))
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    encoding = tiktoken.Encoding("small", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return [{"text": t, "ids": encoding.encode(t, disallowed_special=()), "decoded": t} for t in TEXTS]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path, nargs="*")
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    rules = args.folder / "rules.tsv"
    rules.write_text("FB01\t66 69\n" + "".join(f"{0xFF21 + i:X}\t{0x41 + i:X}\n" for i in range(26)))
    expected = {
        "sp_bpe": train(args.folder, "sp_bpe", model_type="bpe", vocab_size=700, byte_fallback=True,
                        normalization_rule_name="identity", remove_extra_whitespaces=False,
                        user_defined_symbols=["[INST]", "[/INST]"]),
        "sp_unigram": train(args.folder, "sp_unigram", model_type="unigram", vocab_size=400,
                            normalization_rule_tsv=str(rules)),
        "sp_unigram_bytes": train(args.folder, "sp_unigram_bytes", model_type="unigram", vocab_size=600,
                                  byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
                                  remove_extra_whitespaces=False),
        "tiktoken": make_tiktoken(args.folder),
    }
    rules.unlink()
    for model in args.models:
        tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        expected[model.name] = [
            {"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids,
             "decoded": tokenizer.decode(tokenizer.encode(t, add_special_tokens=False).ids, skip_special_tokens=False)}
            for t in TEXTS
        ]
    lines = []
    for name, rows in expected.items():
        body = ",\n".join("  " + json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in rows)
        lines.append(f" {json.dumps(name)}: [\n{body}\n ]")
    (args.folder / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
