package ai.sluice.cli;

import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.RopeVariant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Says in words what a RoPE's frequencies are. They cross as numbers, whatever rule made them, so
 * the rule is read back from the numbers: what is said here is what the engine computes.
 */
final class RopeText {
  private static final double TOLERANCE = 1e-6;

  private RopeText() {}

  static String of(RopeSpec rope, Optional<DynamicRope> dynamic) {
    RopeVariant variant = rope.getVariants(0);
    StringBuilder text = new StringBuilder();
    text.append(
        dynamic
            .map(
                d ->
                    String.format(
                        Locale.ROOT,
                        "dynamic: base %s up to %d positions, then growing with the prompt, factor"
                            + " %s",
                        number(d.theta()), d.maxPositions(), number(d.factor())))
            .orElseGet(() -> kind(variant.getInvFreqList(), rope.getRotaryDim())));
    text.append(", ").append(rope.getRotaryDim()).append(" columns");
    text.append(rope.getInterleaved() ? ", pairs interleaved" : ", pairs in halves");
    if (variant.getAttentionScale() != 1) {
      text.append(", scale ").append(number(variant.getAttentionScale()));
    }
    return text.toString();
  }

  /** Frequencies are {@code base^(-2i/d) / factor}; a plain RoPE has factor 1 everywhere. */
  private static String kind(List<Double> frequencies, int rotaryDim) {
    int last = frequencies.size() - 1;
    if (last == 0) {
      return "one frequency, " + number(frequencies.get(0));
    }
    double first = 1 / frequencies.get(0);
    double ratio = frequencies.get(0) / frequencies.get(1);
    for (int i = 1; i <= last; i++) {
      if (!near(frequencies.get(i - 1) / frequencies.get(i), ratio)) {
        return "scaled unevenly: frequencies from " + number(frequencies.get(0)) + " to "
            + number(frequencies.get(last));
      }
    }
    String base = "base " + number(Math.pow(ratio, rotaryDim / 2.0));
    return near(first, 1) ? "plain: " + base : "linear: " + base + ", factor " + number(first);
  }

  private static boolean near(double a, double b) {
    return Math.abs(a - b) <= TOLERANCE * Math.abs(b);
  }

  /** Six digits are what a file had; more would show the rounding of the way back. */
  private static String number(double value) {
    double rounded = Double.parseDouble(String.format(Locale.ROOT, "%.6g", value));
    return rounded == Math.rint(rounded) && Math.abs(rounded) < 1e15
        ? String.valueOf((long) rounded)
        : String.valueOf(rounded);
  }
}
