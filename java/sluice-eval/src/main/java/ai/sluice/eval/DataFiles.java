package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.PinnedFiles;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.zip.GZIPInputStream;

/** Files of data sets in UTF-8: rows of CSV, lines of JSON, as they are or compressed by gzip. */
public final class DataFiles {
  private static final ObjectMapper JSON = new ObjectMapper();

  private DataFiles() {}

  /**
   * A row of a table, or what a line of JSON has.
   *
   * @param where file and line, for messages
   * @param values in order
   */
  public record Row(String where, List<String> values) {
    /** Copies the list. */
    public Row {
      values = List.copyOf(values);
    }

    /** One of its values. */
    public String get(int index) {
      return values.get(index);
    }
  }

  /**
   * Rows of comma-separated values, each with as many fields as the first must have.
   *
   * @param file its path
   * @param fields of a row
   * @throws InvalidRequestException when the file is missing or a row has another number of fields
   */
  public static List<Row> csv(Path file, int fields) {
    List<Row> out = new ArrayList<>();
    for (CsvFile.Row row : CsvFile.rows(file.toString(), text(file))) {
      String where = file + ", line " + row.line();
      if (row.fields().size() != fields) {
        throw new InvalidRequestException(
            where + ": " + row.fields().size() + " fields (expected: " + fields
                + "; remedy: fetch the file again)");
      }
      out.add(new Row(where, row.fields()));
    }
    return out;
  }

  /**
   * The texts of some keys of a file of JSON lines.
   *
   * @param file its path; where it is missing, the same with {@code .gz} behind is taken
   * @param keys each must be there with a text in every line
   * @return for each line its texts in the order of the keys
   * @throws InvalidRequestException when the file is missing or a line is malformed
   */
  public static List<Row> jsonLines(Path file, String... keys) {
    Path there = located(file);
    return lines(there.toString(), text(there), keys);
  }

  /** A file, or the same with {@code .gz} behind where only that is there. */
  public static Path located(Path file) {
    Path compressed = file.resolveSibling(file.getFileName() + ".gz");
    return !Files.exists(file) && Files.exists(compressed) ? compressed : file;
  }

  /**
   * The same of a resource beside a class.
   *
   * @param beside a class of its package
   * @param name of the resource
   * @param keys each must be there with a text in every line
   */
  public static List<Row> jsonLines(Class<?> beside, String name, String... keys) {
    try (InputStream in = beside.getResourceAsStream(name)) {
      if (in == null) {
        throw new InvalidRequestException(name + ": not in the jar (remedy: build it again)");
      }
      return lines(name, decoded(name, in.readAllBytes()), keys);
    } catch (IOException e) {
      throw new InvalidRequestException(name + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static List<Row> lines(String name, String text, String... keys) {
    List<Row> out = new ArrayList<>();
    objects(name, text).forEach((where, object) -> out.add(row(where, object, keys)));
    return out;
  }

  private static Row row(String where, JsonNode object, String... keys) {
    List<String> out = new ArrayList<>();
    for (String key : keys) {
      JsonNode value = object.get(key);
      if (value == null || !value.isTextual()) {
        throw new InvalidRequestException(
            where + ": no text \"" + key + "\" (remedy: fetch the file again)");
      }
      out.add(value.textValue());
    }
    return new Row(where, out);
  }

  /**
   * The objects of a file of JSON lines, as Java has them: texts, numbers, booleans, lists, maps.
   *
   * @param file its path; where it is missing, the same with {@code .gz} behind is taken
   * @return by file and line, for messages, in order
   * @throws InvalidRequestException when the file is missing or a line is malformed
   */
  public static Map<String, Map<String, Object>> jsonObjects(Path file) {
    Path there = located(file);
    Map<String, Map<String, Object>> out = new LinkedHashMap<>();
    objects(there.toString(), text(there))
        .forEach(
            (where, object) ->
                out.put(where, JSON.convertValue(object, new TypeReference<>() {})));
    return out;
  }

  private static Map<String, JsonNode> objects(String name, String text) {
    Map<String, JsonNode> out = new LinkedHashMap<>();
    int number = 0;
    for (String line : text.split("\n", -1)) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      String where = name + ", line " + number;
      JsonNode object;
      try {
        object = JSON.readTree(line);
      } catch (JsonProcessingException e) {
        throw new InvalidRequestException(
            where + ": " + e.getOriginalMessage() + " (expected: a JSON object)", e);
      }
      if (!object.isObject()) {
        throw new InvalidRequestException(
            where + ": " + kind(object) + " (expected: a JSON object)");
      }
      out.put(where, object);
    }
    return out;
  }

  private static String kind(JsonNode node) {
    return node.getNodeType().toString().toLowerCase(Locale.ROOT);
  }

  private static String text(Path file) {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file);
        InputStream plain = file.toString().endsWith(".gz") ? new GZIPInputStream(in) : in) {
      bytes = plain.readAllBytes();
    } catch (IOException e) {
      throw new InvalidRequestException(unreadable(file, e), e);
    }
    return decoded(file.toString(), bytes);
  }

  /** What is said of a file or folder of a data set that cannot be read. */
  public static String unreadable(Path file, IOException e) {
    return e instanceof NoSuchFileException
        ? file + ": not there (remedy: 'sluice eval fetch all' fetches the data sets, --data FOLDER"
            + " names where they lie)"
        : file + ": cannot be read: " + PinnedFiles.reason(e) + " (expected: a file of a data set)";
  }

  private static String decoded(String name, byte[] bytes) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .decode(ByteBuffer.wrap(bytes))
          .toString();
    } catch (CharacterCodingException e) {
      throw new InvalidRequestException(name + ": not UTF-8 (remedy: fetch the file again)", e);
    }
  }
}
