"""Whole conversions: round trips bit for bit, options, and refusals that leave nothing behind."""

import json
import os
import struct
import unittest
from unittest import mock

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from tests.support import (DENSE, FIXTURES, FolderTest, copy_fixture, edit_json, qwen3_checkpoint)
from sluice_export import dtypes, gguf_writer, hf_folder, model_config, safetensors_io, staging
from sluice_export import gguf_format as gguf
from sluice_export.convert import convert
from sluice_export.gguf_reader import GgufFile
from sluice_export.quant import FORMATS


def _wide(folder):
  """Returns name to float32 values of a checkpoint folder."""
  return {t.name: t.as_dtype("F32").load() for t in safetensors_io.read_folder(folder)}


def _model(folder):
  return model_config.from_config(json.loads((folder / "config.json").read_text()))


class RoundTripTest(FolderTest):

  def assert_same_checkpoint(self, first, second):
    self.assertEqual(_model(first), _model(second))
    before, after = _wide(first), _wide(second)
    self.assertEqual(set(before), set(after))
    for name, values in before.items():
      np.testing.assert_array_equal(after[name].view("<u4"), values.view("<u4"), name)

  def test_folder_to_gguf_to_folder(self):
    sources = {name: FIXTURES / name for name in DENSE}
    sources["qwen3"] = qwen3_checkpoint(self.folder / "qwen3-source")
    for name, source in sources.items():
      with self.subTest(name):
        middle, back = self.folder / f"{name}.gguf", self.folder / name
        convert(source, middle, dtype="float32", no_tokenizer=True)
        report = convert(middle, back)
        self.assertEqual(report.dtype, "float32")
        self.assert_same_checkpoint(source, back)

  def test_gguf_really_permutes_and_names(self):
    source = FIXTURES / "llama"
    convert(source, self.folder / "x.gguf", no_tokenizer=True)
    values = {t.name: t.load() for t in GgufFile(self.folder / "x.gguf").tensors()}
    original = _wide(source)
    q, permuted = original["model.layers.1.self_attn.q_proj.weight"], values["blk.1.attn_q.weight"]
    self.assertFalse(np.array_equal(q, permuted))
    # Head 2, pair 3: rows 3 and 3 + 8 of the head become rows 6 and 7.
    np.testing.assert_array_equal(permuted[2 * 16 + 6], q[2 * 16 + 3])
    np.testing.assert_array_equal(permuted[2 * 16 + 7], q[2 * 16 + 11])
    np.testing.assert_array_equal(values["blk.1.attn_v.weight"],
                                  original["model.layers.1.self_attn.v_proj.weight"])
    self.assertNotIn("output.weight", values)

  def test_bfloat16_source_survives_a_bfloat16_gguf(self):
    source = FIXTURES / "llama3_rope"
    report = convert(source, self.folder / "x.gguf", no_tokenizer=True)
    self.assertEqual(report.dtype, "bfloat16")
    stored = {t.name: t.type for t in GgufFile(self.folder / "x.gguf").stored.values()}
    self.assertEqual(stored["blk.0.attn_norm.weight"], "F32")
    self.assertEqual(stored["blk.0.attn_q.weight"], "BF16")
    self.assertEqual(stored["rope_freqs.weight"], "F32")
    convert(self.folder / "x.gguf", self.folder / "back")
    self.assert_same_checkpoint(source, self.folder / "back")
    self.assertEqual({t.dtype for t in safetensors_io.read_folder(self.folder / "back")}, {"BF16"})

  def test_gguf_to_gguf_keeps_everything_else(self):
    convert(FIXTURES / "qwen2", self.folder / "a.gguf", dtype="float32", no_tokenizer=True)
    convert(self.folder / "a.gguf", self.folder / "b.gguf", dtype="float16")
    a, b = GgufFile(self.folder / "a.gguf"), GgufFile(self.folder / "b.gguf")
    self.assertEqual(list(a.metadata), list(b.metadata))
    changed = [key for key in a.metadata if a.metadata[key] != b.metadata[key]]
    self.assertEqual(changed, ["general.file_type"])
    self.assertEqual(b.metadata["general.file_type"].value, 1)
    for before, after in zip(a.tensors(), b.tensors()):
      matrix = len(before.shape) == 2
      self.assertEqual(after.dtype, "F16" if matrix else "F32")
      np.testing.assert_array_equal(
          after.load(), before.load().astype("<f2") if matrix else before.load())


