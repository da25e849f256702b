package ai.sluice.text.jinja;

/** Collects rendered text within the limits of its rendering. */
final class Output {
  private final Interpreter in;
  private final StringBuilder text = new StringBuilder();

  Output(Interpreter in) {
    this.in = in;
  }

  void append(String part) {
    in.made(part);
    text.append(part);
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
