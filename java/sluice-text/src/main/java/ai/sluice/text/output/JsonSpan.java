package ai.sluice.text.output;

/** Finds the end of a JSON object that comes by the character; its inside is checked later. */
final class JsonSpan {
  private static final int MAX_DEPTH = 100;

  /** The brackets that will close what is open. */
  private final StringBuilder closing = new StringBuilder();

  private boolean inString;
  private boolean escaped;

  /** Takes one more character, the first of which opens the object. */
  Progress accept(char c) {
    if (inString) {
      if (escaped) {
        escaped = false;
      } else if (c == '\\') {
        escaped = true;
      } else if (c == '"') {
        inString = false;
      }
      return Progress.MORE;
    }
    if (closing.length() == 0 && c != '{') {
      return Progress.BAD;
    }
    switch (c) {
      case '"' -> inString = true;
      case '{' -> closing.append('}');
      case '[' -> closing.append(']');
      case '}', ']' -> {
        int last = closing.length() - 1;
        if (closing.charAt(last) != c) {
          return Progress.BAD;
        }
        closing.setLength(last);
        if (last == 0) {
          return Progress.DONE;
        }
      }
      default -> {
        return Progress.MORE;
      }
    }
    return closing.length() > MAX_DEPTH ? Progress.BAD : Progress.MORE;
  }

  /** How many objects and lists are open. */
  int depth() {
    return closing.length();
  }

  boolean isInString() {
    return inString;
  }
}
