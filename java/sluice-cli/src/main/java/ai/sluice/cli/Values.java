package ai.sluice.cli;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import java.time.Duration;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.TypeConversionException;

/**
 * Reads option values. Strict where Java is lenient: a hexadecimal float, a "1d" or a NaN is a
 * typing error here. Every failure says value and expectation; {@link Failures} adds the option.
 */
final class Values {
  private static final Pattern WHOLE = Pattern.compile("[+-]?\\d+");
  private static final Pattern DECIMAL =
      Pattern.compile("[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?");

  private Values() {}

  /** Makes a command line read its values by these rules. */
  static void register(CommandLine commandLine) {
    commandLine.registerConverter(Integer.class, Values::wholeInt);
    commandLine.registerConverter(Long.class, Values::wholeLong);
    commandLine.registerConverter(Double.class, Values::decimal);
    commandLine.registerConverter(Backend.class, Values::backend);
    commandLine.registerConverter(ComputeDtype.class, Values::dtype);
    commandLine.registerConverter(Numerics.class, Values::numerics);
  }

  static int wholeInt(String text) {
    return (int) whole(text, Integer.MIN_VALUE, Integer.MAX_VALUE);
  }

  static long wholeLong(String text) {
    return whole(text, Long.MIN_VALUE, Long.MAX_VALUE);
  }

  private static long whole(String text, long min, long max) {
    if (WHOLE.matcher(text).matches()) {
      try {
        long value = Long.parseLong(text);
        if (value >= min && value <= max) {
          return value;
        }
      } catch (NumberFormatException e) {
        // More than 64 bits: falls through to the message about the range.
      }
      throw fail(text, "a whole number from " + min + " to " + max);
    }
    throw fail(text, "a whole number");
  }

  static double decimal(String text) {
    if (!DECIMAL.matcher(text).matches()) {
      throw fail(text, "a number, for example 0.7");
    }
    double value = Double.parseDouble(text);
    if (Double.isInfinite(value)) {
      throw fail(text, "a number below 1.8e308");
    }
    return value;
  }

  static Backend backend(String text) {
    return switch (text.toLowerCase(Locale.ROOT)) {
      case "auto" -> Backend.AUTO;
      case "cpu" -> Backend.CPU;
      case "cuda", "gpu" -> Backend.CUDA;
      default -> throw fail(text, "auto, cpu or cuda");
    };
  }

  static ComputeDtype dtype(String text) {
    return switch (text.toLowerCase(Locale.ROOT)) {
      case "auto" -> ComputeDtype.AUTO;
      case "float32", "f32", "fp32" -> ComputeDtype.FLOAT32;
      case "bfloat16", "bf16" -> ComputeDtype.BFLOAT16;
      default -> throw fail(text, "auto, float32 or bfloat16");
    };
  }

  static Numerics numerics(String text) {
    return switch (text.toLowerCase(Locale.ROOT)) {
      case "fast" -> Numerics.FAST;
      case "batch-invariant" -> Numerics.BATCH_INVARIANT;
      default -> throw fail(text, "fast or batch-invariant");
    };
  }

  private static TypeConversionException fail(String text, String expected) {
    return new TypeConversionException(
        (text.isEmpty() ? "empty" : text) + " (expected: " + expected + ")");
  }

  /** Gives a time to a setter of the library; see {@link #give}. */
  static void giveSeconds(String option, @Nullable Double seconds, Consumer<Duration> setter) {
    if (seconds != null) {
      // Beyond a century the library sees none; the cast keeps a huge number huge.
      give(option, Duration.ofMillis((long) Math.ceil(seconds * 1000)), setter);
    }
  }

  /**
   * Gives a value to a setter of the library; its refusal then names the option, not the setter.
   *
   * @param option as the user typed it, for example {@code --top-p}
   */
  static <T> void give(String option, @Nullable T value, Consumer<T> setter) {
    if (value == null) {
      return;
    }
    try {
      setter.accept(value);
    } catch (InvalidRequestException e) {
      String message = String.valueOf(e.getMessage());
      int colon = message.indexOf(": ");
      throw new InvalidRequestException(option + message.substring(Math.max(colon, 0)), e);
    }
  }
}
