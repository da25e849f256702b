package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.RandomAccess;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The metadata of a GGUF file: typed values by key. A value of another type than the one asked for
 * is an error that names key, value and expectation; integers of any width and sign are one type,
 * as are the two widths of floating-point numbers.
 */
public final class GgufMetadata {
  private final Path file;
  // Long, Double, Boolean, String, PackedStrings or PackedNumbers.
  private final ImmutableMap<String, Object> values;

  GgufMetadata(Path file, Map<String, Object> values) {
    this.file = file;
    this.values = ImmutableMap.copyOf(values);
  }

  /** The file that the values come from. */
  public Path file() {
    return file;
  }

  /** All keys, in the file's order. */
  public Set<String> keys() {
    return values.keySet();
  }

  /** Whether {@code key} is there, with a value of any type. */
  public boolean has(String key) {
    return values.containsKey(key);
  }

  /**
   * The text under {@code key}, or nothing if the key is absent.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<String> string(String key) {
    return Optional.ofNullable(find(key, String.class, "a text"));
  }

  /**
   * The truth value under {@code key}, or nothing if the key is absent.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<Boolean> bool(String key) {
    return Optional.ofNullable(find(key, Boolean.class, "a truth value"));
  }

  /**
   * The integer under {@code key}, or nothing if the key is absent.
   *
   * @throws CheckpointFormatException if the value is of another type or above 2^63 - 1
   */
  public Optional<Long> integer(String key) {
    return Optional.ofNullable(find(key, Long.class, "an integer below 2^63"));
  }

  /**
   * The number under {@code key} (integers count), or nothing if the key is absent.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<Double> number(String key) {
    return values.get(key) instanceof Long integer
        ? Optional.of((double) integer)
        : Optional.ofNullable(find(key, Double.class, "a number"));
  }

  /**
   * The texts under {@code key}, or nothing if the key is absent. The list cannot be changed and
   * decodes its entries when they are read, which throws CheckpointFormatException for one that is
   * not UTF-8.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<List<String>> strings(String key) {
    return Optional.ofNullable(find(key, PackedStrings.class, "an array of texts"));
  }

  /**
   * The integers under {@code key}, or nothing if the key is absent; the list cannot be changed.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<List<Long>> integers(String key) {
    PackedNumbers numbers = find(key, PackedNumbers.class, "an array of integers");
    if (numbers == null) {
      return Optional.empty();
    }
    if (!numbers.type().isInteger()) {
      throw wrong(key, numbers, "an array of integers");
    }
    return Optional.of(
        new NumberList<>(numbers) {
          @Override
          Long at(int index) {
            return packed.integer(index);
          }
        });
  }

  /**
   * The floating-point numbers under {@code key}, or nothing if the key is absent; the list cannot
   * be changed.
   *
   * @throws CheckpointFormatException if the value is of another type
   */
  public Optional<List<Float>> floats(String key) {
    PackedNumbers numbers = find(key, PackedNumbers.class, "an array of numbers");
    if (numbers == null) {
      return Optional.empty();
    }
    if (!numbers.type().isFloat()) {
      throw wrong(key, numbers, "an array of floating-point numbers");
    }
    return Optional.of(
        new NumberList<>(numbers) {
          @Override
          Float at(int index) {
            return (float) packed.floating(index);
          }
        });
  }

  /** The value under {@code key} as messages show it: short, arrays by type and length. */
  public String describe(String key) {
    Object value = values.get(key);
    return value == null ? "absent" : show(value);
  }

  /** The raw value: Long, Double, Boolean, String, PackedStrings or PackedNumbers. */
  @Nullable Object raw(String key) {
    return values.get(key);
  }

  private <T> @Nullable T find(String key, Class<T> type, String expected) {
    Object value = values.get(key);
    if (value == null) {
      return null;
    }
    if (!type.isInstance(value)) {
      throw wrong(key, value, expected);
    }
    return type.cast(value);
  }

  private CheckpointFormatException wrong(String key, Object value, String expected) {
    return new CheckpointFormatException(
        file, Quote.clip(key), show(value) + " (expected: " + expected + ")");
  }

  private static String show(Object value) {
    if (value instanceof PackedStrings strings) {
      return "an array of " + strings.size() + " texts";
    }
    if (value instanceof PackedNumbers numbers) {
      return "an array of " + numbers.size() + " " + numbers.type().name().toLowerCase();
    }
    return Quote.clip(String.valueOf(value));
  }

  private abstract static class NumberList<E> extends AbstractList<E> implements RandomAccess {
    final PackedNumbers packed;

    NumberList(PackedNumbers packed) {
      this.packed = packed;
    }

    abstract E at(int index);

    @Override
    public E get(int index) {
      return at(java.util.Objects.checkIndex(index, packed.size()));
    }

    @Override
    public int size() {
      return packed.size();
    }
  }
}
