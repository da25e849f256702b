package ai.sluice.text.jinja;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The golden files of {@code tests/golden/chat_templates}, and values as the interpreter has them.
 */
public final class GoldenFiles {
  /** The folder with templates, chats and what they render to. */
  public static final Path FOLDER =
      Path.of(System.getProperty("sluice.test.golden", "../../tests/golden"))
          .resolve("chat_templates");

  /** The moment at which the golden files say they were rendered. */
  public static final Clock CLOCK =
      Clock.fixed(Instant.parse("2026-07-06T13:05:09Z"), ZoneOffset.UTC);

  private static final ObjectMapper MAPPER = new ObjectMapper();

  private GoldenFiles() {}

  /** Reads a JSON file of the folder. */
  public static JsonNode json(String name) {
    try {
      return MAPPER.readTree(FOLDER.resolve(name).toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Reads a text file of the folder. */
  public static String text(String name) {
    try {
      return Files.readString(FOLDER.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A JSON value as the interpreter has it. */
  public static @Nullable Object value(JsonNode node) {
    if (node.isObject()) {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      node.fields().forEachRemaining(e -> map.put(e.getKey(), value(e.getValue())));
      return map;
    } else if (node.isArray()) {
      List<@Nullable Object> list = new ArrayList<>();
      node.forEach(element -> list.add(value(element)));
      return list;
    } else if (node.isTextual()) {
      return node.asText();
    } else if (node.isBoolean()) {
      return node.asBoolean();
    } else if (node.isBigInteger()) {
      BigInteger big = node.bigIntegerValue();
      return big;
    } else if (node.isIntegralNumber()) {
      return node.asLong();
    } else if (node.isNumber()) {
      return node.asDouble();
    }
    return null;
  }
}
