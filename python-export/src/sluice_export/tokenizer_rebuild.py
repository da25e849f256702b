"""tokenizer.json and tokenizer_config.json rebuilt from GGUF's metadata.

Two kinds are rebuilt: byte-level BPE (`gpt2`) whose pre-tokenizer is known, and SentencePiece's BPE
(`llama`), whose merges follow from the scores of its pieces.
"""

import json
import re

from sluice_export import gguf_format as gguf
from sluice_export.errors import ExportError
from sluice_export.tokenizer import (BYTE, CONTROL, KNOWN, NORMAL, RULES, SAME, UNKNOWN, UNUSED,
                                     USER_DEFINED)

_SPACE = "\u2581"


def to_files(file, model):
  """Builds tokenizer.json and tokenizer_config.json from a GgufFile's metadata.

  Args:
    file: GgufFile.
    model: its ModelConfig, for the special token ids and the context length.

  Returns:
    (file name to text, None), or ({}, reason) if the tokenizer cannot be rebuilt.
  """
  kind = file.text("tokenizer.ggml.model")
  pre = file.text("tokenizer.ggml.pre")
  whole = file.text("tokenizer.huggingface.json")
  if kind in (None, "none", "no_vocab") and not whole:
    return {}, "the GGUF file has none"
  if not whole and kind == "gpt2" and pre not in KNOWN:
    return {}, f"tokenizer.ggml.pre {pre} is not known (only {', '.join(KNOWN)})"
  if not whole and kind not in ("gpt2", "llama"):
    return {}, f"tokenizer.ggml.model {kind} cannot be rebuilt (only gpt2 and llama)"
  tokens = file.texts("tokenizer.ggml.tokens")
  if not whole:
    build = _byte_level if kind == "gpt2" else _sentencepiece
    vocab, added = _vocab(file, tokens, _types(file, len(tokens)))
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                 **build(file, model, tokens, vocab)}
    whole = json.dumps(tokenizer, ensure_ascii=False, indent=1)
  settings = {
      "clean_up_tokenization_spaces": False,
      "model_max_length": model.max_position_embeddings,
      "tokenizer_class": "PreTrainedTokenizerFast",
  }
  named = {"bos_token": model.bos_token_id, "pad_token": model.pad_token_id,
           "eos_token": model.eos_token_ids[0] if model.eos_token_ids else None,
           "unk_token": file.token_id("unknown")}
  for key, token in named.items():
    if token is not None:
      settings[key] = _token_at(file, tokens, key, token)
  template = file.text("tokenizer.chat_template")
  if template:
    settings["chat_template"] = template
  for key in ("add_bos_token", "add_eos_token"):
    if file.flag(f"tokenizer.ggml.{key}") is not None:
      settings[key] = file.flag(f"tokenizer.ggml.{key}")
  return {
      "tokenizer.json": whole,
      "tokenizer_config.json": json.dumps(settings, ensure_ascii=False, indent=2) + "\n",
  }, None


def _token_at(file, tokens, key, token):
  if not 0 <= token < len(tokens):
    raise ExportError(file.path.name, f"{key} has id {token}", expected=f"below {len(tokens)}")
  return tokens[token]


def _numbers(file, key, count):
  """Returns the numbers of an array that has one for each token, or None."""
  stored = file.metadata.get(key)
  if stored is None:
    return None
  if stored.type != gguf.ARRAY or stored.item_type == gguf.STRING or len(stored.value) != count:
    raise ExportError(file.path.name, f"{key} does not fit the tokens",
                      expected=f"{count} numbers, one for each token")
  return stored.value.tolist()


def _types(file, count):
  types = _numbers(file, "tokenizer.ggml.token_type", count)
  return [NORMAL] * count if types is None else types


def _vocab(file, tokens, types):
  """Returns the vocabulary and the added tokens of tokenizer.json."""
  vocab, added = {}, []
  for index, (token, kind) in enumerate(zip(tokens, types)):
    if kind == UNUSED and re.fullmatch(r"\[PAD\d+\]", token):
      continue  # a filler up to the embedding's size
    if token in vocab:
      raise ExportError(file.path.name, f"token {token!r} has ids {vocab[token]} and {index}",
                        expected="one id")
    vocab[token] = index
    if kind in (CONTROL, USER_DEFINED, UNKNOWN):
      added.append({"id": index, "content": token, "single_word": False, "lstrip": False,
                    "rstrip": False, "normalized": False, "special": kind != USER_DEFINED})
  return vocab, added


