package ai.sluice.api;

/**
 * An output head of a model.
 *
 * @param name as requests name it
 * @param kind what it gives
 * @param numValues scores of a CLASSIFICATION head, 1 for VALUE; 0 for heads that give tokens
 */
public record ModelHead(String name, Kind kind, int numValues) {
  /** What a head gives. */
  public enum Kind {
    /** The next token. */
    GENERATION,
    /** Scores of labels, at the last position. */
    CLASSIFICATION,
    /** The next token, after a further layer. */
    REASONING,
    /** One number, at the last position. */
    VALUE
  }

  /** Whether a generation can use it. */
  public boolean givesTokens() {
    return kind == Kind.GENERATION || kind == Kind.REASONING;
  }
}
