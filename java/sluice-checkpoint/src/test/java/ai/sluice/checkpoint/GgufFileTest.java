package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.GgufBytes.ARRAY;
import static ai.sluice.checkpoint.GgufBytes.BOOL;
import static ai.sluice.checkpoint.GgufBytes.I8;
import static ai.sluice.checkpoint.GgufBytes.STRING;
import static ai.sluice.checkpoint.GgufBytes.U32;
import static ai.sluice.checkpoint.GgufBytes.U64;
import static ai.sluice.checkpoint.GgufBytes.U8;
import static ai.sluice.checkpoint.GgufBytes.join;
import static ai.sluice.checkpoint.GgufBytes.text;
import static ai.sluice.checkpoint.GgufBytes.u32;
import static ai.sluice.checkpoint.GgufBytes.u64;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class GgufFileTest {
  @TempDir Path folder;

  /** A bad file and the text that its refusal must contain. */
  record Bad(String rule, byte[] bytes, String text) {
    @Override
    public String toString() {
      return rule;
    }
  }

  private static GgufBytes gguf() {
    return new GgufBytes();
  }

  private static Bad key(String rule, long type, byte[] value, String text) {
    return new Bad(rule, gguf().key("k", type, value).bytes(), text);
  }

  private static Bad tensor(String rule, long type, long offset, long[] dims, String text) {
    return new Bad(rule, gguf().tensor("t", type, offset, dims).data(new byte[1024]).bytes(), text);
  }

  private static long[] dims(long... dims) {
    return dims;
  }

  static Stream<Bad> badFiles() {
    byte[] good = gguf().key("a", "text").key("b", 7).add("t", DType.F32, 0, 4).bytes();
    byte[] many = gguf().header("GGUF", 3, 0, 0);
    return Stream.of(
        new Bad("empty file", new byte[0], "needs 1 bytes at byte 0"),
        new Bad("three bytes", new byte[] {'G', 'G', 'U'}, "needs 1 bytes at byte 3"),
        new Bad("other magic", gguf().header("GGML", 3, 0, 0), "does not begin with GGUF"),
        new Bad("version 0", gguf().header("GGUF", 0, 0, 0), "GGUF version 0 (expected: 2 or 3"),
        new Bad("version 1", gguf().header("GGUF", 1, 0, 0), "GGUF version 1 (expected: 2 or 3"),
        new Bad("version 4", gguf().header("GGUF", 4, 0, 0), "GGUF version 4 (expected: 2 or 3"),
        new Bad("big-endian", gguf().header("GGUF", 0x03000000, 0, 0), "big-endian"),
        new Bad("ends after version", Arrays.copyOf(many, 8), "needs 8 bytes at byte 8"),
        new Bad("ends after counts", gguf().header("GGUF", 3, 0, 1), "needs 8 bytes at byte 24"),
        new Bad(
            "too many tensors",
            gguf().header("GGUF", 3, 100_001, 0),
            "number of tensors: 100001 (expected: at most 100000"),
        new Bad(
            "negative tensors",
            gguf().header("GGUF", 3, -1, 0),
            "number of tensors: 18446744073709551615"),
        new Bad(
            "too many keys",
            gguf().header("GGUF", 3, 0, 100_001),
            "number of keys: 100001 (expected: at most 100000"),
        new Bad(
            "negative keys",
            gguf().header("GGUF", 3, 0, Long.MIN_VALUE),
            "number of keys: 9223372036854775808"),
        new Bad("tensor missing", gguf().header("GGUF", 3, 1, 0), "tensor 0: needs 8 bytes"),
        new Bad("empty key", gguf().key("", U8, new byte[1]).bytes(), "key 0: is empty"),
        new Bad(
            "long key",
            gguf().key("k".repeat(65_536), U8, new byte[1]).bytes(),
            "key: 65536 (expected: at most 65535"),
        new Bad(
            "key length 2^63",
            gguf().rawKey(u64(Long.MIN_VALUE), U8, new byte[1]).bytes(),
            "key: 9223372036854775808 (expected: at most 65535"),
        new Bad(
            "key beyond the file",
            gguf().rawKey(u64(60_000), U8, new byte[1]).bytes(),
            "needs 60000 bytes"),
        new Bad(
            "key not UTF-8",
            gguf().rawKey(join(u64(1), new byte[] {(byte) 0x80}), U8, new byte[1]).bytes(),
            "key is not UTF-8"),
        new Bad("key twice", gguf().key("a", 1).key("a", 1).bytes(), "a: present twice"),
        key("unknown value type", 13, new byte[8], "k: value type: 13 (expected: 0 to 12)"),
        key("negative value type", -1, new byte[8], "value type: 4294967295"),
        key("text beyond the file", STRING, u64(1000), "k: needs 1000 bytes"),
        key(
            "text of 2^63 bytes",
            STRING,
            u64(Long.MIN_VALUE),
            "length of the text: 9223372036854775808"),
        key("text of 2^64-1 bytes", STRING, u64(-1), "length of the text: 18446744073709551615"),
        key("text not UTF-8", STRING, join(u64(2), new byte[] {(byte) 0xc3, 'x'}), "is not UTF-8"),
        key("truth value 2", BOOL, new byte[] {2}, "truth value: 2 (expected: 0 or 1)"),
        key("unsigned above 2^63", U64, u64(-1), "k: 18446744073709551615 (expected: at most"),
        key(
            "array of arrays",
            ARRAY,
            join(u32(ARRAY), u64(1), u32(U8), u64(0)),
            "an array of arrays"),
        key("array of unknown type", ARRAY, join(u32(99), u64(1)), "value type: 99"),
        key(
            "array beyond the file",
            ARRAY,
            join(u32(U32), u64(100)),
            "array length: 100 (expected: at most"),
        key(
            "array of 2^61 numbers",
            ARRAY,
            join(u32(U64), u64(1L << 61)),
            "array length: 2305843009213693952"),
        key(
            "array of -1 bytes",
            ARRAY,
            join(u32(U8), u64(-1)),
            "array length: 18446744073709551615"),
        key("texts beyond the file", ARRAY, join(u32(STRING), u64(100)), "array length: 100"),
        key(
            "texts whose length lies",
            ARRAY,
            join(u32(STRING), u64(1), u64(1L << 40)),
            "length of a text: 1099511627776"),
        key(
            "truth values 0 1 3",
            ARRAY,
            join(u32(BOOL), u64(3), new byte[] {0, 1, 3}),
            "truth value: 3"),
        new Bad(
            "alignment 0",
            gguf().key("general.alignment", 0).bytes(),
            "general.alignment: 0 (expected: a power of two"),
        new Bad(
            "alignment 24",
            gguf().key("general.alignment", 24).bytes(),
            "general.alignment: 24 (expected: a power of two"),
        new Bad(
            "alignment 2^31",
            gguf().key("general.alignment", 1 << 31).bytes(),
            "general.alignment: 2147483648"),
        new Bad(
            "negative alignment",
            gguf().key("general.alignment", I8, new byte[] {-32}).bytes(),
            "general.alignment: -32"),
        new Bad(
            "alignment is a text",
            gguf().key("general.alignment", "32").bytes(),
            "general.alignment: 32 (expected: an integer"),
        new Bad(
            "empty name",
            gguf().tensor("", 0, 0, 4).data(new byte[64]).bytes(),
            "tensor 0: name is empty"),
        new Bad(
            "long name",
            gguf().tensor("n".repeat(64), 0, 0, 4).data(new byte[64]).bytes(),
            "name: 64 (expected: at most 63"),
        new Bad(
            "name not UTF-8",
            gguf().rawTensor(join(u64(1), new byte[] {(byte) 0xff}), 1, dims(4), 0, 0).bytes(),
            "name is not UTF-8"),
        new Bad(
            "name twice",
            gguf().tensor("t", 0, 0, 4).tensor("t", 0, 32, 4).data(new byte[64]).bytes(),
            "t: listed twice"),
        new Bad(
            "no dimension",
            gguf().rawTensor(text("t"), 0, dims(), 0, 0).bytes(),
            "number of dimensions: 0 (expected: 1 to 4)"),
        new Bad(
            "5 dimensions",
            gguf().rawTensor(text("t"), 5, dims(1, 1, 1, 1, 1), 0, 0).bytes(),
            "number of dimensions: 5"),
        new Bad(
            "2^32-1 dimensions",
            gguf().rawTensor(text("t"), -1, dims(1), 0, 0).bytes(),
            "number of dimensions: 4294967295"),
        tensor("dimension 0", 0, 0, dims(4, 0), "t: dimension 1: 0 (expected: 1 to"),
        tensor("dimension 2^63", 0, 0, dims(Long.MIN_VALUE), "dimension 0: 9223372036854775808"),
        tensor("dimension -1", 0, 0, dims(-1), "dimension 0: 18446744073709551615"),
        tensor("shape overflows", 0, 0, dims(1L << 32, 1L << 32), "overflows"),
        tensor("bytes overflow", 0, 0, dims(1L << 62), "overflows"),
        tensor("bytes wrap to a small size", 0, 0, dims(1L << 61, 2, 2, 2), "overflows"),
        tensor("unknown tensor type", 99, 0, dims(32), "t: tensor type: 99"),
        tensor("removed tensor type 4", 4, 0, dims(32), "t: tensor type: 4"),
        tensor("removed tensor type 31", 31, 0, dims(32), "t: tensor type: 31"),
        tensor("negative tensor type", -1, 0, dims(32), "t: tensor type: 4294967295"),
        tensor("half a block", 2, 0, dims(48, 2), "rows of 48 values (expected: a multiple of 32)"),
        tensor("half a super-block", 12, 0, dims(128, 2), "expected: a multiple of 256"),
        tensor("offset not aligned", 0, 16, dims(4), "offset: 16 (expected: a multiple of 32"),
        tensor("negative offset", 0, -32, dims(4), "offset: 18446744073709551584"),
        tensor("offset past the end", 0, 4096, dims(4), "16 bytes at offset 4096"),
        tensor("offset 2^63-32", 0, Long.MAX_VALUE - 31, dims(4), "of the data (expected: inside"),
        tensor("tensor past the end", 0, 0, dims(512), "2048 bytes at offset 0"),
        tensor("exabytes", 0, 0, dims(1L << 60), "4611686018427387904 bytes at offset 0"),
        new Bad("no data at all", gguf().tensor("t", 0, 0, 1).header(), "inside its 0 bytes"),
        new Bad(
            "tensors overlap",
            gguf().tensor("a", 0, 0, 16).tensor("b", 0, 32, 4).data(new byte[96]).bytes(),
            "b: begins at byte"),
        new Bad(
            "tensors on one range",
            gguf().tensor("a", 0, 0, 4).tensor("b", 0, 0, 4).data(new byte[96]).bytes(),
            "inside a, which ends at"),
        new Bad("data cut", Arrays.copyOf(good, good.length - 17), "may be truncated"),
        new Bad("header cut", Arrays.copyOf(good, 60), "may be truncated"));
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void refusesEachBrokenRule(Bad bad) {
    Path file = SafetensorsBytes.write(folder.resolve("bad.gguf"), bad.bytes());
    SluiceException e = assertThrows(SluiceException.class, () -> GgufFile.open(file));
    assertTrue(
        e instanceof CheckpointFormatException || e instanceof UnsupportedModelException,
        e.toString());
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    assertTrue(e.getMessage().contains(bad.text()), e.getMessage());
  }

  @Test
  void readsMetadataOfEveryTypeAndTensors() {
    byte[] bytes =
        gguf()
            .key("general.alignment", 64)
            .key("u8", U8, new byte[] {(byte) 200})
            .key("i8", I8, new byte[] {-3})
            .key("u16", 2, new byte[] {(byte) 0xff, (byte) 0xff})
            .key("i16", 3, new byte[] {-2, -1})
            .key("u32", U32, u32(-1))
            .key("i32", 5, u32(-5))
            .key("f32", 0.5f)
            .key("true", true)
            .key("text", "h\u00e9llo")
            .key("u64", U64, u64(Long.MAX_VALUE))
            .key("i64", 11, u64(-7))
            .key("f64", 12, u64(Double.doubleToLongBits(0.1)))
            .key("texts", new String[] {"a", "", "\u4e2d"})
            .key("numbers", ARRAY, join(u32(GgufBytes.I32), u64(2), u32(-1), u32(9)))
            .key("floats", ARRAY, join(u32(GgufBytes.F32), u64(1), GgufBytes.f32(1.5f)))
            .key("none", ARRAY, join(u32(U8), u64(0)))
            .tensor("q", 8, 0, 64, 3)
            .tensor("f", 0, 256, 5)
            .data(new byte[276])
            .bytes();
    // bytes() pads to 32; the data must start at a multiple of 64 here.
    Path file = SafetensorsBytes.write(folder.resolve("good.gguf"), alignTo64(bytes));
    GgufFile gguf = GgufFile.open(file);
    GgufMetadata metadata = gguf.metadata();
    assertEquals(3, gguf.version());
    assertEquals(17, metadata.keys().size());
    assertEquals(200, metadata.integer("u8").orElseThrow());
    assertEquals(-3, metadata.integer("i8").orElseThrow());
    assertEquals(65_535, metadata.integer("u16").orElseThrow());
    assertEquals(-2, metadata.integer("i16").orElseThrow());
    assertEquals(4_294_967_295L, metadata.integer("u32").orElseThrow());
    assertEquals(-5, metadata.integer("i32").orElseThrow());
    assertEquals(0.5, metadata.number("f32").orElseThrow());
    assertEquals(200.0, metadata.number("u8").orElseThrow());
    assertEquals(true, metadata.bool("true").orElseThrow());
    assertEquals("h\u00e9llo", metadata.string("text").orElseThrow());
    assertEquals(Long.MAX_VALUE, metadata.integer("u64").orElseThrow());
    assertEquals(-7, metadata.integer("i64").orElseThrow());
    assertEquals(0.1, metadata.number("f64").orElseThrow());
    assertEquals(List.of("a", "", "\u4e2d"), metadata.strings("texts").orElseThrow());
    assertEquals(List.of(-1L, 9L), metadata.integers("numbers").orElseThrow());
    assertEquals(List.of(1.5f), metadata.floats("floats").orElseThrow());
    assertEquals(List.of(), metadata.integers("none").orElseThrow());
    assertTrue(metadata.string("absent").isEmpty());
    TensorInfo q = gguf.tensors().get("q");
    assertEquals(List.of(3L, 64L), q.shape());
    assertEquals(DType.Q8_0, q.dtype());
    assertEquals(3 * 2 * 34, q.byteLength());
    assertEquals(0, q.offset() % 64);
    assertEquals(q.offset() + 256, gguf.tensors().get("f").offset());

    CheckpointFormatException wrong =
        assertThrows(CheckpointFormatException.class, () -> metadata.integer("text"));
    assertTrue(
        wrong.getMessage().endsWith("text: h\u00e9llo (expected: an integer below 2^63)"),
        wrong.getMessage());
    assertThrows(CheckpointFormatException.class, () -> metadata.strings("numbers"));
    assertThrows(CheckpointFormatException.class, () -> metadata.integers("floats"));
    assertThrows(CheckpointFormatException.class, () -> metadata.floats("numbers"));
    assertEquals("an array of 2 int32", metadata.describe("numbers"));
  }

  private static byte[] alignTo64(byte[] bytes) {
    int dataBytes = 276;
    int header = bytes.length - dataBytes;
    // The header proper ends within the last 32 bytes of padding, so padding to 64 keeps it whole.
    int padded = (header + 63) / 64 * 64;
    byte[] out = Arrays.copyOf(bytes, padded + dataBytes);
    Arrays.fill(out, header, padded, (byte) 0);
    System.arraycopy(bytes, header, out, padded, dataBytes);
    return out;
  }

  @Test
  void anEntryThatIsNotUtf8FailsWhenItIsRead() {
    byte[] value = join(u32(STRING), u64(2), text("ok"), u64(1), new byte[] {(byte) 0xff});
    Path file = SafetensorsBytes.write(folder.resolve("g"), gguf().key("k", ARRAY, value).bytes());
    List<String> texts = GgufFile.open(file).metadata().strings("k").orElseThrow();
    assertEquals("ok", texts.get(0));
    CheckpointFormatException e = assertThrows(CheckpointFormatException.class, () -> texts.get(1));
    assertTrue(e.getMessage().endsWith("k: entry 1 is not UTF-8"), e.getMessage());
  }

  @Test
  void aHeaderBeyondTheCapCostsNothing() throws IOException {
    // A file large enough to back the claim: only the cap on headers is in the way.
    byte[] header = join(gguf().header("GGUF", 3, 0, 1), text("k"), u32(STRING), u64(150_000_000));
    Path file = SafetensorsBytes.write(folder.resolve("g"), header);
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(200_000_000);
    }
    long before = Allocation.bytes();
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> GgufFile.open(file));
    long allocated = Allocation.bytes() - before;
    assertTrue(e.getMessage().contains("what is left of the header's 100000000"), e.getMessage());
    assertTrue(allocated < 16 << 20, "allocated " + allocated);
  }

  @Test
  void readsTextsLongerThanItsBuffer() {
    String big = "x".repeat(700_000);
    Path file =
        SafetensorsBytes.write(
            folder.resolve("g"),
            gguf().key("a", big).key("b", new String[] {"s", big, "t"}).key("c", 5).bytes());
    GgufMetadata metadata = GgufFile.open(file).metadata();
    assertEquals(big, metadata.string("a").orElseThrow());
    assertEquals(List.of("s", big, "t"), metadata.strings("b").orElseThrow());
    assertEquals(5, metadata.integer("c").orElseThrow());
  }

  @ParameterizedTest
  @CsvSource({
    "F32,0,1,4",
    "F16,1,1,2",
    "Q4_0,2,32,18",
    "Q4_1,3,32,20",
    "Q5_0,6,32,22",
    "Q5_1,7,32,24",
    "Q8_0,8,32,34",
    "Q4_K,12,256,144",
    "Q5_K,13,256,176",
    "Q6_K,14,256,210",
    "BF16,30,1,2",
    "MXFP4,39,32,17"
  })
  void knowsTheBlocks(DType dtype, int id, int elements, int bytes) {
    Path file =
        SafetensorsBytes.write(folder.resolve("g"), gguf().add("t", dtype, id, 2, 512).bytes());
    TensorInfo tensor = GgufFile.open(file).tensors().get("t");
    assertEquals(dtype, tensor.dtype());
    assertEquals(1024L / elements * bytes, tensor.byteLength());
  }
}
