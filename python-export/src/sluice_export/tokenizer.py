"""Byte-level BPE tokenizers from tokenizer.json to GGUF's metadata.

GGUF names the pre-tokenizer (tokenizer.ggml.pre) instead of describing it. Only names whose rules
are known here are translated, and back in tokenizer_rebuild; a wrong guess would change token ids
silently.
"""

from pathlib import Path

from sluice_export import gguf_format as gguf
from sluice_export.errors import ExportError
from sluice_export.strict_json import read_object

# Files of a Hugging Face folder that belong to the tokenizer.
FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
         "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
         "chat_template.json")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
_LLAMA3 = _WORDS % "{1,3}"
_QWEN2 = _WORDS % ""

# Steps of the pre-tokenizer, ignore_merges, and the normalizer that a rebuilt tokenizer.json gets.
RULES = {
    "gpt-2": ((("bytes", True),), False, None),
    "smollm": ((("digits",), ("bytes", True)), False, None),
    "llama-bpe": ((("split", _LLAMA3), ("bytes", False)), True, None),
    "qwen2": ((("split", _QWEN2), ("bytes", False)), False, "NFC"),
}
# Other names of the same rules.
SAME = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "starcoder": "smollm",
         "deepseek-r1-qwen": "qwen2"}
KNOWN = tuple(sorted((*RULES, *SAME)))


def no_tokenizer_metadata():
  """Returns the metadata that says a GGUF file has no tokenizer."""
  return {"tokenizer.ggml.model": gguf.string("no_vocab")}


def to_metadata(folder, vocab_size):
  """Builds GGUF's tokenizer metadata from a folder's tokenizer.json.

  Args:
    folder: Hugging Face folder.
    vocab_size: rows of the embedding; the vocabulary is filled up to it.

  Returns:
    key to gguf_format.Value, without the special token ids that config.json gives.

  Raises:
    ExportError: no tokenizer.json, or one that is not byte-level BPE with known rules.
  """
  path = Path(folder) / "tokenizer.json"
  if not path.is_file():
    raise ExportError(folder, "no tokenizer.json", expected="a byte-level BPE tokenizer",
                      remedy="--no-tokenizer writes a GGUF file without one")
  data = read_object(path)
  settings_path = Path(folder) / "tokenizer_config.json"
  settings = read_object(settings_path) if settings_path.is_file() else {}
  try:
    return _metadata(folder, data, settings, vocab_size)
  except (AttributeError, KeyError, TypeError) as error:
    raise ExportError("tokenizer.json", f"not laid out as one ({type(error).__name__}: {error})",
                      expected="a tokenizer of the tokenizers library") from error


def _metadata(folder, data, settings, vocab_size):
  pre = _pre_name(data)
  vocab, merges = _bpe(data)
  tokens, types = _tokens(vocab, data.get("added_tokens") or [], vocab_size)
  metadata = {
      "tokenizer.ggml.model": gguf.string("gpt2"),
      "tokenizer.ggml.pre": gguf.string(pre),
      "tokenizer.ggml.tokens": gguf.strings(tokens),
      "tokenizer.ggml.token_type": gguf.int32s(types),
      "tokenizer.ggml.merges": gguf.strings(merges),
      "tokenizer.ggml.add_space_prefix": gguf.boolean(False),
      "tokenizer.ggml.add_bos_token": gguf.boolean(_adds_bos(data, settings)),
  }
  ids = {token: index for index, token in enumerate(tokens)}
  for key, name in (("unk_token", "unknown"), ("pad_token", "padding"), ("bos_token", "bos"),
                    ("eos_token", "eos")):
    token = _content(settings.get(key))
    if token in ids:
      metadata[f"tokenizer.ggml.{name}_token_id"] = gguf.uint32(ids[token])
  template = _chat_template(folder, settings)
  if template:
    metadata["tokenizer.chat_template"] = gguf.string(template)
  return metadata


