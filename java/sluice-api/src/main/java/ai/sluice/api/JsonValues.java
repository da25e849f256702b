package ai.sluice.api;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Deep, checked, unmodifiable copies of JSON-like values. */
final class JsonValues {
  /** Deeper nesting than any tool schema needs; a cyclic structure ends here too. */
  private static final int MAX_DEPTH = 100;

  private JsonValues() {}

  /** Copies an object; {@code where} names the value in the message of a failure. */
  static Map<String, @Nullable Object> copyObject(String where, Map<?, ?> value) {
    return copyObject(where, value, 0);
  }

  private static Map<String, @Nullable Object> copyObject(
      String where, Map<?, ?> value, int depth) {
    Map<String, @Nullable Object> copy = new LinkedHashMap<>();
    for (Map.Entry<?, ?> entry : value.entrySet()) {
      if (!(entry.getKey() instanceof String key)) {
        throw new InvalidRequestException(
            where + ": key " + entry.getKey() + " (expected: a string)");
      }
      copy.put(key, copy(where + "." + key, entry.getValue(), depth + 1));
    }
    return Collections.unmodifiableMap(copy);
  }

  private static @Nullable Object copy(String where, @Nullable Object value, int depth) {
    if (depth > MAX_DEPTH) {
      throw new InvalidRequestException(
          where.substring(0, Math.min(60, where.length()))
              + "…: nested deeper than "
              + MAX_DEPTH
              + " levels (expected: fewer)");
    }
    if (value == null || value instanceof String || value instanceof Boolean) {
      return value;
    }
    if (value instanceof Long || value instanceof BigInteger) {
      return value;
    }
    if (value instanceof Integer || value instanceof Short || value instanceof Byte) {
      return ((Number) value).longValue();
    }
    if (value instanceof Double || value instanceof Float || value instanceof BigDecimal) {
      double number = ((Number) value).doubleValue();
      if (Double.isNaN(number) || Double.isInfinite(number)) {
        throw new InvalidRequestException(where + ": " + value + " (expected: a finite number)");
      }
      return number;
    }
    if (value instanceof Map<?, ?> map) {
      return copyObject(where, map, depth);
    }
    if (value instanceof List<?> list) {
      List<@Nullable Object> copy = new ArrayList<>(list.size());
      for (Object element : list) {
        copy.add(copy(where + "[" + copy.size() + "]", element, depth + 1));
      }
      return Collections.unmodifiableList(copy);
    }
    throw new InvalidRequestException(
        where
            + ": a value of "
            + value.getClass().getName()
            + " (expected: a string, number, boolean, null, list or map)");
  }
}
