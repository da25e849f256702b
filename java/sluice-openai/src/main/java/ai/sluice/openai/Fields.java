package ai.sluice.openai;

import ai.sluice.api.InvalidRequestException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The fields of a JSON object, each asked for by name and type; an absent field and null are the
 * same. {@link #refuseOthers} refuses what nobody asked for. Not thread-safe.
 */
final class Fields {
  private static final int MAX_SHOWN = 40;

  private final ObjectNode object;
  private final String prefix;
  private final Set<String> known = new LinkedHashSet<>();

  /**
   * Reads an object.
   *
   * @param path where it is in the body, empty for the body itself
   */
  Fields(ObjectNode object, String path) {
    this.object = object;
    this.prefix = path.isEmpty() ? "" : path + ".";
  }

  /** The full name of a field in messages. */
  String path(String name) {
    return prefix + name;
  }

  /** A field's value, or null if it is absent or null. */
  @Nullable JsonNode value(String name) {
    known.add(name);
    JsonNode value = object.get(name);
    return value == null || value.isNull() ? null : value;
  }

  /** A field's value. */
  JsonNode required(String name, String expected) {
    JsonNode value = value(name);
    if (value == null) {
      throw new OpenAiException(
          OpenAiError.invalid(
              path(name),
              "missing_required_parameter",
              path(name) + ": missing (expected: " + expected + ")"));
    }
    return value;
  }

  /** Accepts fields whose values change no answer. */
  void ignore(String... names) {
    known.addAll(List.of(names));
  }

  @Nullable String text(String name) {
    JsonNode value = value(name);
    return value == null ? null : text(path(name), value);
  }

  String requiredText(String name, String expected) {
    return text(path(name), required(name, expected));
  }

  /** The text that a value has to be. */
  static String text(String path, JsonNode value) {
    if (!value.isTextual()) {
      throw wrongType(path, value, "a string");
    }
    String text = value.textValue();
    int cut = loneSurrogate(text);
    if (cut >= 0) {
      throw invalid(path, "half a surrogate pair at index " + cut, "valid Unicode");
    }
    return text;
  }

  /** Where a text holds half a character, which has no UTF-8 form; -1 if nowhere. */
  private static int loneSurrogate(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        return i;
      }
    }
    return -1;
  }

  @Nullable Boolean flag(String name) {
    JsonNode value = value(name);
    if (value != null && !value.isBoolean()) {
      throw wrongType(path(name), value, "true or false");
    }
    return value == null ? null : value.booleanValue();
  }

  boolean isTrue(String name) {
    Boolean flag = flag(name);
    return flag != null && flag;
  }

  @Nullable Integer whole(String name) {
    JsonNode value = value(name);
    return value == null
        ? null
        : (int) whole(path(name), value, Integer.MIN_VALUE, Integer.MAX_VALUE);
  }

  @Nullable Long wholeLong(String name) {
    JsonNode value = value(name);
    return value == null ? null : whole(path(name), value, Long.MIN_VALUE, Long.MAX_VALUE);
  }

  /** The whole number that a value has to be. */
  static long whole(String path, JsonNode value, long min, long max) {
    if (!value.isNumber()) {
      throw wrongType(path, value, "a whole number");
    }
    if (!value.isIntegralNumber()) {
      throw invalid(path, shown(value), "a whole number");
    }
    BigInteger number = value.bigIntegerValue();
    if (number.compareTo(BigInteger.valueOf(min)) < 0
        || number.compareTo(BigInteger.valueOf(max)) > 0) {
      throw invalid(path, shown(value), "a whole number from " + min + " to " + max);
    }
    return number.longValue();
  }

  @Nullable Double number(String name) {
    JsonNode value = value(name);
    return value == null ? null : number(path(name), value);
  }

  /** The finite number that a value has to be. */
  static double number(String path, JsonNode value) {
    if (!value.isNumber()) {
      throw wrongType(path, value, "a number");
    }
    double number = value.doubleValue();
    if (Double.isNaN(number) || Double.isInfinite(number)) {
      throw invalid(path, shown(value), "a number below 1.8e308");
    }
    return number;
  }

  @Nullable Fields object(String name) {
    JsonNode value = value(name);
    return value == null ? null : object(path(name), value);
  }

  /** The object that a value has to be. */
  static Fields object(String path, JsonNode value) {
    if (value instanceof ObjectNode node) {
      return new Fields(node, path);
    }
    throw wrongType(path, value, "an object");
  }

  @Nullable ArrayNode array(String name) {
    JsonNode value = value(name);
    return value == null ? null : array(path(name), value);
  }

  /** The array that a value has to be. */
  static ArrayNode array(String path, JsonNode value) {
    if (value instanceof ArrayNode node) {
      return node;
    }
    throw wrongType(path, value, "an array");
  }

  @Nullable Map<String, @Nullable Object> map(String name) {
    JsonNode value = value(name);
    if (value == null) {
      return null;
    }
    object(path(name), value);
    return map(path(name), value);
  }

  /** A field that may only say what is done anyway. */
  void only(String name, String accepted, String why) {
    JsonNode value = value(name);
    if (value != null && !value.toString().equals(accepted)) {
      throw new OpenAiException(
          OpenAiError.invalid(
              path(name),
              "unsupported_value",
              path(name) + ": " + shown(value) + " (expected: " + accepted + "; " + why + ")"));
    }
  }

  /** A field of which no value can be honoured. */
  void never(String name, String remedy) {
    JsonNode value = value(name);
    if (value != null) {
      throw new OpenAiException(
          OpenAiError.invalid(
              path(name),
              "unsupported_parameter",
              path(name) + ": " + shown(value) + " (expected: none; " + remedy + ")"));
    }
  }

  /**
   * Gives a value to a setter of the library; its refusal then names the field, not the setter.
   */
  <T> void give(String name, @Nullable T value, Consumer<T> setter) {
    if (value == null) {
      return;
    }
    try {
      setter.accept(value);
    } catch (InvalidRequestException e) {
      String message = String.valueOf(e.getMessage());
      int colon = message.indexOf(": ");
      throw new OpenAiException(
          OpenAiError.invalid(
              path(name), "invalid_value", path(name) + message.substring(Math.max(colon, 0))),
          e);
    }
  }

  /** Refuses every field that was not asked for. */
  void refuseOthers() {
    Iterator<String> names = object.fieldNames();
    while (names.hasNext()) {
      String name = names.next();
      if (!known.contains(name)) {
        throw new OpenAiException(
            OpenAiError.invalid(
                path(clip(name)), "unknown_parameter", path(clip(name)) + ": unknown (expected: "
                    + Names.expectation(name, known) + ")"));
      }
    }
  }

  static OpenAiException wrongType(String path, JsonNode value, String expected) {
    return new OpenAiException(
        OpenAiError.invalid(
            path, "invalid_type", path + ": " + shown(value) + " (expected: " + expected + ")"));
  }

  static OpenAiException invalid(String path, String value, String expected) {
    return new OpenAiException(
        OpenAiError.invalid(
            path, "invalid_value", path + ": " + value + " (expected: " + expected + ")"));
  }

  /** A value in a message: short, and never a whole prompt. */
  static String shown(JsonNode value) {
    if (value.isContainerNode()) {
      return kind(value);
    }
    return clip(value.toString());
  }

  /** The beginning of a text that may be long. */
  static String clip(String text) {
    if (text.length() <= MAX_SHOWN) {
      return text;
    }
    int end = Character.isHighSurrogate(text.charAt(MAX_SHOWN - 1)) ? MAX_SHOWN - 1 : MAX_SHOWN;
    return text.substring(0, end) + "…";
  }

  /** What JSON calls a value. */
  static String kind(JsonNode value) {
    return switch (value.getNodeType()) {
      case OBJECT -> "an object";
      case ARRAY -> "an array";
      case STRING -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "true or false";
      default -> "null";
    };
  }

  /** A JSON object as plain Java; its depth is bounded by the parser. */
  static Map<String, @Nullable Object> map(String path, JsonNode object) {
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    object
        .properties()
        .forEach(
            entry ->
                map.put(
                    entry.getKey(), plain(path + "." + entry.getKey(), entry.getValue())));
    return map;
  }

  private static @Nullable Object plain(String path, JsonNode value) {
    switch (value.getNodeType()) {
      case OBJECT:
        return map(path, value);
      case ARRAY:
        List<@Nullable Object> list = new ArrayList<>(value.size());
        for (JsonNode element : value) {
          list.add(plain(path + "[" + list.size() + "]", element));
        }
        return list;
      case STRING:
        return value.textValue();
      case BOOLEAN:
        return value.booleanValue();
      case NUMBER:
        if (!value.isIntegralNumber()) {
          return number(path, value);
        }
        return value.canConvertToLong() ? (Object) value.longValue() : value.bigIntegerValue();
      default:
        return null;
    }
  }
}