def _steps(data):
  """Returns the pre-tokenizer as a tuple of steps as in RULES, or None if it has others."""
  node = data.get("pre_tokenizer") or {}
  nodes = node.get("pretokenizers", []) if node.get("type") == "Sequence" else [node]
  steps = []
  for item in nodes:
    kind = item.get("type")
    if kind == "Digits" and item.get("individual_digits"):
      steps.append(("digits",))
    elif kind == "ByteLevel" and not item.get("add_prefix_space"):
      steps.append(("bytes", bool(item.get("use_regex", True))))
    elif (kind == "Split" and item.get("behavior") == "Isolated" and not item.get("invert")
          and "Regex" in (item.get("pattern") or {})):
      steps.append(("split", item["pattern"]["Regex"]))
    else:
      return None
  return tuple(steps)


def _pre_name(data):
  normalizer = (data.get("normalizer") or {}).get("type")
  ignore_merges = bool((data.get("model") or {}).get("ignore_merges", False))
  steps = _steps(data)
  for name, (rule, ignores, _) in RULES.items():
    # llama.cpp applies no NFC; for composed text, which is nearly all, the ids agree.
    if steps == rule and ignore_merges == ignores and normalizer in (None, "NFC"):
      return name
  described = (data.get("pre_tokenizer") or {}).get("type")
  raise ExportError("tokenizer.json", f"its pre-tokenizer ({described}) is not known",
                    expected=f"byte-level BPE with the rules of {', '.join(RULES)}",
                    remedy="--no-tokenizer writes a GGUF file without a tokenizer")


def _bpe(data):
  model = data.get("model") or {}
  if model.get("type") != "BPE" or model.get("byte_fallback"):
    raise ExportError("tokenizer.json", f"model {model.get('type')}",
                      expected="byte-level BPE",
                      remedy="--no-tokenizer writes a GGUF file without a tokenizer")
  for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
    if model.get(key):
      raise ExportError("tokenizer.json", f"model.{key} is {model[key]!r}", expected="none")
  vocab, merges = model.get("vocab"), model.get("merges")
  if not isinstance(vocab, dict) or not isinstance(merges, list):
    raise ExportError("tokenizer.json", "no vocab or merges", expected="a BPE model")
  joined = []
  for merge in merges:
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or any(" " in str(part) for part in pair):
      raise ExportError("tokenizer.json", f"merge {merge!r}", expected="two pieces")
    joined.append(f"{pair[0]} {pair[1]}")
  return vocab, joined


def _tokens(vocab, added, vocab_size):
  """Returns the tokens and their types in the order of their ids."""
  tokens = [None] * vocab_size
  types = [UNUSED] * vocab_size

  def put(token, index, kind):
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < vocab_size:
      raise ExportError("tokenizer.json", f"token {token!r} has id {index}",
                        expected=f"0 to {vocab_size - 1}")
    if tokens[index] not in (None, token):
      raise ExportError("tokenizer.json", f"id {index} is {tokens[index]!r} and {token!r}",
                        expected="one token")
    tokens[index], types[index] = token, kind

  for token, index in vocab.items():
    put(token, index, NORMAL)
  for item in added:
    put(item["content"], item["id"], CONTROL if item.get("special") else USER_DEFINED)
  taken = set(tokens)
  for index, token in enumerate(tokens):
    if token is None:
      filler = f"[PAD{index}]"
      if filler in taken:
        raise ExportError("tokenizer.json", f"token {filler!r} exists", expected="unused")
      tokens[index] = filler
  return tokens, types


def _content(token):
  return token.get("content") if isinstance(token, dict) else token


def _adds_bos(data, settings):
  if isinstance(settings.get("add_bos_token"), bool):
    return settings["add_bos_token"]
  bos = _content(settings.get("bos_token"))
  post = data.get("post_processor") or {}
  processors = post.get("processors", []) if post.get("type") == "Sequence" else [post]
  for processor in processors:
    single = processor.get("single") or []
    if processor.get("type") == "TemplateProcessing" and single:
      first = single[0].get("SpecialToken")
      if first is not None and bos is not None and first.get("id") == bos:
        return True
  return False


def _chat_template(folder, settings):
  separate = Path(folder) / "chat_template.jinja"
  if separate.is_file():
    return separate.read_text(encoding="utf-8")
  template = settings.get("chat_template")
  if isinstance(template, list):
    named = {item.get("name"): item.get("template") for item in template}
    return named.get("default")
  return template
