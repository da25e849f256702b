package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;

/** Takes what a sequence generates. Called on the scheduler thread, so it must not block. */
public interface TokenSink {
  /**
   * The sequence leaves the queue and joins the running ones. Not called if it never does.
   *
   * @param cachedTokens tokens of its prompt whose state was found, and is not computed again
   */
  void admitted(int cachedTokens);

  /**
   * Takes the next token.
   *
   * @param token its id
   * @param stopsHere whether the token itself ends the sequence and has no text
   * @param output the step's output, for log-probabilities; valid during the call only
   * @param row the output row
   * @param index which of the row's accepted tokens it is, from 0
   * @return whether the text so far ends the sequence
   */
  boolean token(int token, boolean stopsHere, StepOutput output, int row, int index);

  /**
   * Takes the values of the head that the sequence asked for; {@link #finished} follows.
   *
   * @param output the step's output; valid during the call only
   * @param row the output row
   */
  default void values(StepOutput output, int row) {
    throw new IllegalStateException("values for a sequence of tokens (a defect of Sluice)");
  }

  /**
   * Takes the likeliest tokens of a place whose targets follow, where the sequence asks for any.
   *
   * @param output the step's output; valid during the call only
   * @param row the output row
   */
  default void likeliest(StepOutput output, int row) {
    throw new IllegalStateException("a score for a sequence of tokens (a defect of Sluice)");
  }

  /**
   * Takes the log-probability of one target of a sequence that is scored, by rising position.
   *
   * @param position of the target, where the token of the prompt or one that might follow it stands
   * @param token the target
   * @param logprob its natural log-probability after the tokens before it
   * @param rank how many tokens were likelier there
   */
  default void scored(int position, int token, float logprob, int rank) {
    throw new IllegalStateException("a score for a sequence of tokens (a defect of Sluice)");
  }

  /**
   * The sequence is over and holds nothing any more. Either this or {@link #failed} is called,
   * exactly once, last; but if this throws, {@link #failed} is called after it.
   *
   * @param reason why
   * @param detail more in words, or empty
   * @param times when things happened
   */
  void finished(FinishReason reason, String detail, SequenceTimes times);

  /** The engine failed under the sequence, or {@link #finished} threw. */
  void failed(SluiceException cause);
}