class QuantizedSourceTest(FolderTest):

  def _quantized(self):
    """Writes the llama fixture with q of layer 0 as Q8_0 and v as Q4_1; returns their values."""
    plain = self.folder / "plain.gguf"
    convert(FIXTURES / "llama", plain, dtype="float32", no_tokenizer=True)
    file = GgufFile(plain)
    random = np.random.default_rng(2)
    kinds = {"blk.0.attn_q.weight": ("Q8_0", 8), "blk.0.attn_v.weight": ("Q4_1", 3)}
    data, infos, values, offset = [], [], {}, 0
    for tensor in file.tensors():
      name, kind, payload = tensor.name, 0, tensor.load().tobytes()
      if name in kinds:
        block = FORMATS[kinds[name][0]]
        count = tensor.load().size // block.BLOCK_SIZE
        blocks = random.integers(0, 256, size=(count, block.BLOCK_BYTES), dtype=np.uint8)
        blocks[:, 0:2] = random.uniform(0, 0.1, (count, 1)).astype("<f2").view(np.uint8)
        if kinds[name][0] == "Q4_1":
          blocks[:, 2:4] = random.uniform(-1, 0, (count, 1)).astype("<f2").view(np.uint8)
        kind, payload = kinds[name][1], blocks.tobytes()
        values[name] = block.decode(blocks).reshape(tensor.shape)
      infos.append((name, tensor.shape, kind, offset))
      data.append(payload + bytes(-len(payload) % 32))
      offset += len(data[-1])
    head = gguf_writer.header_bytes(file.metadata, [])
    # The same header with the tensors' directory appended by hand.
    parts = [head[:8], struct.pack("<Q", len(infos)), head[16:24]]
    parts += [gguf_writer._string(k) + gguf_writer._value(k, v) for k, v in file.metadata.items()]
    for name, shape, kind, position in infos:
      parts.append(gguf_writer._string(name) + struct.pack("<I", len(shape))
                   + struct.pack(f"<{len(shape)}Q", *reversed(shape))
                   + struct.pack("<IQ", kind, position))
    header = b"".join(parts)
    path = self.folder / "quantized.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + b"".join(data))
    return path, values

  def test_to_bfloat16_gguf(self):
    path, values = self._quantized()
    report = convert(path, self.folder / "out.gguf", dtype="bfloat16")
    self.assertEqual((report.source_types["Q8_0"], report.source_types["Q4_1"]), (1, 1))
    written = {t.name: t for t in GgufFile(self.folder / "out.gguf").tensors()}
    for name, expected in values.items():
      self.assertEqual(written[name].dtype, "BF16")
      np.testing.assert_array_equal(written[name].load(), dtypes.bfloat16_from_float32(expected))
    self.assertEqual(written["blk.0.attn_norm.weight"].dtype, "F32")
    self.assertNotIn("output.weight", written)

  def test_to_folder_undoes_the_permutation_after_decoding(self):
    path, values = self._quantized()
    convert(path, self.folder / "out", dtype="float32")
    q = _wide(self.folder / "out")["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(q[3], values["blk.0.attn_q.weight"][6])
    np.testing.assert_array_equal(q[11], values["blk.0.attn_q.weight"][7])

  def test_quantized_source_defaults_to_bfloat16_only_when_most_bytes_are_quantized(self):
    path, _ = self._quantized()
    self.assertEqual(convert(path, self.folder / "out").dtype, "float32")


class FolderToFolderTest(FolderTest):

  def test_dtype_and_config(self):
    for dtype, key in (("float16", "dtype"), ("bfloat16", "dtype")):
      out = self.folder / dtype
      convert(FIXTURES / "llama", out, dtype=dtype)
      self.assertEqual(json.loads((out / "config.json").read_text())[key], dtype)
      self.assertEqual({t.dtype for t in safetensors_io.read_folder(out)},
                       {dtypes.STORAGE_OF[dtype]})
      self.assertEqual(_model(out), _model(FIXTURES / "llama"))
      self.assertTrue((out / "generation_config.json").is_file())
      self.assertFalse((out / "expected.safetensors").exists())
    half = load_file(self.folder / "float16" / "model.safetensors")
    for name, values in _wide(FIXTURES / "llama").items():
      np.testing.assert_array_equal(half[name], values.astype("<f2"))

  def test_without_dtype_nothing_is_cast(self):
    convert(FIXTURES / "llama3_rope", self.folder / "out")
    self.assertEqual({t.dtype for t in safetensors_io.read_folder(self.folder / "out")}, {"BF16"})

  def test_shards(self):
    out = self.folder / "out"
    convert(FIXTURES / "mistral", out, max_shard_size="100KB")
    shards = sorted(out.glob("model-*.safetensors"))
    self.assertGreater(len(shards), 2)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    self.assertEqual(set(index["weight_map"].values()), {path.name for path in shards})
    merged = {}
    for path in shards:
      with safetensors.safe_open(path, framework="numpy") as file:
        self.assertEqual(file.metadata(), {"format": "pt"})
      merged.update(load_file(path))
    self.assertEqual(index["metadata"]["total_size"], sum(v.nbytes for v in merged.values()))
    for name, values in _wide(FIXTURES / "mistral").items():
      np.testing.assert_array_equal(merged[name], values)
    # And sharded in, single out.
    convert(out, self.folder / "single")
    self.assertTrue((self.folder / "single" / "model.safetensors").is_file())

  def test_any_family_and_a_single_file(self):
    convert(FIXTURES / "mixtral", self.folder / "mixtral", dtype="bfloat16")
    self.assertEqual({t.dtype for t in safetensors_io.read_folder(self.folder / "mixtral")},
                     {"BF16"})
    convert(FIXTURES / "deepseek_v3", self.folder / "v3", dtype="bfloat16")
    biases = [t for t in safetensors_io.read_folder(self.folder / "v3")
              if t.name.endswith("e_score_correction_bias")]
    self.assertEqual({t.dtype for t in biases}, {"F32"})
    convert(FIXTURES / "llama" / "model.safetensors", self.folder / "one")
    self.assertEqual(_model(self.folder / "one"), _model(FIXTURES / "llama"))

  def test_tied_head_is_left_out_and_said(self):
    source = copy_fixture("llama", self.folder / "tied")
    tensors = safetensors_io.read_folder(source)
    head = next(t for t in tensors if t.name == "model.embed_tokens.weight")
    arrays = [t.mapped(lambda v: v) for t in tensors] + [head.renamed("lm_head.weight")]
    with open(source / "new.safetensors", "wb") as file:
      safetensors_io.write_file(file, arrays)
    os.replace(source / "new.safetensors", source / "model.safetensors")
    report = convert(source, self.folder / "out")
    self.assertIn("lm_head.weight left out", report.notes[0])
    self.assertEqual(set(_wide(self.folder / "out")), {t.name for t in tensors})
    convert(source, self.folder / "x.gguf", no_tokenizer=True)
    self.assertNotIn("output.weight", GgufFile(self.folder / "x.gguf").stored)

  def test_doubles_become_float32(self):
    source = copy_fixture("llama", self.folder / "source")
    arrays = {name: values.astype("<f8") for name, values in _wide(source).items()}
    save_file(arrays, source / "model.safetensors", {"format": "pt"})
    report = convert(source, self.folder / "out")
    self.assertEqual((report.dtype, report.source_types), ("float32", {"F64": len(arrays)}))
    for name, values in load_file(self.folder / "out" / "model.safetensors").items():
      self.assertEqual(values.dtype, np.float32)
      np.testing.assert_array_equal(values, arrays[name])

  def test_progress(self):
    seen = []
    convert(FIXTURES / "llama", self.folder / "x.gguf", no_tokenizer=True,
            progress=lambda done, total: seen.append((done, total)))
    convert(self.folder / "x.gguf", self.folder / "out",
            progress=lambda done, total: seen.append((done, total)))
    self.assertEqual(seen, 2 * [(number, 29) for number in range(1, 30)])

  def test_sizes(self):
    for text, size in (("1", 1), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("10 kb", 10_000)):
      self.assertEqual(hf_folder.parse_size(text), size)
    for text in ("", "-1", "0", "1.5GB", "5XB", "GB", "9" * 16):
      self.assert_refused("--max-shard-size", hf_folder.parse_size, text)


class RefusalTest(FolderTest):

  def test_tensors_that_do_not_fit_the_config(self):
    for changes, words in (
        ({"num_hidden_layers": 4}, ("model.layers.3.input_layernorm.weight is missing",)),
        ({"num_hidden_layers": 2}, ("model.layers.2", "was not expected")),
        ({"vocab_size": 512}, ("embed_tokens.weight has shape [256, 64]", "[512, 64]")),
        ({"tie_word_embeddings": False}, ("lm_head.weight is missing",)),
        ({"attention_bias": True}, ("q_proj.bias is missing",)),
        ({"model_type": "gpt2"}, ("gpt2", "llama")),
    ):
      with self.subTest(changes):
        source = copy_fixture("llama", self.folder / str(len(os.listdir(self.folder))))
        edit_json(source / "config.json", **changes)
        self.assert_refused(words, convert, source, self.folder / "x.gguf", no_tokenizer=True)
        self.assertFalse((self.folder / "x.gguf").exists())
    self.assertEqual(self.leftovers(), [])

  def test_existing_output(self):
    out = self.folder / "x.gguf"
    out.write_text("precious")
    self.assert_refused(("exists", "--force"), convert, FIXTURES / "llama", out, no_tokenizer=True)
    self.assertEqual(out.read_text(), "precious")
    convert(FIXTURES / "llama", out, no_tokenizer=True, force=True)
    self.assertEqual(out.read_bytes()[:4], b"GGUF")

  def test_existing_folder(self):
    out = self.folder / "out"
    out.mkdir()
    convert(FIXTURES / "llama", out)  # empty: free
    (out / "note.txt").write_text("mine")
    self.assert_refused(("not empty", "--force"), convert, FIXTURES / "llama", out)
    convert(FIXTURES / "llama", out, force=True)
    self.assertFalse((out / "note.txt").exists())
    other = self.folder / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    self.assert_refused("holds no checkpoint", convert, FIXTURES / "llama", other, force=True)
    self.assertEqual((other / "thesis.txt").read_text(), "years of work")
    self.assertEqual(self.leftovers(), [])

  def test_output_permissions_follow_the_umask(self):
    convert(FIXTURES / "llama", self.folder / "x.gguf", no_tokenizer=True)
    convert(FIXTURES / "llama", self.folder / "out")
    mask = staging._umask()
    self.assertEqual((self.folder / "x.gguf").stat().st_mode & 0o777, 0o666 & ~mask)
    self.assertEqual((self.folder / "out").stat().st_mode & 0o777, 0o777 & ~mask)

  def test_failure_half_way_leaves_nothing(self):
    source = copy_fixture("llama", self.folder / "source")
    tensors = safetensors_io.read_folder(source)
    arrays = {t.name: t.load().copy() for t in tensors}
    arrays["model.layers.2.mlp.down_proj.weight"][0, 0] = 1e6  # too large for float16
    save_file(arrays, source / "model.safetensors")
    for destination in (self.folder / "x.gguf", self.folder / "out"):
      self.assert_refused(("down", "1e+06", "float16"), convert, source, destination,
                          dtype="float16", no_tokenizer=destination.suffix == ".gguf")
      self.assertFalse(destination.exists())
    self.assertEqual(sorted(os.listdir(self.folder)), ["source"])

  def test_old_output_survives_a_failure(self):
    out = self.folder / "out"
    convert(FIXTURES / "llama", out)
    before = (out / "model.safetensors").read_bytes()
    with mock.patch.object(safetensors_io, "write_file", side_effect=OSError(28, "No space left")):
      self.assert_refused("No space left", convert, FIXTURES / "mistral", out, force=True)
    self.assertEqual((out / "model.safetensors").read_bytes(), before)
    self.assertEqual(os.listdir(self.folder), ["out"])

  def test_disk_space(self):
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=1000)):
      for destination in (self.folder / "x.gguf", self.folder / "out"):
        self.assert_refused(("needs", "free"), convert, FIXTURES / "llama", destination,
                            no_tokenizer=destination.suffix == ".gguf")
    self.assertEqual(os.listdir(self.folder), [])

  def test_paths_and_options(self):
    llama, out = FIXTURES / "llama", self.folder / "out"
    self.assert_refused("is not there", convert, self.folder / "no", out)
    self.assert_refused(("no folder", "mkdir"), convert, llama, self.folder / "a" / "b")
    self.assert_refused("--no-tokenizer", convert, llama, out, no_tokenizer=True)
    self.assert_refused("--max-shard-size", convert, llama, self.folder / "x.gguf",
                        max_shard_size="1GB")
    self.assert_refused("--dtype", convert, llama, out, dtype="int4")
    self.assert_refused("no config.json", convert, self.folder, out)
    (self.folder / "config.json").write_text("{}")
    self.assert_refused("no weights", convert, self.folder, out)
    (self.folder / "x.txt").write_text("text")
    self.assert_refused("unknown kind", convert, self.folder / "x.txt", out)
    self.assert_refused(("no tokenizer.json", "--no-tokenizer"), convert, llama,
                        self.folder / "x.gguf")

  def test_quantized_checkpoint_is_refused(self):
    source = copy_fixture("llama", self.folder / "source")
    edit_json(source / "config.json", quantization_config={"quant_method": "gptq"})
    self.assert_refused("quantization_config", convert, source, self.folder / "out")


