package ai.sluice.text.grammar;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * Makes values that a schema accepts, knowing nothing of grammars, and writes them as the grammars
 * are to allow: keys in the schema's order, at most one space after a colon or a comma.
 */
final class Instances {
  private static final String[] TEXTS = {
    "", "a", "hello world", "é漢😀", "say \"hi\"", "back\\slash", "line\nbreak\ttab", "42", "\u0001"
  };

  private final Map<String, Object> root;
  private final Random random;

  Instances(Map<String, Object> root, Random random) {
    this.root = root;
    this.random = random;
  }

  /** A value as JSON, or null where this maker cannot make one (patterns). */
  @Nullable String make() {
    return make(root, 0);
  }

  private @Nullable String make(Map<?, ?> schema, int depth) {
    if (schema.get("$ref") instanceof String target) {
      return make(target(target), depth + 1);
    }
    if (schema.get("anyOf") instanceof List<?> options) {
      // Deep in a recursion the last option, which ends it in this corpus or soon after.
      int chosen = random.nextInt(options.size());
      if (depth > 8) {
        chosen = ends((Map<?, ?>) options.get(0)) ? 0 : options.size() - 1;
      }
      return make((Map<?, ?>) options.get(chosen), depth + 1);
    }
    if (schema.containsKey("const")) {
      return write(schema.get("const"));
    }
    Object type = schema.get("type");
    if (type instanceof List<?> types) {
      type = types.get(random.nextInt(types.size()));
    }
    if (schema.get("enum") instanceof List<?> values) {
      Object value = values.get(random.nextInt(values.size()));
      boolean fits = type == null || !type.equals("integer") || value instanceof Number;
      return fits ? write(value) : null;
    }
    if (type == null) {
      return write(List.of("any", 1, Map.of("k", true)));
    }
    return switch ((String) type) {
      case "string" -> string(schema);
      case "integer" -> number(schema, 0);
      case "number" -> number(schema, random.nextInt(3));
      case "boolean" -> random.nextBoolean() ? "true" : "false";
      case "null" -> "null";
      case "array" -> array(schema, depth);
      default -> object(schema, depth);
    };
  }

  private static boolean ends(Map<?, ?> schema) {
    return schema.containsKey("type") && !schema.containsKey("properties")
        && !schema.containsKey("items");
  }

  private Map<?, ?> target(String target) {
    if (target.equals("#")) {
      return root;
    }
    String[] parts = target.split("/");
    return (Map<?, ?>) ((Map<?, ?>) root.get(parts[1])).get(parts[2]);
  }

