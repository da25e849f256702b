"""tokenizer.json to GGUF's metadata and back."""

import dataclasses
import importlib.util
import json
import unittest

import numpy as np

from tests.support import FolderTest, edit_json, qwen3_checkpoint
from sluice_export import model_config, tokenizer, tokenizer_rebuild
from sluice_export import gguf_format as gguf
from sluice_export.convert import convert
from sluice_export.gguf_reader import GgufFile

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _tokenizer_json(pre=None, **model):
  """A byte-level BPE of eight pieces and three added tokens, of which one is not special."""
  return {
      "added_tokens": [
          {"id": 8, "content": "<|start|>", "special": True},
          {"id": 9, "content": "<|end|>", "special": True},
          {"id": 10, "content": "<tool>", "special": False},
      ],
      "normalizer": None,
      "pre_tokenizer": pre or {"type": "Sequence", "pretokenizers": [
          {"type": "Digits", "individual_digits": True}, BYTES]},
      "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(
          ["a", "b", "c", "Ġ", "ab", "Ġc", "世", "1"])},
                "merges": ["a b", ["Ġ", "c"]], "ignore_merges": False, **model},
  }


class TokenizerTest(FolderTest):

  def _source(self, data=None, settings=None):
    source = qwen3_checkpoint(self.folder / "source")
    (source / "tokenizer.json").write_text(json.dumps(data or _tokenizer_json()))
    (source / "tokenizer_config.json").write_text(json.dumps(
        settings or {"bos_token": {"content": "<|start|>"}, "eos_token": "<|end|>",
                     "add_bos_token": True, "chat_template": "{{ messages }}"}))
    return source

  def test_to_gguf(self):
    convert(self._source(), self.folder / "x.gguf")
    values = {k: v.value for k, v in GgufFile(self.folder / "x.gguf").metadata.items()}
    self.assertEqual(values["tokenizer.ggml.model"], "gpt2")
    self.assertEqual(values["tokenizer.ggml.pre"], "smollm")
    tokens = values["tokenizer.ggml.tokens"]
    self.assertEqual(len(tokens), 48)  # the embedding's rows
    self.assertEqual(tokens[4:12], ["ab", "Ġc", "世", "1", "<|start|>", "<|end|>", "<tool>",
                                    "[PAD11]"])
    self.assertEqual(values["tokenizer.ggml.token_type"][7:12].tolist(), [1, 3, 3, 4, 5])
    self.assertEqual(values["tokenizer.ggml.merges"], ["a b", "Ġ c"])
    self.assertIs(values["tokenizer.ggml.add_bos_token"], True)
    self.assertEqual(values["tokenizer.chat_template"], "{{ messages }}")
    # config.json's ids come first, the tokenizer's own end token after them.
    self.assertEqual([values[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "eot", "eom")],
                     [1, 2, 3, 9])

  def test_there_and_back(self):
    source = self._source()
    edit_json(source / "config.json", bos_token_id=8, eos_token_id=9)
    convert(source, self.folder / "x.gguf")
    report = convert(self.folder / "x.gguf", self.folder / "back")
    self.assertEqual(report.notes, [])
    before = _tokenizer_json()
    after = json.loads((self.folder / "back" / "tokenizer.json").read_text())
    vocab = {**before["model"]["vocab"], "<|start|>": 8, "<|end|>": 9, "<tool>": 10}
    self.assertEqual(after["model"]["vocab"], vocab)
    self.assertEqual(after["model"]["merges"], ["a b", "Ġ c"])
    self.assertEqual(after["pre_tokenizer"], before["pre_tokenizer"])
    self.assertEqual([(t["id"], t["content"], t["special"]) for t in after["added_tokens"]],
                     [(t["id"], t["content"], t["special"]) for t in before["added_tokens"]])
    template = after["post_processor"]["processors"][1]
    self.assertEqual(template["single"][0]["SpecialToken"]["id"], "<|start|>")
    settings = json.loads((self.folder / "back" / "tokenizer_config.json").read_text())
    self.assertEqual((settings["bos_token"], settings["eos_token"], settings["chat_template"]),
                     ("<|start|>", "<|end|>", "{{ messages }}"))
    # What was rebuilt is what can be converted again.
    convert(self.folder / "back", self.folder / "y.gguf")
    first, second = (GgufFile(self.folder / f"{n}.gguf") for n in "xy")
    for key in ("tokens", "merges", "pre"):
      self.assertEqual(first.metadata[f"tokenizer.ggml.{key}"],
                       second.metadata[f"tokenizer.ggml.{key}"])

  def test_known_rules_find_their_names(self):
    split = lambda regex: {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
        {**BYTES, "use_regex": False}]}
    for pre, ignore, name in ((BYTES, False, "gpt-2"),
                              (split(tokenizer._LLAMA3), True, "llama-bpe"),
                              (split(tokenizer._QWEN2), False, "qwen2")):
      data = _tokenizer_json(pre, ignore_merges=ignore)
      with self.subTest(name):
        self.assertEqual(tokenizer._pre_name(data), name)
        # Without its ignore_merges the rule is another one, which llama.cpp has no name for.
        data["model"]["ignore_merges"] = not ignore
        self.assert_refused("pre-tokenizer", tokenizer._pre_name, data)

  def test_every_known_name_is_rebuilt_and_recognised(self):
    for name in tokenizer.KNOWN:
      with self.subTest(name):
        rule, ignore, _ = tokenizer.RULES[tokenizer.SAME.get(name, name)]
        data = _tokenizer_json({"type": "Sequence",
                                "pretokenizers": [tokenizer_rebuild.step_json(s) for s in rule]},
                               ignore_merges=ignore)
        self.assertEqual(tokenizer._pre_name(data), tokenizer.SAME.get(name, name))

  def test_refusals(self):
    source = self._source()
    path = source / "tokenizer.json"
    for data, words in (
        (_tokenizer_json({"type": "Whitespace"}), ("Whitespace", "--no-tokenizer")),
        (_tokenizer_json({**BYTES, "add_prefix_space": True}), ("not known",)),
        (_tokenizer_json(type="Unigram"), ("Unigram", "byte-level BPE")),
        (_tokenizer_json(byte_fallback=True), ("byte-level BPE",)),
        (_tokenizer_json(dropout=0.1), ("dropout",)),
        (_tokenizer_json(vocab=None), ("no vocab",)),
        (_tokenizer_json(vocab={"a": 48}), ("id 48", "0 to 47")),
        (_tokenizer_json(vocab={"a": -1}), ("id -1",)),
        (_tokenizer_json(vocab={"a": "0"}), ("id 0",)),
        (_tokenizer_json(vocab={"a": 0, "b": 0}), ("'a' and 'b'",)),
        (_tokenizer_json(merges=["a b c"]), ("merge 'a b c'",)),
        (_tokenizer_json(merges=[3]), ("merge 3",)),
        ({**_tokenizer_json(), "pre_tokenizer": [1]}, ("not laid out",)),
        ({**_tokenizer_json(), "added_tokens": [{}]}, ("not laid out",)),
        ({**_tokenizer_json(), "normalizer": {"type": "Lowercase"}}, ("not known",)),
    ):
      with self.subTest(words):
        path.write_text(json.dumps(data))
        self.assert_refused(("tokenizer.json",) + words, convert, source, self.folder / "x.gguf")
    path.write_text("{")
    self.assert_refused("not JSON", convert, source, self.folder / "x.gguf")

  def test_what_cannot_be_rebuilt_is_said(self):
    convert(self._source(), self.folder / "x.gguf")
    file = GgufFile(self.folder / "x.gguf")
    for change, word in (
        ({"tokenizer.ggml.model": gguf.string("bert")}, "bert cannot be rebuilt"),
        ({"tokenizer.ggml.pre": gguf.string("mystery")}, "mystery is not known"),
        ({"tokenizer.ggml.model": gguf.string("no_vocab")}, "has none"),
    ):
      with self.subTest(word):
        changed = GgufFile(self.folder / "x.gguf")
        changed.metadata.update(change)
        texts, reason = tokenizer_rebuild.to_files(changed, _model())
        self.assertEqual(texts, {})
        self.assertIn(word, reason)
    file.metadata["tokenizer.huggingface.json"] = gguf.string('{"whole": 1}')
    texts, _ = tokenizer_rebuild.to_files(file, _model())
    self.assertEqual(texts["tokenizer.json"], '{"whole": 1}')

  def _sentencepiece(self, **changes):
    """A GgufFile whose tokenizer is a small SentencePiece BPE."""
    if not (self.folder / "x.gguf").exists():
      convert(self._source(), self.folder / "x.gguf")
    file = GgufFile(self.folder / "x.gguf")
    tokens = ["<unk>", "<s>", "</s>", "<0x41>", "\u2581", "a", "b", "ab", "\u2581a", "\u2581ab",
              "<tool>"]
    for key in [key for key in file.metadata if key.startswith("tokenizer.ggml.")]:
      del file.metadata[key]
    metadata = {
        "model": gguf.string("llama"), "tokens": gguf.strings(tokens),
        "token_type": gguf.int32s([2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 4]),
        "scores": gguf.Value(gguf.ARRAY, np.array(
            [0, 0, 0, 0, -9, -9, -9, -2, -1, -3, 0], "<f4"), gguf.FLOAT32),
        "eos_token_id": gguf.uint32(2), **changes}
    file.metadata.update({f"tokenizer.ggml.{k}": v for k, v in metadata.items() if v is not None})
    return file

  def test_sentencepiece(self):
    model = dataclasses.replace(_model(), bos_token_id=1, eos_token_ids=(2,))
    texts, reason = tokenizer_rebuild.to_files(self._sentencepiece(), model)
    self.assertIsNone(reason)
    data = json.loads(texts["tokenizer.json"])
    # By falling score of what they make; "<tool>" is no merge of anything.
    self.assertEqual(data["model"]["merges"], [
        ["\u2581", "a"], ["a", "b"], ["\u2581", "ab"], ["\u2581a", "b"]])
    self.assertEqual((data["model"]["unk_token"], data["model"]["byte_fallback"]), ("<unk>", True))
    self.assertEqual([token["content"] for token in data["added_tokens"]],
                     ["<unk>", "<s>", "</s>", "<tool>"])
    self.assertEqual([n["type"] for n in data["normalizer"]["normalizers"]], ["Prepend", "Replace"])
    self.assertEqual(data["post_processor"]["single"], [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}])
    settings = json.loads(texts["tokenizer_config.json"])
    self.assertEqual((settings["bos_token"], settings["eos_token"]), ("<s>", "</s>"))

  def test_sentencepiece_options(self):
    model = dataclasses.replace(_model(), bos_token_id=1, eos_token_ids=(2,))
    file = self._sentencepiece(add_space_prefix=gguf.boolean(False),
                               add_bos_token=gguf.boolean(False), add_eos_token=gguf.boolean(True))
    data = json.loads(tokenizer_rebuild.to_files(file, model)[0]["tokenizer.json"])
    self.assertEqual([n["type"] for n in data["normalizer"]["normalizers"]], ["Replace"])
    self.assertNotIn("Strip", [d["type"] for d in data["decoder"]["decoders"]])
    self.assertEqual(data["post_processor"]["single"], [
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}])
    self.assert_refused("scores", tokenizer_rebuild.to_files, self._sentencepiece(scores=None),
                        model)
    self.assert_refused("scores", tokenizer_rebuild.to_files,
                        self._sentencepiece(scores=gguf.int32s([1])), model)

  @unittest.skipUnless(importlib.util.find_spec("tokenizers"), "tokenizers is not installed")
  def test_sentencepiece_ids(self):
    from tokenizers import Tokenizer
    model = dataclasses.replace(_model(), bos_token_id=1, eos_token_ids=(2,))
    texts, _ = tokenizer_rebuild.to_files(self._sentencepiece(), model)
    built = Tokenizer.from_str(texts["tokenizer.json"])
    self.assertEqual(built.encode("abA ab").ids, [1, 9, 3, 9])
    self.assertEqual(built.encode("<tool>b").ids, [1, 10, 4, 6])
    self.assertEqual(built.decode([1, 9, 3, 9]), "abA ab")

  def test_bad_metadata(self):
    convert(self._source(), self.folder / "x.gguf")
    for change, word in (
        ({"tokenizer.ggml.tokens": gguf.int32s([1, 2])}, "list of strings"),
        ({"tokenizer.ggml.tokens": gguf.strings(["a"])}, "token_type does not fit"),
        ({"tokenizer.ggml.tokens": gguf.strings(["a"] * 48)}, "ids 0 and 1"),
        ({"tokenizer.ggml.merges": gguf.uint32(1)}, "list of strings"),
        ({"tokenizer.ggml.unknown_token_id": gguf.uint32(99)}, "below 48"),
        ({"tokenizer.ggml.token_type": gguf.uint32(1)}, "token_type"),
    ):
      with self.subTest(change):
        file = GgufFile(self.folder / "x.gguf")
        file.metadata.update(change)
        self.assert_refused(word, tokenizer_rebuild.to_files, file, _model())


def _model():
  return model_config.from_config({
      "model_type": "llama", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 1,
      "num_attention_heads": 2, "vocab_size": 48})


if __name__ == "__main__":
  unittest.main()
