package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPInputStream;

/** Golden token ids of {@code tests/golden/tokenizers}, and the checks over them. */
final class GoldenIds {
  static final Path FOLDER =
      Path.of(System.getProperty("sluice.test.golden", "../../tests/golden")).resolve("tokenizers");
  static final ObjectMapper MAPPER = new ObjectMapper();

  private final String name;
  private final List<JsonNode> lines = new ArrayList<>();
  private final JsonNode strings;

  GoldenIds(String name) {
    this.name = name;
    try {
      strings = MAPPER.readTree(FOLDER.resolve("strings.json").toFile());
      try (BufferedReader reader =
          new BufferedReader(
              new InputStreamReader(
                  new GZIPInputStream(
                      Files.newInputStream(FOLDER.resolve("ids").resolve(name + ".json.gz"))),
                  StandardCharsets.UTF_8))) {
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
          lines.add(MAPPER.readTree(line));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static byte[] read(String file) {
    try {
      Path path = FOLDER.resolve(file);
      return file.endsWith(".gz")
          ? new GZIPInputStream(Files.newInputStream(path)).readAllBytes()
          : Files.readAllBytes(path);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Every string encodes to the golden ids. */
  void checkEncode(Tokenizer tokenizer) {
    int checked = 0;
    for (JsonNode line : lines) {
      if (line.has("string")) {
        String text = strings.path(line.path("string").asInt()).asText();
        assertArrayEquals(ids(line.path("ids")), tokenizer.encode(text, false, true), where(text));
        checked++;
      }
    }
    assertEquals(200, checked);
  }

  /** Every string encodes to the golden ids when special tokens are not parsed. */
  void checkEncodePlain(Tokenizer tokenizer) {
    for (JsonNode line : lines) {
      if (line.has("string")) {
        String text = strings.path(line.path("string").asInt()).asText();
        JsonNode expected = line.has("plain") ? line.path("plain") : line.path("ids");
        assertArrayEquals(ids(expected), tokenizer.encode(text, false, false), where(text));
      }
    }
  }

  /** The first strings encode to the golden ids with the special tokens added. */
  void checkAddedTokens(Tokenizer tokenizer) {
    int checked = 0;
    for (JsonNode line : lines) {
      if (line.has("with_special")) {
        String text = strings.path(line.path("string").asInt()).asText();
        assertArrayEquals(
            ids(line.path("with_special")), tokenizer.encode(text, true, true), where(text));
        checked++;
      }
    }
    assertTrue(checked > 0);
  }

  /** Golden ids, and random ones, decode to the golden text, whole and token by token. */
  void checkDecode(Tokenizer tokenizer) {
    int checked = 0;
    for (JsonNode line : lines) {
      String text = line.has("string") ? strings.path(line.path("string").asInt()).asText() : "";
      int[] ids = ids(line.has("string") ? line.path("ids") : line.path("random"));
      for (boolean skip : new boolean[] {true, false}) {
        String key = skip ? "skip" : "keep";
        String expected = line.has(key) ? line.path(key).asText() : text;
        assertEquals(expected, tokenizer.decode(ids, skip), where(text));
        assertEquals(expected, stream(tokenizer, ids, skip), where(text));
        checked++;
      }
    }
    assertTrue(checked >= 400);
  }

  /** What is given out after each token is whole characters and a prefix of the final text. */
  static String stream(Tokenizer tokenizer, int[] ids, boolean skipSpecialTokens) {
    StreamingDecoder stream = tokenizer.streamingDecoder(skipSpecialTokens);
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      String part = stream.accept(id);
      if (!part.isEmpty()) {
        assertFalse(Character.isHighSurrogate(part.charAt(part.length() - 1)));
        assertFalse(Character.isLowSurrogate(part.charAt(0)));
      }
      text.append(part);
    }
    return text.append(stream.finish()).toString();
  }

  private String where(String text) {
    return name + ": " + text;
  }

  private static int[] ids(JsonNode node) {
    int[] ids = new int[node.size()];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = node.path(i).asInt();
    }
    return ids;
  }
}
