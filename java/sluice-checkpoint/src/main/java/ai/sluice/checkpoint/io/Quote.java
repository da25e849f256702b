package ai.sluice.checkpoint.io;

/** Makes text from a file fit to be shown: short, and without control characters. */
public final class Quote {
  private static final int MAX_LENGTH = 120;

  private Quote() {}

  /** {@code text} with control characters as {@code \\uXXXX}, cut after 120 characters. */
  public static String clip(String text) {
    StringBuilder out = new StringBuilder(Math.min(text.length(), MAX_LENGTH) + 16);
    for (int i = 0; i < text.length(); i++) {
      if (i >= MAX_LENGTH) {
        return out.append("... (").append(text.length()).append(" characters)").toString();
      }
      char c = text.charAt(i);
      // Lone surrogates and bidirectional overrides would garble a terminal as controls do.
      boolean plain =
          !Character.isISOControl(c)
              && !Character.isSurrogate(c)
              && Character.getType(c) != Character.FORMAT;
      if (plain) {
        out.append(c);
      } else {
        out.append(String.format("\\u%04x", (int) c));
      }
    }
    return out.toString();
  }
}
