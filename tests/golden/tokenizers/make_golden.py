#!/usr/bin/env python3
"""Trains the small tokenizers and writes golden token ids with Hugging Face's `tokenizers`.

    python3 make_golden.py [--gguf FILE] [--real FOLDER]
    # needs tokenizers 0.23.3 and sentencepiece 0.2.3

Without options it writes small/*.json and ids/{bytelevel,sentencepiece,spm,smollm2}.json.gz; spm is
a vocabulary as GGUF files of Llama's kind carry it, with ids from SentencePiece itself. `--gguf`
refreshes smollm2_vocab.json.gz from the metadata of a GGUF file. `--real` holds one folder for each
public tokenizer (FOLDER/<name>/tokenizer.json) and writes ids/<name>.json.gz; fetch_real.sh fills it.

Each line of ids/<name>.json.gz is one string: its ids, the ids when special tokens are not parsed
("plain", if others), and its decoding with and without special tokens ("keep" and "skip", if they
are not the string itself). "random" holds random ids with their decoding.
"""

import argparse
import gzip
import io
import json
import pathlib
import random
import struct

import sentencepiece
from tokenizers import (AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

from strings import STRINGS

HERE = pathlib.Path(__file__).parent
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def train_bytelevel():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(STRINGS * 2, trainers.BpeTrainer(
        vocab_size=1500, min_frequency=2, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    # One added token that is text, and one special token beyond the model's own vocabulary.
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    tokenizer.add_special_tokens(["<｜User｜>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    # What a file may ask for and Sluice never does.
    tokenizer.enable_truncation(max_length=16)
    tokenizer.enable_padding(length=32, pad_id=0, pad_token="<unk>")
    return tokenizer


def train_sentencepiece():
    """A SentencePiece vocabulary as converted files have it: BPE, byte fallback, visible spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)])
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    # Trained on English and some Chinese only, so that everything else falls back to bytes.
    corpus = [s for s in STRINGS if all(ord(c) < 0x250 or 0x4E00 <= ord(c) < 0x5200 for c in s)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = tokenizer.normalizer
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(corpus * 2, trainers.BpeTrainer(
        vocab_size=1100, min_frequency=2, show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens))
    state = json.loads(trained.to_str())
    vocab = state["model"]["vocab"]
    merges = [tuple(m) for m in state["model"]["merges"]]
    tokenizer.model = models.BPE(
        vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def spm():
    """Trains SentencePiece as Llama's makers did, and writes the vocabulary in GGUF's terms."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([s for s in STRINGS if s.strip() and "\u0000" not in s] * 3),
        model_writer=model, model_type="bpe", vocab_size=2000, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = processor.get_piece_size()
    kinds = [2 if processor.is_unknown(i) else 3 if processor.is_control(i)
             else 6 if processor.is_byte(i) else 1 for i in range(size)]
    vocabulary = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [processor.id_to_piece(i) for i in range(size)],
        "tokenizer.ggml.scores": [processor.get_score(i) for i in range(size)],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": processor.bos_id(),
        "tokenizer.ggml.eos_token_id": processor.eos_id(),
        "tokenizer.ggml.unknown_token_id": processor.unk_id(),
        "tokenizer.ggml.add_bos_token": True,
    }
    (HERE / "small" / "spm_vocab.json").write_text(
        json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = []
    for index, string in enumerate(STRINGS):
        entry = {"string": index, "ids": processor.encode(string)}
        text = processor.decode(entry["ids"])
        if text != string:
            entry["skip"] = text
        lines.append(entry)
    write("spm", lines)


def read_gguf_tokenizer(path):
    formats = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
               12: "d"}
    with open(path, "rb") as f:
        assert f.read(4) == b"GGUF"
        f.read(4)
        _, count = struct.unpack("<QQ", f.read(16))

        def text():
            return f.read(struct.unpack("<Q", f.read(8))[0]).decode("utf-8")

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                element, n = struct.unpack("<IQ", f.read(12))
                return [value(element) for _ in range(n)]
            fmt = "<" + formats[kind]
            return struct.unpack(fmt, f.read(struct.calcsize(fmt)))[0]

        metadata = {}
        for _ in range(count):
            key = text()
            metadata[key] = value(struct.unpack("<I", f.read(4))[0])
    return {k: v for k, v in metadata.items() if k.startswith("tokenizer.")}


def smollm2(metadata):
    """SmolLM2's tokenizer as its makers configured it: digits alone, then GPT-2's bytes."""
    tokens = metadata["tokenizer.ggml.tokens"]
    tokenizer = Tokenizer(models.BPE(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [t for t, kind in zip(tokens, metadata["tokenizer.ggml.token_type"]) if kind == 3])
    return tokenizer


def golden(name, tokenizer):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lines = []
    for index, string in enumerate(STRINGS):
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(string, add_special_tokens=False).ids
        entry = {"string": index, "ids": ids}
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(string, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        if plain != ids:
            entry["plain"] = plain
        for key, skip in (("skip", True), ("keep", False)):
            text = tokenizer.decode(ids, skip_special_tokens=skip)
            if text != string:
                entry[key] = text
        if index < 3:
            entry["with_special"] = tokenizer.encode(string).ids
        lines.append(entry)
    choice = random.Random(name)
    size = tokenizer.get_vocab_size()
    usable = [i for i in range(size) if tokenizer.id_to_token(i) is not None]
    if isinstance(tokenizer.model, models.BPE) and tokenizer.model.byte_fallback:
        # Lone byte tokens decode differently on purpose; see Tokenizer.decode.
        usable = [i for i in usable if not tokenizer.id_to_token(i).startswith("<0x")]
    for _ in range(40):
        ids = [choice.choice(usable) for _ in range(30)]
        lines.append({"random": ids, "skip": tokenizer.decode(ids, skip_special_tokens=True),
                      "keep": tokenizer.decode(ids, skip_special_tokens=False)})
    write(name, lines)


def write(name, lines):
    path = HERE / "ids" / (name + ".json.gz")
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    print(name, sum(len(line.get("ids", [])) for line in lines), "tokens")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf")
    parser.add_argument("--real")
    options = parser.parse_args()
    (HERE / "strings.json").write_text(
        json.dumps(STRINGS, ensure_ascii=True, indent=1) + "\n", encoding="utf-8")
    (HERE / "small").mkdir(exist_ok=True)
    for name, tokenizer in (("bytelevel", train_bytelevel()),
                            ("sentencepiece", train_sentencepiece())):
        tokenizer.save(str(HERE / "small" / (name + ".json")))
        golden(name, tokenizer)
    spm()
    vocab = HERE / "smollm2_vocab.json.gz"
    if options.gguf:
        text = json.dumps(read_gguf_tokenizer(options.gguf), ensure_ascii=False)
        vocab.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    golden("smollm2", smollm2(json.loads(gzip.decompress(vocab.read_bytes()))))
    if options.real:
        for folder in sorted(pathlib.Path(options.real).iterdir()):
            if (folder / "tokenizer.json").is_file():
                golden(folder.name, Tokenizer.from_file(str(folder / "tokenizer.json")))


if __name__ == "__main__":
    main()
