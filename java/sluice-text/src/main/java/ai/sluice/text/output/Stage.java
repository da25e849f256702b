package ai.sluice.text.output;

/** Takes a text by the character. What it finds depends on the characters alone. */
interface Stage {
  /** Takes one more character. */
  void accept(char c);

  /** The text has ended. */
  void finish();

  /** Takes more characters. */
  default void acceptAll(CharSequence text) {
    for (int i = 0; i < text.length(); i++) {
      accept(text.charAt(i));
    }
  }
}
