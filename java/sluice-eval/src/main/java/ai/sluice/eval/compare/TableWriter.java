package ai.sluice.eval.compare;

import ai.sluice.eval.compare.EvalTable.Cell;
import ai.sluice.eval.compare.EvalTable.Kind;
import ai.sluice.eval.compare.EvalTable.Row;
import ai.sluice.eval.metrics.Interval;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Writes tables for terminals, as Markdown and as HTML. Thread-safe. */
public final class TableWriter {
  private static final String MISSING = "missing";
  private static final int LABEL = 30;
  private static final int CELL = 16;
  private static final String LEGEND =
      "Scores in percent. Beside a value its improvement on the baseline in percent of its value"
          + " (times and bytes: what is saved). *: the paired 95 % interval of the difference does"
          + " not hold 0.";

  private TableWriter() {}

  /**
   * For a terminal: models that do not fit beside the baseline follow in further blocks.
   *
   * @param columns of the terminal, at least 64
   */
  public static String text(EvalTable table, int columns) {
    int beside = Math.max(1, (columns - LABEL) / CELL - 1);
    int models = table.models().size();
    StringBuilder out = new StringBuilder();
    int first = 1;
    do {
      List<Integer> block = new ArrayList<>(List.of(0));
      for (int i = first; i < Math.min(models, first + beside); i++) {
        block.add(i);
      }
      out.append(first == 1 ? "" : "\n").append(block(table, block));
      first += beside;
    } while (first < models);
    out.append('\n').append(wrapped(LEGEND, columns));
    table.notes().forEach(note -> out.append(wrapped("- " + note, columns)));
    return out.toString();
  }

  private static String block(EvalTable table, List<Integer> block) {
    StringBuilder out = new StringBuilder(" ".repeat(LABEL));
    block.forEach(i -> out.append(right(table.models().get(i), CELL)));
    out.append('\n').append(" ".repeat(LABEL));
    block.forEach(i -> out.append(right(i == 0 ? "(baseline)" : "", CELL)));
    out.append('\n');
    for (Row row : table.rows()) {
      String name = name(row);
      out.append(String.format(Locale.ROOT, "%-" + LABEL + "s", cut(name, LABEL - 1)));
      for (int i : block) {
        out.append(right(cell(row, i), CELL));
      }
      out.append('\n');
    }
    return out.toString().replaceAll(" +\n", "\n");
  }

  private static String cell(Row row, int column) {
    Optional<Cell> cell = row.cells().get(column);
    if (cell.isEmpty()) {
      return MISSING;
    }
    return value(row.kind(), cell.get().value()) + improvement(cell.get()).map(s -> " " + s)
        .orElse("");
  }

  private static Optional<String> improvement(Cell cell) {
    return cell.improvement().isPresent()
        ? Optional.of(
            String.format(
                Locale.ROOT, "(%+.1f)%s", cell.improvement().getAsDouble(),
                cell.certain() ? "*" : ""))
        : Optional.empty();
  }

  private static String right(String text, int columns) {
    String cut = cut(text, columns - 1);
    int length = cut.codePointCount(0, cut.length());
    return " ".repeat(columns - length) + cut;
  }

  private static String cut(String text, int columns) {
    int length = text.codePointCount(0, text.length());
    return length <= columns ? text : text.substring(0, text.offsetByCodePoints(0, columns - 2))
        + "..";
  }

  static String wrapped(String text, int columns) {
    StringBuilder out = new StringBuilder();
    int at = 0;
    for (String word : text.split(" ")) {
      if (at > 0 && at + 1 + word.length() > columns) {
        out.append('\n').append(text.startsWith("- ") ? "  " : "");
        at = text.startsWith("- ") ? 2 : 0;
      } else if (at > 0) {
        out.append(' ');
        at++;
      }
      out.append(word);
      at += word.length();
    }
    return out.append('\n').toString();
  }