  private @Nullable String string(Map<?, ?> schema) {
    if (schema.get("format") instanceof String format) {
      List<String> values =
          switch (format) {
            case "date" -> List.of("2024-02-29", "1999-12-31", "2000-02-29", "2023-04-30");
            case "time" -> List.of("00:00:00Z", "23:59:59.123+05:30", "12:30:00-08:00");
            case "date-time" -> List.of("2024-02-29T10:20:30Z", "1985-04-12T23:20:50.52+01:00");
            case "duration" -> List.of("P1D", "PT5M", "P3Y6M4DT12H30M5S", "P2W");
            case "email" -> List.of("a.b@example.org", "x+y@mail.example.com", "n_1@a-b.io");
            case "hostname" -> List.of("example.org", "localhost", "a-b.c-d.example");
            case "ipv4" -> List.of("127.0.0.1", "255.255.255.255", "8.8.8.8");
            case "ipv6" -> List.of("::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "1::8", "1:2::");
            default -> List.of("123e4567-e89b-12d3-a456-426614174000");
          };
      String value = values.get(random.nextInt(values.size()));
      boolean fits =
          !schema.containsKey("pattern")
              && (!schema.containsKey("maxLength") || value.length() <= 12);
      return fits ? write(value) : null;
    }
    if (schema.containsKey("pattern")) {
      return null;
    }
    int min = schema.get("minLength") instanceof Number least ? least.intValue() : 0;
    int max = schema.get("maxLength") instanceof Number most ? most.intValue() : min + 12;
    StringBuilder text = new StringBuilder(TEXTS[random.nextInt(TEXTS.length)]);
    while (text.codePointCount(0, text.length()) < min) {
      text.append(random.nextBoolean() ? "x" : "漢");
    }
    int length = Math.min(max, text.codePointCount(0, text.length()));
    return write(text.substring(0, text.offsetByCodePoints(0, length)));
  }

  private @Nullable String number(Map<?, ?> schema, int digits) {
    BigDecimal low = bound(schema, "minimum", "exclusiveMinimum");
    BigDecimal high = bound(schema, "maximum", "exclusiveMaximum");
    BigDecimal from = low != null ? low : high != null ? high.subtract(BigDecimal.TEN) : null;
    if (from == null) {
      from = BigDecimal.valueOf(-50);
    }
    BigDecimal to = high != null ? high : from.add(BigDecimal.valueOf(100));
    BigDecimal value =
        to.subtract(from).multiply(BigDecimal.valueOf(random.nextDouble())).add(from);
    if (schema.get("multipleOf") instanceof Number number) {
      BigDecimal multiple = new BigDecimal(number.toString());
      value = value.divide(multiple, 0, RoundingMode.HALF_UP).multiply(multiple);
    } else {
      value = value.setScale(digits, RoundingMode.HALF_UP);
    }
    boolean fits =
        (low == null
                || value.compareTo(low) > 0
                || value.compareTo(low) == 0 && !schema.containsKey("exclusiveMinimum"))
            && (high == null
                || value.compareTo(high) < 0
                || value.compareTo(high) == 0 && !schema.containsKey("exclusiveMaximum"));
    return fits ? value.toPlainString() : null;
  }

  private static @Nullable BigDecimal bound(Map<?, ?> schema, String key, String other) {
    Object value = schema.containsKey(key) ? schema.get(key) : schema.get(other);
    return value == null ? null : new BigDecimal(value.toString());
  }

  private @Nullable String array(Map<?, ?> schema, int depth) {
    int min = schema.get("minItems") instanceof Number least ? least.intValue() : 0;
    int max = schema.get("maxItems") instanceof Number most ? most.intValue() : min + 2;
    int size = depth > 8 ? min : min + random.nextInt(max - min + 1);
    List<String> parts = new ArrayList<>();
    Map<?, ?> items = schema.get("items") instanceof Map<?, ?> map ? map : Map.of();
    for (int i = 0; i < size; i++) {
      String part = make(items, depth + 1);
      if (part == null) {
        return null;
      }
      parts.add(part);
    }
    return "[" + join(parts) + "]";
  }

  private @Nullable String object(Map<?, ?> schema, int depth) {
    List<String> parts = new ArrayList<>();
    if (schema.get("properties") instanceof Map<?, ?> properties) {
      List<?> required = (List<?>) schema.get("required");
      for (Map.Entry<?, ?> property : properties.entrySet()) {
        if (required.contains(property.getKey()) || random.nextBoolean()) {
          String value = make((Map<?, ?>) property.getValue(), depth + 1);
          if (value == null) {
            return null;
          }
          parts.add(write(property.getKey()) + ":" + space() + value);
        }
      }
    } else if (!Boolean.FALSE.equals(schema.get("additionalProperties"))) {
      Map<?, ?> values =
          schema.get("additionalProperties") instanceof Map<?, ?> map ? map : Map.of();
      for (int i = random.nextInt(3); i > 0; i--) {
        String value = make(values, depth + 1);
        if (value == null) {
          return null;
        }
        parts.add("\"k" + i + "\":" + space() + value);
      }
    }
    return "{" + join(parts) + "}";
  }

  private String join(List<String> parts) {
    return String.join("," + space(), parts);
  }

  private String space() {
    return random.nextBoolean() ? " " : "";
  }

  private static String write(@Nullable Object value) {
    try {
      return SchemaCorpus.MAPPER.writeValueAsString(value);
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new AssertionError(e);
    }
  }
}
