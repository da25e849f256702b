package ai.sluice.checkpoint.arch;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A model's settings under their Hugging Face names, with typed getters whose errors name key,
 * value and expectation. A key that is absent or null takes the default given, as the families' own
 * loaders do.
 *
 * <p>Remembers which keys were read, so that {@link ConfigPolicy} can judge the others. Not
 * thread-safe: one thread reads a config once.
 */
public final class ModelConfig {
  private final Path file;
  private final String prefix;
  private final ObjectNode values;
  private final ImmutableMap<String, String> spelling;
  private final Function<String, Optional<List<Long>>> shapes;
  private final Set<String> read = new LinkedHashSet<>();

  private ModelConfig(
      Path file,
      String prefix,
      ObjectNode values,
      ImmutableMap<String, String> spelling,
      Function<String, Optional<List<Long>>> shapes) {
    this.file = file;
    this.prefix = prefix;
    this.values = values;
    this.spelling = spelling;
    this.shapes = shapes;
  }

  /**
   * Creates a config.
   *
   * @param file the file that messages name
   * @param values the settings by key
   * @param spelling how the file spells a key, where that differs; for messages
   */
  public static ModelConfig of(Path file, ObjectNode values, Map<String, String> spelling) {
    return new ModelConfig(
        file, "", values, ImmutableMap.copyOf(spelling), name -> Optional.empty());
  }

  /**
   * Creates a config beside tensors.
   *
   * @param shapes the shape of the tensor with this name, if there is one; for settings whose
   *     definition says that the stored shapes decide
   */
  public static ModelConfig of(
      Path file, ObjectNode values, Function<String, Optional<List<Long>>> shapes) {
    return new ModelConfig(file, "", values, ImmutableMap.of(), shapes);
  }

  /** The shape of a tensor of the checkpoint, if the tensors are known and it is there. */
  Optional<List<Long>> storedShape(String tensor) {
    return shapes.apply(tensor);
  }

  /** The file that the settings come from. */
  public Path file() {
    return file;
  }

  /** Whether the key is there with a value other than null. Counts as a read. */
  public boolean has(String key) {
    return find(key) != null;
  }

  /** Whether the key is there with the value null. */
  public boolean isNull(String key) {
    JsonNode node = values.get(key);
    return node != null && node.isNull();
  }

  /**
   * A required whole number.
   *
   * @throws CheckpointFormatException if it is missing, no whole number, or out of range
   */
  public int integer(String key, int min, int max) {
    JsonNode node = find(key);
    if (node == null) {
      throw new CheckpointFormatException(
          file, name(key), "missing (expected: " + min + " to " + max + ")");
    }
    return integer(key, node, min, max);
  }

  /** A whole number, or {@code fallback} if the key is absent or null. */
  public int integer(String key, int min, int max, int fallback) {
    JsonNode node = find(key);
    return node == null ? fallback : integer(key, node, min, max);
  }

  private int integer(String key, JsonNode node, int min, int max) {
    // 2.0 is accepted where 2 is meant: some writers print every number as floating point.
    boolean whole =
        node.isIntegralNumber()
            || (node.isFloatingPointNumber()
                && node.doubleValue() == Math.rint(node.doubleValue()));
    double value = node.isNumber() ? node.doubleValue() : Double.NaN;
    if (!whole || !(value >= min && value <= max)) {
      throw bad(key, node, min + " to " + max);
    }
    return (int) value;
  }

  /** A required number above 0. */
  public double positive(String key) {
    JsonNode node = find(key);
    if (node == null) {
      throw new CheckpointFormatException(file, name(key), "missing (expected: a number above 0)");
    }
    return positive(key, node);
  }

  /** A number above 0, or {@code fallback} if the key is absent or null. */
  public double positive(String key, double fallback) {
    JsonNode node = find(key);
    return node == null ? fallback : positive(key, node);
  }

  private double positive(String key, JsonNode node) {
    double value = node.isNumber() ? node.doubleValue() : Double.NaN;
    if (!(value > 0 && value < Double.POSITIVE_INFINITY)) {
      throw bad(key, node, "a number above 0");
    }
    return value;
  }