  private static String name(Row row) {
    return row.kind() == Kind.BYTES ? row.label() + ", MB" : row.label();
  }

  private static String value(Kind kind, double value) {
    return switch (kind) {
      case SCORE -> String.format(Locale.ROOT, "%.2f", 100 * value);
      case BYTES -> String.format(Locale.ROOT, "%.1f", value / 1e6);
      case MILLISECONDS -> digits(value);
      case TOKENS_PER_SECOND, TOKENS_PER_JOULE -> digits(value);
    };
  }

  /** Three digits or more: neither 0.00 for what is small nor decimals that say nothing. */
  private static String digits(double value) {
    String format = value >= 1000 ? "%.0f" : value >= 100 ? "%.1f" : value >= 1 ? "%.2f" : "%.3g";
    return String.format(Locale.ROOT, format, value);
  }

  /** A table of GitHub's Markdown, with its notes below. */
  public static String markdown(EvalTable table) {
    StringBuilder out = new StringBuilder("| metric |");
    for (int i = 0; i < table.models().size(); i++) {
      out.append(' ').append(escaped(table.models().get(i)));
      out.append(i == 0 ? " (baseline) |" : " |");
    }
    out.append("\n| --- |").append(" ---: |".repeat(table.models().size())).append('\n');
    for (Row row : table.rows()) {
      out.append("| ").append(escaped(name(row))).append(" |");
      for (int i = 0; i < row.cells().size(); i++) {
        out.append(' ').append(escaped(cell(row, i))).append(" |");
      }
      out.append('\n');
    }
    out.append('\n').append(escaped(LEGEND)).append('\n');
    table.notes().forEach(note -> out.append("\n- ").append(escaped(note)));
    return out.append(table.notes().isEmpty() ? "" : "\n").toString();
  }

  private static String escaped(String text) {
    return text.replaceAll("([\\\\`*_<>\\[\\]|])", "\\\\$1");
  }

  /** One page that needs no other file. */
  public static String html(EvalTable table) {
    StringBuilder out = new StringBuilder("<div class=wide><table><thead><tr><th>metric");
    for (int i = 0; i < table.models().size(); i++) {
      out.append("<th>").append(Page.escaped(table.models().get(i)));
      out.append(i == 0 ? "<small>baseline</small>" : "");
    }
    out.append("<tbody>\n");
    for (Row row : table.rows()) {
      out.append("<tr class=").append(row.kind().name().toLowerCase(Locale.ROOT));
      out.append("><th>").append(Page.escaped(name(row)));
      row.cells().forEach(cell -> out.append(cell.map(c -> html(row, c)).orElse(
          "<td class=missing>missing")));
      out.append('\n');
    }
    out.append("</table></div>\n<p>").append(Page.escaped(LEGEND));
    out.append(" Below a score: Wilson's interval at 95 %.</p>\n");
    if (!table.notes().isEmpty()) {
      out.append("<ul>");
      table.notes().forEach(note -> out.append("<li>").append(Page.escaped(note)).append('\n'));
      out.append("</ul>\n");
    }
    return Page.of("Evaluation", "Models beside " + table.models().get(0), out.toString());
  }

  private static String html(Row row, Cell cell) {
    StringBuilder out = new StringBuilder("<td><b>").append(value(row.kind(), cell.value()));
    out.append("</b>");
    if (cell.improvement().isPresent()) {
      double percent = cell.improvement().getAsDouble();
      out.append(" <span class=").append(percent > 0 ? "up" : percent < 0 ? "down" : "same");
      out.append('>').append(String.format(Locale.ROOT, "%+.1f %%", percent));
      out.append(cell.certain() ? "*" : "").append("</span>");
    }
    Optional<Interval> interval = cell.interval().filter(each -> each.low() < each.high());
    interval.ifPresent(
        each ->
            out.append("<small>").append(value(row.kind(), each.low())).append("–")
                .append(value(row.kind(), each.high())).append("</small>"));
    return out.toString();
  }
}
