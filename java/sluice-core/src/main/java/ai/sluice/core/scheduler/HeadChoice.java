package ai.sluice.core.scheduler;

/**
 * What a sequence asks the model for: tokens, chosen by one of the heads that give logits, or once,
 * at the end of its prompt, the values of a head that gives those.
 *
 * @param head index into ModelSpec.heads
 * @param numValues values that the head gives; 0 if it gives logits
 */
public record HeadChoice(int head, int numValues) {
  /** Tokens by a head that gives logits. */
  public static HeadChoice tokens(int head) {
    return new HeadChoice(head, 0);
  }

  boolean givesValues() {
    return numValues > 0;
  }
}