  /** A number of at least 0, or {@code fallback} if the key is absent or null. */
  public double notNegative(String key, double fallback) {
    JsonNode node = find(key);
    if (node == null) {
      return fallback;
    }
    double value = node.isNumber() ? node.doubleValue() : Double.NaN;
    if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) {
      throw bad(key, node, "a number of at least 0");
    }
    return value;
  }

  /** A number from {@code min} to {@code max}, or {@code fallback} if the key is absent or null. */
  public double between(String key, double min, double max, double fallback) {
    JsonNode node = find(key);
    if (node == null) {
      return fallback;
    }
    double value = node.isNumber() ? node.doubleValue() : Double.NaN;
    if (!(value >= min && value <= max)) {
      throw bad(key, node, "a number from " + min + " to " + max);
    }
    return value;
  }

  /** A whole number of 64 bits, or {@code fallback} if the key is absent or null. */
  public long wideInteger(String key, long fallback) {
    JsonNode node = find(key);
    if (node == null) {
      return fallback;
    }
    if (!node.isIntegralNumber() || !node.canConvertToLong()) {
      throw bad(key, node, "a whole number of 64 bits");
    }
    return node.longValue();
  }

  /** An array of whole numbers, if the key is there. */
  public Optional<List<Integer>> integers(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return Optional.empty();
    }
    List<Integer> integers = new ArrayList<>();
    for (JsonNode entry : array(key, node, "an array of whole numbers")) {
      if (!entry.isIntegralNumber() || !entry.canConvertToInt()) {
        throw bad(key, node, "an array of whole numbers");
      }
      integers.add(entry.intValue());
    }
    return Optional.of(integers);
  }

  /**
   * The one of several spellings of a setting that the file uses, else the first. Counts as a read
   * of all.
   *
   * @throws CheckpointFormatException if two are there with different values
   */
  public String spelled(String... keys) {
    String found = keys[0];
    for (String key : keys) {
      if (!has(key)) {
        continue;
      }
      if (has(found) && !values.get(key).equals(values.get(found))) {
        throw bad(key, show(found) + ", as " + name(found) + " says");
      }
      found = has(found) ? found : key;
    }
    return found;
  }

  /** A truth value, or {@code fallback} if the key is absent or null. */
  public boolean flag(String key, boolean fallback) {
    JsonNode node = find(key);
    if (node == null) {
      return fallback;
    }
    if (!node.isBoolean()) {
      throw bad(key, node, "true or false");
    }
    return node.booleanValue();
  }

  /** A text, if the key is there. */
  public Optional<String> text(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return Optional.empty();
    }
    if (!node.isTextual()) {
      throw bad(key, node, "a text");
    }
    return Optional.of(node.textValue());
  }

  /** An array of texts, if the key is there. */
  public Optional<List<String>> texts(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return Optional.empty();
    }
    List<String> texts = new ArrayList<>();
    for (JsonNode entry : array(key, node, "an array of texts")) {
      if (!entry.isTextual()) {
        throw bad(key, node, "an array of texts");
      }
      texts.add(entry.textValue());
    }
    return Optional.of(texts);
  }

  /** An array of finite numbers, if the key is there. */
  public Optional<double[]> numbers(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return Optional.empty();
    }
    array(key, node, "an array of numbers");
    double[] numbers = new double[node.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = node.get(i).isNumber() ? node.get(i).doubleValue() : Double.NaN;
      if (!Double.isFinite(numbers[i])) {
        throw bad(key, node, "an array of numbers");
      }
    }
    return Optional.of(numbers);
  }

  private JsonNode array(String key, JsonNode node, String expected) {
    if (!node.isArray()) {
      throw bad(key, node, expected);
    }
    return node;
  }

  /**
   * Token ids: one number or an array of them; empty if the key is absent or null. Negative ids,
   * which some configs use for "none", are left out.
   */
  public List<Integer> tokenIds(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return List.of();
    }
    Set<Integer> ids = new LinkedHashSet<>();
    for (JsonNode entry : node.isArray() ? node : List.of(node)) {
      if (!entry.isIntegralNumber() || !entry.canConvertToInt()) {
        throw bad(key, node, "a token id or an array of them");
      }
      if (entry.intValue() >= 0) {
        ids.add(entry.intValue());
      }
    }
    return List.copyOf(ids);
  }

  /** The object under a key, if there is one; what it leaves unread is judged apart. */
  public Optional<ModelConfig> object(String key) {
    JsonNode node = find(key);
    if (node == null) {
      return Optional.empty();
    }
    if (!(node instanceof ObjectNode object)) {
      throw bad(key, node, "an object");
    }
    return Optional.of(new ModelConfig(file, name(key) + ".", object, spelling, shapes));
  }

  /** The object that a family assumes under a key of which the file says nothing. */
  ModelConfig assumed(String key, ObjectNode object) {
    return new ModelConfig(file, name(key) + ".", object, spelling, shapes);
  }

  /** Keys that no getter was asked for and whose value is not null. */
  public List<String> unread() {
    List<String> keys = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : values.properties()) {
      if (!read.contains(entry.getKey()) && !entry.getValue().isNull()) {
        keys.add(entry.getKey());
      }
    }
    return keys;
  }

  /** The value under a key, if it is there and not null; does not count as a read. */
  public Optional<JsonNode> peek(String key) {
    JsonNode node = values.get(key);
    return node == null || node.isNull() ? Optional.empty() : Optional.of(node);
  }

  /**
   * The key as messages name it: as its file spells it, after the names of the objects around it.
   */
  public String name(String key) {
    return Quote.clip(prefix + spelling.getOrDefault(key, key));
  }

  /** The value under a key as messages show it. */
  public String show(String key) {
    JsonNode node = values.get(key);
    return node == null ? "absent" : show(node);
  }

  /** An exception for a value that is sound but not supported. */
  public UnsupportedModelException unsupported(String key, String expected) {
    return new UnsupportedModelException(
        file + ": " + name(key) + ": " + show(key) + " (expected: " + expected + ")");
  }

  /** An exception for a value that contradicts another or is out of range. */
  public CheckpointFormatException bad(String key, String expected) {
    return new CheckpointFormatException(
        file, name(key), show(key) + " (expected: " + expected + ")");
  }

  private CheckpointFormatException bad(String key, JsonNode node, String expected) {
    return new CheckpointFormatException(
        file, name(key), show(node) + " (expected: " + expected + ")");
  }

  private static String show(JsonNode node) {
    return node.isContainerNode() && node.size() > 8
        ? "a JSON " + StrictJson.kind(node) + " of " + node.size()
        : Quote.clip(node.isTextual() ? node.textValue() : node.toString());
  }

  private @Nullable JsonNode find(String key) {
    read.add(key);
    JsonNode node = values.get(key);
    return node == null || node.isNull() ? null : node;
  }
}
