package ai.sluice.eval.report;

import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.run.TaskSummary;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The report's drawings, as SVG. */
final class Plots {
  private static final int WIDTH = 560;
  private static final int SQUARE = 470;
  private static final int NARROW = 330;

  private Plots() {}

  static String escaped(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        .replace("\"", "&quot;");
  }

  private static String svg(int width, int height, String label, String body) {
    return "<svg viewBox=\"0 0 " + width + " " + height + "\" style=\"max-width:" + width * 5 / 4
        + "px\" role=img aria-label=\"" + escaped(label) + "\">" + body + "</svg>\n";
  }

  private static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }

  /** A bar for each task with its score and its interval, the highest first. */
  static String bars(List<TaskSummary> tasks, String metric) {
    int left = 235;
    int right = WIDTH - 92;
    StringBuilder out = new StringBuilder();
    List<TaskSummary> sorted =
        tasks.stream()
            .filter(task -> task.metrics().containsKey(metric))
            .sorted(
                java.util.Comparator.comparingDouble(
                        (TaskSummary task) -> -task.metrics().get(metric).mean())
                    .thenComparing(TaskSummary::task))
            .toList();
    int y = 4;
    for (TaskSummary task : sorted) {
      Map.Entry<Double, Interval> value =
          Map.entry(
              task.metrics().get(metric).mean(), task.metrics().get(metric).interval());
      double width = (right - left) * value.getKey();
      out.append(
          format(
              "<text class=name x=%d y=%d text-anchor=end>%s</text>"
                  + "<rect class=soft x=%d y=%d width=%d height=12 rx=2 />"
                  + "<rect class=bar x=%d y=%d width=%.1f height=12 rx=2 />"
                  + "<line class=err x1=%.1f x2=%.1f y1=%d y2=%d />"
                  + "<text x=%d y=%d>%.1f %% of %d</text>",
              left - 8, y + 10, escaped(task.task()), left, y, right - left, left, y, width,
              left + (right - left) * value.getValue().low(),
              left + (right - left) * value.getValue().high(), y + 6, y + 6, right + 8, y + 10,
              100 * value.getKey(), task.size()));
      y += 18;
    }
    return svg(WIDTH, y, "score of each task", out.toString());
  }

  /** Accuracy against confidence; a dot's size tells how many items it stands for. */
  static String calibration(Calibration calibration) {
    int left = 40;
    int size = 250;
    StringBuilder out = new StringBuilder();
    for (int i = 0; i <= 5; i++) {
      double at = left + size * i / 5.0;
      double y = 10 + size - size * i / 5.0;
      out.append(
          format(
              "<line class=line x1=%d x2=%d y1=%.1f y2=%.1f />"
                  + "<text x=%d y=%.1f text-anchor=end>%d %%</text>"
                  + "<text x=%.1f y=%d text-anchor=middle>%d %%</text>",
              left, left + size, y, y, left - 5, y + 4, 20 * i, at, size + 26, 20 * i));
    }
    out.append(
        format(
            "<line class=ideal x1=%d y1=%d x2=%d y2=%d />", left, 10 + size, left + size, 10));
    for (Calibration.Bin bin : calibration.bins()) {
      if (bin.items() > 0) {
        out.append(
            format(
                "<circle class=dot cx=%.1f cy=%.1f r=%.1f opacity=.8><title>%d items, %.1f %% sure,"
                    + " %.1f %% right</title></circle>",
                left + size * bin.confidence(), 10 + size - size * bin.accuracy(),
                3 + 14 * Math.sqrt((double) bin.items() / calibration.items()), bin.items(),
                100 * bin.confidence(), 100 * bin.accuracy()));
      }
    }
    out.append(
        format(
            "<text x=%d y=%d text-anchor=middle>how sure</text><text x=%d y=20>how often right"
                + "</text>",
            left + size / 2, size + 44, left + 6));
    out.append(
        format(
            "<text class=name x=%d y=40>%d items</text><text class=name x=%d y=58>ECE %.3f</text>"
                + "<text x=%d y=80>dashed: as often right</text><text x=%d y=94>as sure</text>",
            left + size + 24, calibration.items(), left + size + 24, calibration.expectedError(),
            left + size + 24, left + size + 24));
    return svg(SQUARE, size + 52, "calibration", out.toString());
  }

  /** How often values of which size occur. */
  static String histogram(double[] values, String unit) {
    int bins = 24;
    int height = 130;
    int left = 10;
    int right = NARROW - 10;
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    double low = sorted[0];
    double high = sorted[sorted.length - 1];
    double step = high > low ? (high - low) / bins : 1;
    int[] counts = new int[bins];
    for (double value : sorted) {
      counts[Math.min(bins - 1, (int) ((value - low) / step))]++;
    }
    int most = Arrays.stream(counts).max().orElse(1);
    StringBuilder out = new StringBuilder();
    double width = (double) (right - left) / bins;
    for (int i = 0; i < bins; i++) {
      double tall = (height - 20.0) * counts[i] / most;
      out.append(
          format(
              "<rect class=bar x=%.1f y=%.1f width=%.1f height=%.1f rx=1><title>%s to %s: %d"
                  + "</title></rect>",
              left + i * width + 1, height - tall, width - 2, tall, number(low + i * step),
              number(low + (i + 1) * step), counts[i]));
    }
    out.append(
        format(
            "<line class=line x1=%d x2=%d y1=%d y2=%d /><text x=%d y=%d>%s</text>"
                + "<text x=%d y=%d text-anchor=end>%s %s</text>"
                + "<text x=%d y=%d text-anchor=middle>median %s, p99 %s</text>",
            left, right, height, height, left, height + 15, number(low), right, height + 15,
            number(high), escaped(unit), NARROW / 2, height + 15, number(quantile(sorted, 0.5)),
            number(quantile(sorted, 0.99))));
    return svg(NARROW, height + 22, unit, out.toString());
  }

  private static double quantile(double[] sorted, double share) {
    return sorted[(int) Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
  }

  private static String number(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e9
        ? format("%,d", (long) value)
        : format(value < 10 ? "%.2f" : "%.1f", value);
  }
}