class BadGgufTest(FolderTest):

  def _changed(self, **changes):
    """Writes the llama fixture as GGUF with metadata keys (dots as __) changed or removed."""
    convert(FIXTURES / "llama", self.folder / "x.gguf", no_tokenizer=True, force=True)
    file = GgufFile(self.folder / "x.gguf")
    metadata = dict(file.metadata)
    for key, value in changes.items():
      key = key.replace("__", ".")
      if value is None:
        metadata.pop(key)
      else:
        metadata[key] = value
    with open(self.folder / "y.gguf", "wb") as out:
      gguf_writer.write(out, metadata, file.tensors())
    return self.folder / "y.gguf"

  def test_metadata(self):
    for changes, words in (
        ({"general__architecture": gguf.string("mamba")}, ("mamba", "llama, qwen2, qwen3")),
        ({"general__architecture": None}, ("architecture",)),
        ({"general__architecture": gguf.uint32(3)}, ("architecture",)),
        ({"split__count": gguf.Value(gguf.UINT16, 3)}, ("part of 3", "llama-gguf-split")),
        ({"llama__block_count": None}, ("no metadata key llama.block_count",)),
        ({"llama__block_count": gguf.uint32(0)}, ("llama.block_count is 0",)),
        ({"llama__block_count": gguf.uint32(4_000_000_000)}, ("llama.block_count",)),
        ({"llama__block_count": gguf.uint32(2_000_000_000)}, ("at most 10000",)),
        ({"llama__block_count": gguf.uint32(4)}, ("blk.3.attn_norm.weight is missing",)),
        ({"llama__block_count": gguf.uint32(2)}, ("blk.2", "was not expected")),
        ({"llama__embedding_length": gguf.string("64")}, ("embedding_length is 64",)),
        ({"llama__embedding_length": gguf.uint32(96)}, ("has shape",)),
        ({"llama__attention__head_count": gguf.uint32(1 << 30)}, ("has shape",)),
        ({"llama__attention__head_count_kv": gguf.int32s([2, 2, 1])}, ("head_count_kv",)),
        ({"llama__attention__key_length": gguf.uint32(8)}, ("value_length", "8")),
        ({"llama__rope__dimension_count": gguf.uint32(8)}, ("dimension_count", "16")),
        ({"llama__rope__freq_base": gguf.float32(-1)}, ("freq_base",)),
        ({"llama__attention__layer_norm_rms_epsilon": None}, ("rms_epsilon",)),
        ({"llama__attention__scale": gguf.float32(0.5)}, ("llama.attention.scale is 0.5",)),
        ({"llama__expert_count": gguf.uint32(8)}, ("expert_count is 8", "0")),
        ({"llama__rope__scaling__type": gguf.string("longrope")}, ("longrope",)),
        ({"llama__rope__scaling__type": gguf.string("yarn")}, ("original_context_length",)),
        ({"tokenizer__ggml__bos_token_id": gguf.string("<s>")}, ("bos_token_id", "token id")),
    ):
      with self.subTest(changes):
        self.assert_refused(words, convert, self._changed(**changes), self.folder / "out")
    self.assertEqual(sorted(os.listdir(self.folder)), ["x.gguf", "y.gguf"])

  def test_neutral_and_per_layer_values_are_taken(self):
    path = self._changed(llama__expert_count=gguf.uint32(0),
                         llama__rope__scaling__type=gguf.string("none"),
                         llama__attention__head_count_kv=gguf.int32s([2, 2, 2]))
    convert(path, self.folder / "out")
    self.assertEqual(_model(self.folder / "out"), _model(FIXTURES / "llama"))

  def test_unknown_architecture_is_refused_for_gguf_too(self):
    path = self._changed(general__architecture=gguf.string("mamba"))
    self.assert_refused("mamba", convert, path, self.folder / "z.gguf")


if __name__ == "__main__":
  unittest.main()
