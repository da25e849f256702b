"""The safetensors reader and writer, against the package `safetensors` and against bad files."""

import json
import struct
import unittest

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

from tests.support import FIXTURES, FolderTest
from sluice_export import safetensors_io
from sluice_export.tensor import Tensor, from_array


class RoundTripTest(FolderTest):

  def test_reads_what_the_package_writes(self):
    arrays = {
        "a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.array(7, dtype="<i8"),
        "c": np.zeros((0, 4), dtype="<f2"), "d": np.array([True, False]),
        "e": np.arange(5, dtype="u1"),
    }
    path = self.folder / "x.safetensors"
    save_file(arrays, path)
    tensors = {tensor.name: tensor for tensor in safetensors_io.read_file(path)}
    self.assertEqual(set(tensors), set(arrays))
    for name, array in arrays.items():
      self.assertEqual(tensors[name].shape, array.shape)
      np.testing.assert_array_equal(tensors[name].load(), array)

  def test_the_package_reads_what_is_written(self):
    path = self.folder / "x.safetensors"
    arrays = {"wide": np.arange(3, dtype="<i8"), "odd": np.arange(3, dtype="u1"),
              "scalar": np.array(2.5, dtype="<f4"), "empty": np.zeros((2, 0), dtype="<f4")}
    types = {"wide": "I64", "odd": "U8", "scalar": "F32", "empty": "F32"}
    with open(path, "wb") as file:
      safetensors_io.write_file(
          file, [from_array(name, types[name], array) for name, array in arrays.items()],
          {"format": "pt"})
    with safetensors.safe_open(path, framework="numpy") as opened:
      self.assertEqual(opened.metadata(), {"format": "pt"})
    loaded = load_file(path)
    for name, array in arrays.items():
      self.assertEqual(loaded[name].shape, array.shape)
      np.testing.assert_array_equal(loaded[name], array)

  def test_bfloat16_bytes(self):
    path = self.folder / "x.safetensors"
    bits = np.array([[0x3F80, 0xC000]], dtype="<u2")
    with open(path, "wb") as file:
      safetensors_io.write_file(file, [from_array("w", "BF16", bits)])
    (_, entry), = safetensors.deserialize(path.read_bytes())
    self.assertEqual((entry["dtype"], entry["shape"]), ("BF16", [1, 2]))
    self.assertEqual(bytes(entry["data"]), bits.tobytes())

  def test_fixture_shards(self):
    tensors = safetensors_io.read_folder(FIXTURES / "mixtral")
    names = [tensor.name for tensor in tensors]
    self.assertEqual(len(names), len(set(names)))
    self.assertIn("model.embed_tokens.weight", names)

  def test_loader_that_lies_about_its_shape(self):
    wrong = Tensor("w", "F32", (2,), lambda: np.zeros(3, "<f4"))
    with open(self.folder / "x", "wb") as file:
      self.assert_refused(("w", "[3]", "[2]"), safetensors_io.write_file, file, [wrong])


def _file(header, data=b"", length=None):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(dtype="F32", shape=(1,), offsets=(0, 4), **more):
  return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


