package ai.sluice.eval.compare;

import ai.sluice.eval.compare.RunHistory.Point;
import ai.sluice.eval.compare.RunHistory.Series;
import java.util.List;
import java.util.Locale;

/** Writes histories for terminals and as HTML. Thread-safe. */
public final class HistoryWriter {
  private static final int NAME = 16;
  private static final int NUMBERS = 62;

  private static final double WIDTH = 960;
  private static final double HEIGHT = 240;
  private static final double LEFT = 48;
  private static final double TOP = 12;
  private static final double BOTTOM = 210;
  private static final int DATES = 10;

  private HistoryWriter() {}

  /** The range that the plots of a series show. */
  private record Range(double low, double high) {
    static Range of(Series series) {
      double low = series.points().stream().mapToDouble(p -> p.interval().low()).min().orElse(0);
      double high = series.points().stream().mapToDouble(p -> p.interval().high()).max().orElse(1);
      // Of one value alone some room on both sides, so that it has a place; none beyond 0 and 1.
      double room = Math.max(0.01, (high - low) * 0.05);
      return new Range(
          low >= 0 ? Math.max(0, low - room) : low - room,
          high <= 1 ? Math.min(1, high + room) : high + room);
    }

    /** 0 to 1 within the range. */
    double at(double value) {
      return (value - low) / (high - low);
    }
  }

  /**
   * For a terminal: a line for each run with its score, its interval and their place.
   *
   * @param columns of the terminal, at least 72
   */
  public static String text(RunHistory history, int columns) {
    StringBuilder out = new StringBuilder();
    int plot = Math.min(48, columns - NUMBERS - 1);
    for (Series series : history.series()) {
      Range range = Range.of(series);
      out.append(series.label()).append(", version ").append(series.version()).append('\n');
      out.append(
          String.format(
              Locale.ROOT, "  %-10s  %-" + NAME + "s %6s  %6s  %-13s  %s%n", "date", "run",
              "items", "score", "95 % interval",
              ends(range, plot)));
      for (Point point : series.points()) {
        out.append(
            String.format(
                Locale.ROOT, "  %-10s  %-" + NAME + "s %5d%s  %.4f  %.4f-%.4f  %s%n",
                day(point), cut(name(point)), point.items(), point.complete() ? " " : "+",
                point.score(), point.interval().low(), point.interval().high(),
                bar(range, point, plot).stripTrailing()));
      }
      out.append('\n');
    }
    if (history.series().stream().anyMatch(s -> s.points().stream().anyMatch(p -> !p.complete()))) {
      out.append("+: not complete, the score is that of the items done.\n");
    }
    history.notes().forEach(note -> out.append(TableWriter.wrapped("- " + note, columns)));
    return out.toString();
  }

  private static String ends(Range range, int plot) {
    String low = String.format(Locale.ROOT, "%.2f", range.low());
    String high = String.format(Locale.ROOT, "%.2f", range.high());
    return low + " ".repeat(Math.max(1, plot - low.length() - high.length())) + high;
  }

  private static String bar(Range range, Point point, int plot) {
    char[] out = " ".repeat(plot).toCharArray();
    int low = (int) (range.at(point.interval().low()) * (plot - 1));
    int high = (int) (range.at(point.interval().high()) * (plot - 1));
    for (int i = low; i <= high; i++) {
      out[i] = '─';
    }
    out[(int) (range.at(point.score()) * (plot - 1))] = '●';
    return new String(out);
  }

  private static String day(Point point) {
    return point.date().substring(0, Math.min(10, point.date().length()));
  }

  private static String name(Point point) {
    return String.valueOf(point.run().toAbsolutePath().normalize().getFileName());
  }

  /** A name too long loses its beginning: numbers and hashes are at the end. */
  private static String cut(String name) {
    return name.length() <= NAME ? name : ".." + name.substring(name.length() - NAME + 2);
  }

  /** One page that needs no other file: a curve and a table for each series. */
  public static String html(RunHistory history) {
    StringBuilder out = new StringBuilder();
    for (Series series : history.series()) {
      out.append("<section class=card><h2>").append(Page.escaped(series.label()));
      out.append("</h2>\n").append(curve(series)).append("<table><thead><tr><th>run<th>date");
      out.append("<th>items<th>score<th>95 % interval<tbody>\n");
      List<Point> points = series.points();
      for (int i = points.size() - 1; i >= 0; i--) {
        Point point = points.get(i);
        out.append("<tr><th>").append(Page.escaped(name(point))).append("<td>");
        out.append(Page.escaped(point.date())).append("<td>").append(point.items());
        out.append(point.complete() ? "" : " (not complete)");
        out.append(
            String.format(
                Locale.ROOT, "<td><b>%.4f</b><td>%.4f–%.4f%n", point.score(),
                point.interval().low(), point.interval().high()));
      }
      out.append("</table></section>\n");
    }
    if (!history.notes().isEmpty()) {
      out.append("<ul>");
      history.notes().forEach(
          note -> out.append("<li>").append(Page.escaped(note)).append('\n'));
      out.append("</ul>\n");
    }
    return Page.of(
        "Evaluation over time", history.runs().size() + " runs below " + history.folder(),
        out.toString());
  }

  private static String curve(Series series) {
    Range range = Range.of(series);
    List<Point> points = series.points();
    StringBuilder out = new StringBuilder();
    out.append(
        String.format(
            Locale.ROOT, "<svg viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"%s\">%n", WIDTH,
            HEIGHT, Page.escaped(series.label())));
    for (int i = 0; i <= 4; i++) {
      double value = range.low() + (range.high() - range.low()) * i / 4;
      double y = y(range, value);
      out.append(
          String.format(
              Locale.ROOT,
              "<line class=grid x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/><text x=\"%.1f\""
                  + " y=\"%.1f\" text-anchor=end>%.3f</text>%n",
              LEFT, y, WIDTH, y, LEFT - 6, y + 4, value));
    }
    StringBuilder way = new StringBuilder();
    int every = (points.size() + DATES - 1) / DATES;
    for (int i = 0; i < points.size(); i++) {
      Point point = points.get(i);
      double x = x(i, points.size());
      way.append(String.format(Locale.ROOT, "%.1f,%.1f ", x, y(range, point.score())));
      out.append(
          String.format(
              Locale.ROOT,
              "<line class=bar x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>%n", x,
              y(range, point.interval().low()), x, y(range, point.interval().high())));
      if (i % every == 0) {
        out.append(
            String.format(
                Locale.ROOT, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=middle>%s</text>%n", x,
                HEIGHT - 8, Page.escaped(day(point))));
      }
    }
    out.append("<polyline class=way points=\"").append(way.toString().strip()).append("\"/>\n");
    for (int i = 0; i < points.size(); i++) {
      Point point = points.get(i);
      out.append(
          String.format(
              Locale.ROOT,
              "<circle class=dot cx=\"%.1f\" cy=\"%.1f\" r=5><title>%s %s: %.4f</title></circle>%n",
              x(i, points.size()), y(range, point.score()), Page.escaped(name(point)),
              Page.escaped(day(point)), point.score()));
    }
    return out.append("</svg>\n").toString();
  }

  private static double x(int index, int count) {
    // Half a place is left free on both sides, so that dates have room.
    return LEFT + (WIDTH - LEFT) * (index + 0.5) / count;
  }

  private static double y(Range range, double value) {
    return BOTTOM - (BOTTOM - TOP) * range.at(value);
  }
}
