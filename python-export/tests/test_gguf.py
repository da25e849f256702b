"""The GGUF reader and writer: round trips, limits, truncated and hostile files."""

import io
import struct
import unittest

import numpy as np

from tests.support import FolderTest
from sluice_export import gguf_format as gguf
from sluice_export import gguf_writer
from sluice_export.gguf_reader import GgufFile
from sluice_export.errors import ExportError
from sluice_export.tensor import from_array

METADATA = {
    "general.architecture": gguf.string("llama"),
    "general.name": gguf.string("größe 世界"),
    "a.u8": gguf.Value(gguf.UINT8, 200),
    "a.i8": gguf.Value(gguf.INT8, -100),
    "a.u16": gguf.Value(gguf.UINT16, 60000),
    "a.i16": gguf.Value(gguf.INT16, -30000),
    "a.u32": gguf.uint32(4_000_000_000),
    "a.i32": gguf.Value(gguf.INT32, -2_000_000_000),
    "a.u64": gguf.Value(gguf.UINT64, 1 << 63),
    "a.i64": gguf.Value(gguf.INT64, -(1 << 62)),
    "a.f32": gguf.float32(0.5),
    "a.f64": gguf.Value(gguf.FLOAT64, 0.1),
    "a.bool": gguf.boolean(True),
    "a.strings": gguf.strings(["a", "", "世"]),
    "a.numbers": gguf.int32s([1, -2, 3]),
    "a.empty": gguf.strings([]),
}


def _write(path, metadata, tensors):
  with open(path, "wb") as file:
    gguf_writer.write(file, metadata, tensors)
  return path


def _tensors():
  return [
      from_array("one", "F32", np.arange(5, dtype="<f4")),
      from_array("two", "BF16", np.arange(6, dtype="<u2").reshape(2, 3)),
      from_array("three", "F16", np.ones((2, 2, 2), dtype="<f2")),
  ]


class RoundTripTest(FolderTest):

  def test_metadata_and_tensors_come_back(self):
    path = _write(self.folder / "x.gguf", METADATA, _tensors())
    file = GgufFile(path)
    self.assertEqual(list(file.metadata), list(METADATA))
    for key, value in METADATA.items():
      with self.subTest(key):
        read = file.metadata[key]
        self.assertEqual((read.type, read.item_type), (value.type, value.item_type))
        self.assertEqual(list(read.value) if value.type == gguf.ARRAY else read.value,
                         list(value.value) if value.type == gguf.ARRAY else value.value)
    for read, written in zip(file.tensors(), _tensors()):
      self.assertEqual((read.name, read.dtype, read.shape),
                       (written.name, written.dtype, written.shape))
      np.testing.assert_array_equal(read.load(), written.load())

  def test_size_is_known_before_writing(self):
    path = _write(self.folder / "x.gguf", METADATA, _tensors())
    self.assertEqual(path.stat().st_size, gguf_writer.file_size(METADATA, _tensors()))

  def test_layout_by_hand(self):
    file = io.BytesIO()
    gguf_writer.write(file, {"k": gguf.uint32(7)}, [from_array("t", "F32", [[1.0, 2.0]])])
    expected = (b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
                + struct.pack("<Q", 1) + b"k" + struct.pack("<II", gguf.UINT32, 7)
                + struct.pack("<Q", 1) + b"t" + struct.pack("<IQQIQ", 2, 2, 1, 0, 0))
    expected += bytes(-len(expected) % 32) + struct.pack("<2f", 1, 2) + bytes(24)
    self.assertEqual(file.getvalue(), expected)

  def test_version_2_is_read(self):
    path = _write(self.folder / "x.gguf", METADATA, _tensors())
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", 2)
    path.write_bytes(data)
    self.assertEqual(len(GgufFile(path).tensors()), 3)

  def test_writer_refuses(self):
    write = lambda metadata, tensors: gguf_writer.write(io.BytesIO(), metadata, tensors)
    self.assert_refused("I64", write, {}, [from_array("t", "I64", [1])])
    self.assert_refused("too long", write, {}, [from_array("t" * 64, "F32", [1])])
    self.assert_refused("0 dimensions", write, {}, [from_array("t", "F32", 1.0)])
    self.assert_refused("4294967295", write, {"k": gguf.uint32(1 << 32)}, [])
    self.assert_refused("general.alignment", write, {"general.alignment": gguf.uint32(64)}, [])


def _string(text):
  data = text if isinstance(text, bytes) else text.encode()
  return struct.pack("<Q", len(data)) + data


def _key(key, kind, data):
  return _string(key) + struct.pack("<I", kind) + data


def _info(name="t", shape=(4,), kind=0, offset=0):
  return (_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
          + struct.pack("<IQ", kind, offset))


def _gguf(keys=(), infos=(), data=b"", version=3, magic=b"GGUF", counts=None):
  tensor_count, key_count = counts or (len(infos), len(keys))
  head = magic + struct.pack("<IQQ", version, tensor_count, key_count)
  head += b"".join(keys) + b"".join(infos)
  return head + bytes(-len(head) % 32) + data


_MANY = (1 << 64) - 1