class BadFileTest(FolderTest):

  CASES = {
      "empty file": (b"", "0 bytes"),
      "header longer than the file": (_file(b"{}", length=3), "header of 3 bytes"),
      "huge header": (_file(b"{}", length=(1 << 64) - 1), "header of"),
      "not JSON": (_file(b"{nope}"), "not JSON"),
      "an array": (_file(b"[]"), "JSON list"),
      "not UTF-8": (_file(b'{"\xff":1}'), "UTF-8"),
      "equal keys": (_file(b'{"a":' + json.dumps(_entry()).encode() + b',"a":'
                           + json.dumps(_entry()).encode() + b"}", b"0000"), "twice"),
      "deep nesting": (_file(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}"), ""),
      "NaN": (_file(b'{"a":NaN}'), "NaN"),
      "hole at the start": (_file({"a": _entry(offsets=(4, 8))}, b"0" * 8), "hole"),
      "hole between": (_file({"a": _entry(), "b": _entry(offsets=(8, 12))}, b"0" * 12), "hole"),
      "overlap": (_file({"a": _entry(shape=(2,), offsets=(0, 8)),
                         "b": _entry(shape=(2,), offsets=(4, 12))}, b"0" * 12), "overlaps"),
      "bytes after the last tensor": (_file({"a": _entry()}, b"0" * 5), "equal"),
      "truncated data": (_file({"a": _entry()}, b"000"), "equal"),
      "wrong size": (_file({"a": _entry(shape=(2,))}, b"0000"), "4 bytes"),
      "end before begin": (_file({"a": _entry(offsets=(4, 0))}, b"0000"), ""),
      "unknown type": (_file({"a": _entry(dtype="F8_E5M2", offsets=(0, 1))}, b"0"), "F8_E5M2"),
      "negative size": (_file({"a": _entry(shape=(-1,))}, b"0000"), "shape"),
      "huge size": (_file({"a": _entry(shape=(1 << 70,))}, b"0000"), "shape"),
      "product that overflows": (
          _file({"a": _entry(shape=(1 << 62, 1 << 62))}, b"0000"), "4 bytes"),
      "boolean size": (_file({"a": _entry(shape=(True,))}, b"0000"), "shape"),
      "missing field": (_file({"a": {"dtype": "F32", "shape": [1]}}, b"0000"), "data_offsets"),
      "extra field": (_file({"a": _entry(x=1)}, b"0000"), "entry of a"),
      "metadata of numbers": (_file({"__metadata__": {"a": 1}}), "__metadata__"),
      "three offsets": (_file({"a": _entry(offsets=(0, 4, 4))}, b"0000"), "data_offsets"),
  }

  def test_each_rule(self):
    for name, (data, word) in self.CASES.items():
      with self.subTest(name):
        path = self.folder / "bad.safetensors"
        path.write_bytes(data)
        message = self.assert_refused(word, safetensors_io.read_file, path)
        self.assertTrue(message.startswith("bad.safetensors"), message)

  def test_file_that_shrinks_after_the_check(self):
    path = self.folder / "x.safetensors"
    save_file({"a": np.arange(64, dtype="<f4")}, path)
    tensor, = safetensors_io.read_file(path)
    path.write_bytes(path.read_bytes()[:-8])
    self.assert_refused(("a ends early", "256"), tensor.load)

  def test_every_truncation_is_refused(self):
    data = (FIXTURES / "qwen2" / "model.safetensors").read_bytes()
    path = self.folder / "cut.safetensors"
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for size in (*range(0, 16), header - 1, header, header + 1, len(data) - 1):
      with self.subTest(size):
        path.write_bytes(data[:size])
        self.assert_refused("cut.safetensors", safetensors_io.read_file, path)


class BadIndexTest(FolderTest):

  def _index(self, weight_map):
    (self.folder / safetensors_io.INDEX_NAME).write_text(json.dumps({"weight_map": weight_map}))

  def test_names_that_leave_the_folder(self):
    for name in ("../x.safetensors", "/etc/passwd", "a/b.safetensors", ".hidden", "", 3, None):
      with self.subTest(name):
        self._index({"w": name})
        self.assert_refused("a file of this folder", safetensors_io.read_folder, self.folder)

  def test_missing_shard(self):
    self._index({"w": "model-1.safetensors"})
    self.assert_refused("model-1.safetensors", safetensors_io.read_folder, self.folder)

  def test_tensor_in_no_shard_and_in_the_wrong_one(self):
    save_file({"a": np.zeros(2, "<f4")}, self.folder / "one.safetensors")
    self._index({"a": "one.safetensors", "b": "one.safetensors"})
    self.assert_refused("b is in no shard", safetensors_io.read_folder, self.folder)
    save_file({"a": np.zeros(2, "<f4")}, self.folder / "two.safetensors")
    self._index({"a": "one.safetensors", "b": "two.safetensors"})
    self.assert_refused("two.safetensors: holds a", safetensors_io.read_folder, self.folder)

  def test_empty_weight_map(self):
    self._index({})
    self.assert_refused("no weight_map", safetensors_io.read_folder, self.folder)


if __name__ == "__main__":
  unittest.main()