def _bpe(**settings):
  return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
          "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
          "ignore_merges": False, **settings}


def _template(file, model, tokens, add_bos_unsaid):
  """Returns the post-processor that adds BOS and EOS, or None if the file asks for neither."""
  add_bos = file.flag("tokenizer.ggml.add_bos_token")
  # Without a word in the file, what llama.cpp assumes.
  add_bos = add_bos_unsaid if add_bos is None else add_bos
  bos = model.bos_token_id if add_bos else None
  eos = file.token_id("eos") if file.flag("tokenizer.ggml.add_eos_token") else None
  if bos is None and eos is None:
    return None
  special = {}

  def around(name, type_id):
    parts = [{"Sequence": {"id": name, "type_id": type_id}}]
    for index, key, place in ((bos, "bos_token", 0), (eos, "eos_token", len(parts) + 1)):
      if index is not None:
        token = _token_at(file, tokens, key, index)
        special[token] = {"id": token, "ids": [index], "tokens": [token]}
        parts.insert(place, {"SpecialToken": {"id": token, "type_id": type_id}})
    return parts

  single = around("A", 0)
  return {"type": "TemplateProcessing", "single": single, "pair": single + around("B", 1),
          "special_tokens": special}


def _byte_level(file, model, tokens, vocab):
  pre = file.text("tokenizer.ggml.pre")
  name = SAME.get(pre, pre)
  rule, ignore_merges, normalizer = RULES[name]
  post = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
  template = _template(file, model, tokens, name == "llama-bpe")
  if template is not None:
    post = {"type": "Sequence", "processors": [post, template]}
  return {
      "normalizer": {"type": normalizer} if normalizer else None,
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [step_json(step) for step in rule]},
      "post_processor": post,
      "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                  "use_regex": True},
      "model": _bpe(ignore_merges=ignore_merges, vocab=vocab,
                    merges=list(file.texts("tokenizer.ggml.merges"))),
  }


def step_json(step):
  """Returns the pre-tokenizer of tokenizer.json for a step of tokenizer.RULES."""
  if step[0] == "digits":
    return {"type": "Digits", "individual_digits": True}
  if step[0] == "split":
    return {"type": "Split", "pattern": {"Regex": step[1]}, "behavior": "Isolated",
            "invert": False}
  return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
          "use_regex": step[1]}


def _sentencepiece(file, model, tokens, vocab):
  """SentencePiece's BPE: spaces are U+2581, unknown characters fall back to their bytes."""
  types = _types(file, len(tokens))
  scores = _numbers(file, "tokenizer.ggml.scores", len(tokens))
  if scores is None:
    raise ExportError(file.path.name, "no tokenizer.ggml.scores", expected="a score for each token")
  prefix = file.flag("tokenizer.ggml.add_space_prefix") is not False
  replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
  prepend = {"type": "Prepend", "prepend": _SPACE}
  strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
  unknown = tokens[types.index(UNKNOWN)] if UNKNOWN in types else None
  return {
      "normalizer": {"type": "Sequence", "normalizers": ([prepend] if prefix else []) + [replace]},
      "pre_tokenizer": None,
      "post_processor": _template(file, model, tokens, True),
      "decoder": {"type": "Sequence", "decoders": [
          {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
          {"type": "ByteFallback"}, {"type": "Fuse"}] + ([strip] if prefix else [])},
      "model": _bpe(unk_token=unknown, fuse_unk=True, byte_fallback=BYTE in types, vocab=vocab,
                    merges=_merges(tokens, types, scores)),
  }


def _merges(tokens, types, scores):
  """Returns the merges that SentencePiece's scores imply: any two pieces that make a third.

  SentencePiece merges the neighbours whose result has the highest score, so merges are ordered by
  the score of what they make.
  """
  pieces = {token: score for token, kind, score in zip(tokens, types, scores)
            if kind in (NORMAL, USER_DEFINED)}
  merges = []
  for token, score in pieces.items():
    for cut in range(1, len(token)):
      left, right = token[:cut], token[cut:]
      if left in pieces and right in pieces:
        merges.append((-score, len(merges), left, right))
  merges.sort()
  return [[left, right] for _, _, left, right in merges]
