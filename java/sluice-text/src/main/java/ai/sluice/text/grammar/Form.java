package ai.sluice.text.grammar;

import java.util.List;

/** What a text may look like: the tree between a schema or an expression and its automaton. */
sealed interface Form {
  /** The empty text. */
  Form EMPTY = new Sequence(List.of());

  /** This text. */
  record Literal(String text) implements Form {}

  /** One character of a set. */
  record Chars(CodePoints set) implements Form {}

  /** The parts one after the other. */
  record Sequence(List<Form> parts) implements Form {}

  /** One of the options; none of them fits where the list is empty. */
  record Choice(List<Form> options) implements Form {}

  /**
   * The body {@code min} to {@code max} times.
   *
   * @param max -1 for any number
   */
  record Repeat(Form body, int min, int max) implements Form {}

  /** What another rule describes; never the empty text. */
  record Call(int rule) implements Form {}

  /** A JSON string whose value has the form of the body, each character spelled shortest. */
  record Quoted(Form body) implements Form {}

  /** What has both forms; neither of them calls a rule. */
  record Both(Form first, Form second) implements Form {}

  /** Members of an object in this order, with commas between those that are there. */
  record Members(List<Member> members) implements Form {}

  /** One member: key, colon and value. */
  record Member(Form text, boolean required) {}

  /** A minus or none, and digits, whose number is a multiple. */
  record Multiple(int of) implements Form {}

  /** Start or end of the whole text; the reader of expressions resolves it. */
  record Anchor(boolean start) implements Form {}

  static Form sequence(Form... parts) {
    return new Sequence(List.of(parts));
  }

  static Form choice(Form... options) {
    return new Choice(List.of(options));
  }

  static Form optional(Form body) {
    return new Repeat(body, 0, 1);
  }

  static Form literal(String text) {
    return new Literal(text);
  }
}
