package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;

/**
 * Takes the anchors out of an expression. They may stand where they say nothing but "the text
 * begins here" and "ends here"; an expression that may match somewhere gets any text at the ends
 * that have none.
 */
final class RegexAnchors {
  private static final Form ANY_TEXT = new Form.Repeat(new Form.Chars(CodePoints.ALL), 0, -1);

  private final String where;
  private final boolean somewhere;

  RegexAnchors(String where, boolean somewhere) {
    this.where = where;
    this.somewhere = somewhere;
  }

  Form resolve(Form form) {
    return resolve(form, true, true);
  }

  /**
   * Resolves a part.
   *
   * @param begins whether the whole text begins where the part does
   * @param ends whether the whole text ends where the part does
   */
  private Form resolve(Form form, boolean begins, boolean ends) {
    if (form instanceof Form.Choice choice) {
      return new Form.Choice(
          choice.options().stream().map(option -> resolve(option, begins, ends)).toList());
    }
    if (form instanceof Form.Sequence sequence) {
      return resolve(sequence.parts(), begins, ends);
    }
    if (begins && isAnchor(form, true) || ends && isAnchor(form, false)) {
      return resolve(List.of(form), begins, ends);
    }
    if (form instanceof Form.Repeat repeat) {
      Form body = resolve(repeat.body(), false, false);
      return padded(new Form.Repeat(body, repeat.min(), repeat.max()), begins, ends);
    }
    return padded(form, begins, ends);
  }

  private Form resolve(List<Form> parts, boolean begins, boolean ends) {
    int first = 0;
    int last = parts.size();
    while (begins && first < last && isAnchor(parts.get(first), true)) {
      first++;
    }
    while (ends && first < last && isAnchor(parts.get(last - 1), false)) {
      last--;
    }
    boolean padFirst = begins && first == 0;
    boolean padLast = ends && last == parts.size();
    if (first == last) {
      return padded(Form.EMPTY, padFirst, padLast);
    }
    List<Form> resolved = new ArrayList<>();
    for (int i = first; i < last; i++) {
      resolved.add(resolve(parts.get(i), padFirst && i == first, padLast && i == last - 1));
    }
    return new Form.Sequence(resolved);
  }

  private static boolean isAnchor(Form form, boolean start) {
    return form instanceof Form.Anchor anchor && anchor.start() == start;
  }

  private Form padded(Form form, boolean begins, boolean ends) {
    if (form instanceof Form.Anchor anchor) {
      throw new InvalidRequestException(
          where
              + ": anchor "
              + (anchor.start() ? "^" : "$")
              + " within the expression (expected: ^ at its beginning and $ at its end alone)");
    }
    if (!somewhere || !begins && !ends) {
      return form;
    }
    List<Form> parts = new ArrayList<>();
    if (begins) {
      parts.add(ANY_TEXT);
    }
    parts.add(form);
    if (ends) {
      parts.add(ANY_TEXT);
    }
    return new Form.Sequence(parts);
  }
}
