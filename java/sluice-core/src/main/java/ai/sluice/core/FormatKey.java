package ai.sluice.core;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import com.google.common.hash.Hashing;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What distinguishes response formats: schemas whose properties come in another order are others,
 * since answers keep that order.
 */
final class FormatKey {
  /** Values of a schema; one with more is refused before it costs time or memory. */
  private static final int MAX_VALUES = 200_000;

  /** Characters of all of a schema's texts. */
  private static final int MAX_LENGTH = 2_000_000;

  private static final int MAX_NESTING = 256;

  private final StringBuilder text = new StringBuilder();
  private int values;

  private FormatKey() {}

  /**
   * The key of a format.
   *
   * @throws InvalidRequestException if a schema is too large
   */
  static String of(ResponseFormat format) {
    if (format instanceof ResponseFormat.JsonSchema json) {
      FormatKey key = new FormatKey();
      key.add(json.schema(), 0);
      // Kept as long as the format is, which may take less memory than its text.
      return "schema " + Hashing.sha256().hashUnencodedChars(key.text);
    }
    if (format instanceof ResponseFormat.Regex regex) {
      return "regex " + regex.pattern();
    }
    return format.getClass().getSimpleName();
  }

  private void add(@Nullable Object value, int nesting) {
    values++;
    requireRoom(0, nesting);
    if (value instanceof Map<?, ?> map) {
      text.append('{');
      map.forEach(
          (name, each) -> {
            add(name, nesting + 1);
            add(each, nesting + 1);
          });
      text.append('}');
    } else if (value instanceof List<?> list) {
      text.append('[');
      list.forEach(each -> add(each, nesting + 1));
      text.append(']');
    } else {
      String words = String.valueOf(value);
      requireRoom(words.length(), nesting);
      // The length keeps texts apart that hold brackets; the type keeps "1" from 1.
      text.append(value == null ? "Null" : value.getClass().getSimpleName())
          .append(words.length())
          .append(':')
          .append(words);
    }
  }

  private void requireRoom(int more, int nesting) {
    if (values > MAX_VALUES || text.length() + more > MAX_LENGTH || nesting > MAX_NESTING) {
      throw new InvalidRequestException(
          "responseFormat.schema: too large (expected: at most " + MAX_VALUES + " values, "
              + MAX_LENGTH + " characters and " + MAX_NESTING + " levels)");
    }
  }
}
