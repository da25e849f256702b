package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class SafetensorsFileTest {
  @TempDir Path folder;

  /** A bad file, the item that the exception must name ("" for none), and part of its text. */
  record Bad(String rule, byte[] bytes, String item, String text) {
    @Override
    public String toString() {
      return rule;
    }
  }

  private static String entry(String name, String dtype, String shape, String offsets) {
    return "\""
        + name
        + "\":{\"dtype\":\""
        + dtype
        + "\",\"shape\":"
        + shape
        + ",\"data_offsets\":"
        + offsets
        + "}";
  }

  private static Bad header(String rule, String header, int dataBytes, String item, String text) {
    return new Bad(rule, SafetensorsBytes.of(header, dataBytes), item, text);
  }

  private static Bad tensor(
      String rule, String dtype, String shape, String offsets, int dataBytes, String text) {
    return header(rule, "{" + entry("t", dtype, shape, offsets) + "}", dataBytes, "t", text);
  }

  static Stream<Bad> badFiles() {
    byte[] empty = "{}".getBytes(StandardCharsets.UTF_8);
    String two = entry("a", "U8", "[4]", "[0,4]");
    return Stream.of(
        new Bad("empty file", new byte[0], "", "0 bytes (expected: at least 8"),
        new Bad("7 bytes", new byte[7], "", "7 bytes (expected: at least 8"),
        new Bad("header length 0", new byte[8], "", "header is nothing"),
        new Bad(
            "length above the cap",
            SafetensorsBytes.withLength(100_000_001, empty, 0),
            "",
            "100000001 (expected: at most 100000000"),
        new Bad(
            "length 2^63",
            SafetensorsBytes.withLength(Long.MIN_VALUE, empty, 0),
            "",
            "9223372036854775808"),
        new Bad(
            "length 2^64-1", SafetensorsBytes.withLength(-1, empty, 0), "", "18446744073709551615"),
        new Bad(
            "length beyond the file",
            SafetensorsBytes.withLength(3, empty, 0),
            "",
            "header length: 3 (expected: at most 2"),
        new Bad(
            "not UTF-8",
            SafetensorsBytes.of(new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'}, 0),
            "",
            "not UTF-8"),
        new Bad(
            "overlong UTF-8",
            SafetensorsBytes.of(
                new byte[] {'{', '"', (byte) 0xc0, (byte) 0x80, '"', ':', '1', '}'}, 0),
            "",
            "not UTF-8"),
        new Bad(
            "UTF-16",
            SafetensorsBytes.of("{}".getBytes(StandardCharsets.UTF_16LE), 0),
            "",
            "not valid JSON"),
        new Bad("NUL after the object", SafetensorsBytes.of("{}\0", 0), "", "not valid JSON"),
        header("byte order mark", "\ufeff{}", 0, "", "not valid JSON"),
        header("only white space", "    ", 0, "", "header is nothing"),
        header("cut JSON", "{\"a\":{\"dtype\":\"F32\"", 0, "", "not valid JSON"),
        header("array header", "[]", 0, "", "header is an array"),
        header("text header", "\"x\"", 0, "", "header is a text"),
        header("two objects", "{}{}", 0, "", "text after the header's object"),
        header("comment", "{/* */}", 0, "", "not valid JSON"),
        header("single quotes", "{'a':1}", 0, "", "not valid JSON"),
        header("NaN", "{\"a\":NaN}", 0, "", "not valid JSON"),
        header("too deep", "{" + entry("t", "U8", "[[1]]", "[0,1]") + "}", 1, "", "not valid JSON"),
        header("very deep", "{\"a\":" + "[".repeat(100_000), 0, "a", "entry is an array"),
        header("duplicate tensor", "{" + two + "," + two + "}", 4, "", "not valid JSON: Duplicate"),
        header(
            "duplicate key in a tensor",
            "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            1,
            "",
            "not valid JSON: Duplicate"),
        header(
            "duplicate metadata",
            "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}",
            0,
            "",
            "not valid JSON: Duplicate"),
        header("metadata array", "{\"__metadata__\":[]}", 0, "__metadata__", "is an array"),
        header(
            "metadata number",
            "{\"__metadata__\":{\"a\":1}}",
            0,
            "__metadata__",
            "a is a whole number (expected: a text)"),
        header(
            "metadata object",
            "{\"__metadata__\":{\"a\":{}}}",
            0,
            "__metadata__",
            "a is an object"),
        header("metadata null", "{\"__metadata__\":null}", 0, "__metadata__", "is null"),
        header("tensor is a number", "{\"t\":1}", 0, "t", "entry is a whole number"),
        header("tensor is null", "{\"t\":null}", 0, "t", "entry is null"),
        header("tensor is an array", "{\"t\":[]}", 0, "t", "entry is an array"),
        header(
            "no dtype",
            "{\"t\":{\"shape\":[],\"data_offsets\":[0,1]}}",
            1,
            "t",
            "dtype is missing"),
        header(
            "no shape",
            "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}",
            1,
            "t",
            "shape is missing"),
        header(
            "no offsets",
            "{\"t\":{\"dtype\":\"U8\",\"shape\":[]}}",
            1,
            "t",
            "data_offsets is missing"),
        header(
            "unknown key",
            "{\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}",
            1,
            "t",
            "unknown key x"),
        tensor("unknown dtype", "F31", "[1]", "[0,4]", 4, "dtype: F31"),
        tensor("dtype of GGUF", "Q4_0", "[32]", "[0,18]", 18, "dtype: Q4_0"),
        tensor("lower case dtype", "f32", "[1]", "[0,4]", 4, "dtype: f32"),
        header(
            "dtype is a number",
            "{\"t\":{\"dtype\":0,\"shape\":[],\"data_offsets\":[0,4]}}",
            4,
            "t",
            "dtype is a whole number"),
        tensor("shape is a number", "U8", "4", "[0,4]", 4, "shape is a whole number"),
        tensor("shape is null", "U8", "null", "[0,4]", 4, "shape is null"),
        tensor("dimension is a text", "U8", "[\"4\"]", "[0,4]", 4, "shape[0] is a text"),
        tensor(
            "dimension has a fraction",
            "U8",
            "[4.0]",
            "[0,4]",
            4,
            "shape[0] is a number with a fraction"),
        tensor("dimension with exponent", "U8", "[4e0]", "[0,4]", 4, "with a fraction"),
        tensor("negative dimension", "U8", "[2,-4]", "[0,4]", 4, "shape[1]: -4 (expected: 0 to"),
        tensor(
            "dimension 2^64",
            "U8",
            "[18446744073709551616]",
            "[0,4]",
            4,
            "shape[0]: 18446744073709551616"),
        tensor("shape overflows", "U8", "[4294967296,4294967296]", "[0,4]", 4, "overflows"),
        tensor("bytes overflow", "F32", "[4611686018427387904]", "[0,4]", 4, "overflows"),
        tensor(
            "65 dimensions",
            "U8",
            IntStream.range(0, 65).mapToObj(i -> "1").collect(Collectors.joining(",", "[", "]")),
            "[0,1]",
            1,
            "more than 64"),
        tensor("half a byte", "F4", "[3]", "[0,2]", 2, "end inside a byte"),
        tensor("quarter of 3 bytes", "F6_E2M3", "[6]", "[0,5]", 5, "end inside a byte"),
        tensor("one offset", "U8", "[1]", "[1]", 1, "expected: 2 numbers"),
        tensor("three offsets", "U8", "[1]", "[0,1,2]", 1, "more than 2 numbers"),
        tensor("no offset", "U8", "[1]", "[]", 1, "expected: 2 numbers"),
        tensor("negative offset", "U8", "[1]", "[-1,0]", 1, "data_offsets[0]: -1"),
        tensor("end before begin", "U8", "[1]", "[1,0]", 1, "end not before begin"),
        tensor(
            "offset above 2^63",
            "U8",
            "[1]",
            "[0,9223372036854775808]",
            1,
            "data_offsets[1]: 9223372036854775808"),
        tensor("too few bytes", "F32", "[2]", "[0,4]", 4, "span 4 bytes (expected: 8 for F32 [2])"),
        tensor("too many bytes", "F32", "[1]", "[0,8]", 8, "span 8 bytes (expected: 4"),
        tensor("hole in front", "U8", "[1]", "[1,2]", 2, "hole of 1 bytes after the data's start"),
        header(
            "hole between",
            "{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("b", "U8", "[1]", "[2,3]") + "}",
            3,
            "b",
            "hole of 1 bytes after a"),
        header(
            "overlap",
            "{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[1,3]") + "}",
            3,
            "b",
            "overlaps a"),
        header(
            "same range twice",
            "{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[0,2]") + "}",
            2,
            "b",
            "overlaps a"),
        header(
            "empty tensor inside another",
            "{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[0]", "[1,1]") + "}",
            2,
            "b",
            "overlaps a"),
        tensor("data cut", "U8", "[4]", "[0,4]", 3, "tensors end at byte 4 of the data"),
        tensor("data longer", "U8", "[4]", "[0,4]", 5, "belong to no tensor"),
        header("data without tensors", "{}", 1, "", "belong to no tensor"),
        header("huge number", "{\"t\":" + "9".repeat(500) + "}", 0, "", "not valid JSON"),
        header("long name", "{\"" + "n".repeat(60_000) + "\":1}", 0, "", "not valid JSON"));
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void refusesEachBrokenRule(Bad bad) {
    Path file = SafetensorsBytes.write(folder.resolve("bad.safetensors"), bad.bytes());
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> SafetensorsFile.open(file));
    assertEquals(file.toString(), e.file().orElse(""));
    assertEquals(bad.item(), e.item().orElse(""));
    assertTrue(e.getMessage().contains(bad.text()), e.getMessage());
    assertTrue(e.getMessage().length() < 1000, "message of " + e.getMessage().length());
  }

  @Test
  void acceptsWhatTheFormatAllows() {
    String header =
        " \n\t{\"__metadata__\":{\"format\":\"pt\"},"
            + entry("empty", "F32", "[0,3]", "[5,5]")
            + ","
            + entry("scalar", "F32", "[]", "[1,5]")
            + ","
            + entry("zuerst \\u00fc", "BOOL", "[1]", "[0,1]")
            + ","
            + entry("six", "F6_E3M2", "[2,4]", "[5,11]")
            + "}   ";
    Path file =
        SafetensorsBytes.write(folder.resolve("good.safetensors"), SafetensorsBytes.of(header, 11));
    SafetensorsFile opened = SafetensorsFile.open(file);
    assertEquals(Map.of("format", "pt"), opened.metadata());
    assertEquals(4, opened.tensors().size());
    TensorInfo scalar = opened.tensors().get("scalar");
    assertEquals(List.of(), scalar.shape());
    assertEquals(1, scalar.elements());
    assertEquals(8 + header.getBytes(StandardCharsets.UTF_8).length + 1, scalar.offset());
    assertEquals(0, opened.tensors().get("empty").byteLength());
    assertEquals(DType.BOOL, opened.tensors().get("zuerst \u00fc").dtype());
    assertEquals(6, opened.tensors().get("six").byteLength());
    assertEquals(11, opened.tensors().totalBytes());
  }

  @Test
  void acceptsEveryDTypeOfTheFormat() {
    SafetensorsBytes bytes = new SafetensorsBytes();
    List<String> names =
        List.of(
            "BOOL",
            "F4",
            "F6_E2M3",
            "F6_E3M2",
            "U8",
            "I8",
            "F8_E5M2",
            "F8_E4M3",
            "F8_E8M0",
            "F8_E4M3FNUZ",
            "F8_E5M2FNUZ",
            "I16",
            "U16",
            "F16",
            "BF16",
            "I32",
            "U32",
            "F32",
            "C64",
            "F64",
            "I64",
            "U64");
    for (String name : names) {
      bytes.add(name, DType.ofSafetensors(name).orElseThrow(), 2, 4);
    }
    Path file = SafetensorsBytes.write(folder.resolve("all.safetensors"), bytes.bytes());
    assertEquals(names.size(), SafetensorsFile.open(file).tensors().size());
  }

  @Test
  void readsValuesInChunks() throws IOException {
    // Larger than one chunk, at an offset that is no multiple of the value's size.
    int count = 300_001;
    byte[] bytes =
        SafetensorsBytes.of(
            "{"
                + entry("a", "U8", "[1]", "[0,1]")
                + ","
                + entry("f", "F32", "[" + count + "]", "[1," + (1 + 4 * count) + "]")
                + ","
                + entry("i", "I64", "[2]", "[" + (1 + 4 * count) + "," + (17 + 4 * count) + "]")
                + "}",
            17 + 4 * count);
    ByteBuffer data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int start = bytes.length - 17 - 4 * count;
    data.put(start, (byte) 200);
    for (int i = 0; i < count; i++) {
      data.putFloat(start + 1 + 4 * i, i - 0.5f);
    }
    data.putLong(bytes.length - 16, Long.MIN_VALUE).putLong(bytes.length - 8, 77);
    Path path = SafetensorsBytes.write(folder.resolve("v.safetensors"), bytes);
    SafetensorsFile file = SafetensorsFile.open(path);
    float[] floats = file.readFloat32("f");
    assertEquals(count, floats.length);
    for (int i = 0; i < count; i++) {
      assertEquals(i - 0.5f, floats[i]);
    }
    assertArrayEquals(new long[] {Long.MIN_VALUE, 77}, file.readInt64("i"));
    assertArrayEquals(new byte[] {(byte) 200}, file.readUint8("a"));

    CheckpointFormatException wrong =
        assertThrows(CheckpointFormatException.class, () -> file.readFloat32("i"));
    assertTrue(wrong.getMessage().endsWith("i: dtype: I64 (expected: F32)"), wrong.getMessage());
    CheckpointFormatException none =
        assertThrows(CheckpointFormatException.class, () -> file.readFloat32("g"));
    assertTrue(none.getMessage().contains("g: no such tensor (present: a, f, i)"));
    try (RandomAccessFile cut = new RandomAccessFile(path.toFile(), "rw")) {
      cut.setLength(bytes.length - 9);
    }
    CheckpointFormatException shrunk =
        assertThrows(CheckpointFormatException.class, () -> file.readInt64("i"));
    assertTrue(shrunk.getMessage().contains("truncated or shrank"), shrunk.getMessage());
  }

  @Test
  void namesWhatIsNoFile() throws IOException {
    assertTrue(message(folder.resolve("absent")).endsWith("no such file"));
    assertTrue(message(folder).contains("is a folder"));
    Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("gone"));
    assertTrue(message(link).contains("broken link"));
  }

  @Test
  void doesNotEchoControlCharactersOrEndlessNames() {
    String header = "{\"\\u001b[31m" + "x".repeat(5000) + "\":1}";
    Path file = SafetensorsBytes.write(folder.resolve("e"), SafetensorsBytes.of(header, 0));
    String message = message(file);
    assertTrue(message.chars().noneMatch(Character::isISOControl), message);
    assertTrue(message.length() < 400 + file.toString().length(), message);
  }

  private static String message(Path file) {
    return assertThrows(CheckpointFormatException.class, () -> SafetensorsFile.open(file))
        .getMessage();
  }
}