class BadFileTest(FolderTest):

  CASES = {
      "empty": (b"", "magic"),
      "magic": (_gguf(magic=b"GGML"), "GGML"),
      "version 1": (_gguf(version=1), "version 1"),
      "version 4": (_gguf(version=4), "version 4"),
      "big-endian": (_gguf(version=3 << 24), "big-endian"),
      "too many tensors": (_gguf(counts=(100_001, 0)), "100001 tensors"),
      "2^64 - 1 tensors": (_gguf(counts=(_MANY, 0)), "tensors"),
      "too many keys": (_gguf(counts=(0, 100_001)), "100001 metadata keys"),
      "fewer keys than said": (_gguf(counts=(0, 3)), ""),
      "empty key": (_gguf([_key("", 4, b"0000")]), "empty metadata key"),
      "long key": (_gguf([_key("k" * 65536, 4, b"0000")]), "65536 bytes"),
      "key twice": (_gguf([_key("k", 4, b"0000")] * 2), "twice"),
      "key past the end": (_gguf([struct.pack("<Q", 60000)], counts=(0, 1)), "left in the file"),
      "string of 2^64 - 1": (_gguf([_key("k", 8, struct.pack("<Q", _MANY))]), "left in the file"),
      "string of invalid UTF-8": (_gguf([_key("k", 8, _string(b"\xff"))]), "UTF-8"),
      "value type": (_gguf([_key("k", 13, b"0000")]), "type 13"),
      "boolean of 2": (_gguf([_key("k", 7, b"\2")]), "boolean"),
      "array of arrays": (_gguf([_key("k", 9, struct.pack("<IQ", 9, 1))]), "type 9"),
      "array of 2^62 numbers": (
          _gguf([_key("k", 9, struct.pack("<IQ", 4, 1 << 62))]), "left in the file"),
      "array of 2^62 strings": (
          _gguf([_key("k", 9, struct.pack("<IQ", 8, 1 << 62))]), "do not fit"),
      "alignment 0": (_gguf([_key("general.alignment", 4, struct.pack("<I", 0))]), "alignment"),
      "alignment 24": (_gguf([_key("general.alignment", 4, struct.pack("<I", 24))]), "alignment"),
      "alignment as text": (_gguf([_key("general.alignment", 8, _string("32"))]), "alignment"),
      "alignment 2^31": (
          _gguf([_key("general.alignment", 4, struct.pack("<I", 1 << 31))]), "alignment"),
      "empty tensor name": (_gguf(infos=[_info("")], data=bytes(16)), "empty tensor name"),
      "long tensor name": (_gguf(infos=[_info("t" * 64)], data=bytes(16)), "64 bytes"),
      "no dimensions": (_gguf(infos=[_info(shape=())], data=bytes(16)), "0 dimensions"),
      "five dimensions": (_gguf(infos=[_info(shape=(1,) * 5)], data=bytes(16)), "5 dimensions"),
      "size 0": (_gguf(infos=[_info(shape=(0,))], data=bytes(16)), "at least 1"),
      "sizes that overflow": (
          _gguf(infos=[_info(shape=(1 << 63, 1 << 63, 4))], data=bytes(16)), "ends at byte"),
      "size 2^64 - 1": (_gguf(infos=[_info(shape=(_MANY,))], data=bytes(16)), "ends at byte"),
      "offset past the end": (
          _gguf(infos=[_info(offset=1 << 40)], data=bytes(16)), "ends at byte"),
      "offset that overflows": (
          _gguf(infos=[_info(offset=_MANY - 31)], data=bytes(16)), "ends at byte"),
      "crooked offset": (_gguf(infos=[_info(offset=4)], data=bytes(64)), "multiple of 32"),
      "unknown tensor type": (_gguf(infos=[_info(kind=99)], data=bytes(16)), "99"),
      "type that is not decoded": (_gguf(infos=[_info(kind=10)], data=bytes(84)), "Q2_K"),
      "removed type": (_gguf(infos=[_info(kind=4)], data=bytes(84)), "4 is not supported"),
      "row that is no whole block": (
          _gguf(infos=[_info(shape=(48,), kind=8)], data=bytes(51)), "multiple of 32"),
      "row that is no whole super-block": (
          _gguf(infos=[_info(shape=(128, 2), kind=12)], data=bytes(144)), "multiple of 256"),
      "tensor twice": (_gguf(infos=[_info(), _info(offset=32)], data=bytes(64)), "twice"),
      "overlap": (_gguf(infos=[_info("a", (16,)), _info("b", (16,), offset=32)],
                        data=bytes(96)), "overlap"),
      "truncated data": (_gguf(infos=[_info()], data=bytes(15)), "ends at byte"),
  }

  def test_each_rule(self):
    for name, (data, word) in self.CASES.items():
      with self.subTest(name):
        path = self.folder / "bad.gguf"
        path.write_bytes(data)
        message = self.assert_refused(word, GgufFile, path)
        self.assertTrue(message.startswith("bad.gguf"), message)

  def test_every_truncation_is_refused(self):
    whole = _write(self.folder / "x.gguf", METADATA, _tensors()).read_bytes()
    path = self.folder / "cut.gguf"
    # The last tensor has 16 bytes, then padding that a reader does not need.
    for size in range(len(whole) - 16):
      path.write_bytes(whole[:size])
      self.assert_refused("cut.gguf", GgufFile, path)

  def test_changed_bytes_never_end_otherwise(self):
    whole = _write(self.folder / "x.gguf", METADATA, _tensors()).read_bytes()
    path = self.folder / "changed.gguf"
    random = np.random.default_rng(11)
    header = len(gguf_writer.header_bytes(METADATA, _tensors()))
    refused = 0
    for _ in range(3000):
      data = bytearray(whole)
      for _ in range(random.integers(1, 4)):
        data[random.integers(header)] = random.choice([0, 1, 7, 255, random.integers(256)])
      path.write_bytes(data)
      try:
        for tensor in GgufFile(path).tensors():
          tensor.load()
      except ExportError:
        refused += 1
    self.assertGreater(refused, 500)

  def test_file_that_shrinks_after_the_check(self):
    path = _write(self.folder / "x.gguf", METADATA, _tensors())
    tensors = GgufFile(path).tensors()
    path.write_bytes(path.read_bytes()[:-64])
    self.assert_refused("ends early", tensors[-1].load)


if __name__ == "__main__":
  unittest.main()
