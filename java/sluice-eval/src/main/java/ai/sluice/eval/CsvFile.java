package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;

/**
 * Comma-separated values of RFC 4180: fields in double quotes may hold commas, line ends and quotes
 * written twice. Lines end by LF or CRLF.
 */
final class CsvFile {
  /**
   * A row with the line it begins on.
   *
   * @param line from 1
   * @param fields in order
   */
  record Row(int line, List<String> fields) {}

  private final String name;
  private final String text;
  private int at;
  private int line = 1;

  private CsvFile(String name, String text) {
    this.name = name;
    this.text = text;
  }

  /**
   * All rows of a file.
   *
   * @param name for messages
   * @throws InvalidRequestException for a quote that is never closed or text behind one
   */
  static List<Row> rows(String name, String text) {
    CsvFile file = new CsvFile(name, text);
    List<Row> rows = new ArrayList<>();
    while (file.at < text.length()) {
      rows.add(file.row());
    }
    return rows;
  }

  private Row row() {
    int first = line;
    List<String> fields = new ArrayList<>();
    while (true) {
      fields.add(at < text.length() && text.charAt(at) == '"' ? quoted() : plain());
      if (at == text.length()) {
        return new Row(first, fields);
      }
      char end = text.charAt(at++);
      if (end == '\r' && at < text.length() && text.charAt(at) == '\n') {
        end = text.charAt(at++);
      }
      if (end == '\n') {
        line++;
        return new Row(first, fields);
      }
      if (end != ',') {
        throw new InvalidRequestException(
            name + ", line " + line + ": '" + end + "' behind a closing quote (expected: a comma or"
                + " the line's end; remedy: fetch the file again)");
      }
    }
  }

  // The library's searches are compiled long before a loop of ours is.
  private String plain() {
    int begin = at;
    int comma = next(',');
    int feed = next('\n');
    at = Math.min(comma, feed);
    if (at == feed && feed < text.length() && feed > begin && text.charAt(feed - 1) == '\r') {
      at--;
    }
    return text.substring(begin, at);
  }

  private int next(char c) {
    int found = text.indexOf(c, at);
    return found < 0 ? text.length() : found;
  }

  private String quoted() {
    int first = line;
    StringBuilder out = new StringBuilder();
    at++;
    while (true) {
      int quote = text.indexOf('"', at);
      if (quote < 0) {
        throw new InvalidRequestException(
            name + ", line " + first
                + ": a quote that is never closed (remedy: fetch the file again)");
      }
      int feed = next('\n');
      while (feed >= 0 && feed < quote) {
        line++;
        feed = text.indexOf('\n', feed + 1);
      }
      out.append(text, at, quote);
      at = quote + 1;
      if (at == text.length() || text.charAt(at) != '"') {
        return out.toString();
      }
      out.append('"');
      at++;
    }
  }
}
