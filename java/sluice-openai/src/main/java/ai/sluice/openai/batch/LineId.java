package ai.sluice.openai.batch;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The id of an output line. It says all that a later run needs to know: which line is answered,
 * what that line was, and by what it was answered; so the output needs no file beside it.
 *
 * @param run fingerprint of model and options
 * @param number of the input line, from 1
 * @param hash of the input line
 */
record LineId(String run, int number, long hash) {
  /** Characters of a run's fingerprint. */
  static final int RUN_LENGTH = 12;

  private static final Pattern FORM =
      Pattern.compile("batch_req_([0-9a-f]{12})_(\\d{1,10})_([0-9a-f]{16})");

  @Override
  public String toString() {
    return "batch_req_" + run + "_" + number + "_" + hex();
  }

  /** The hash alone. */
  String hex() {
    return String.format("%016x", hash);
  }

  /** The id that an output line begins with. */
  static Optional<LineId> ofLine(String line) {
    String before = "{\"id\":\"";
    if (!line.startsWith(before)) {
      return Optional.empty();
    }
    int end = line.indexOf('"', before.length());
    Matcher id = FORM.matcher(line.substring(before.length(), Math.max(end, before.length())));
    if (!id.matches()) {
      return Optional.empty();
    }
    long number = Long.parseLong(id.group(2));
    if (number < 1 || number > Integer.MAX_VALUE - 8) {
      return Optional.empty();
    }
    return Optional.of(
        new LineId(id.group(1), (int) number, Long.parseUnsignedLong(id.group(3), 16)));
  }
}
