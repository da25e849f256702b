package ai.sluice.core.scheduler;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.Arrays;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One request on its way through the scheduler. After submit only the scheduler's thread touches
 * its state.
 *
 * <p>Positions count from 0 over prompt and output. {@code numPlanned} positions are in steps that
 * were planned; {@code numKnown} tokens are known. With a step in flight a sequence may have
 * planned one position more than it knows tokens: the next token is then named by its output row.
 */
public final class Sequence {
  /** Never times out. */
  public static final long NO_DEADLINE = Long.MAX_VALUE;

  /** Reports no log-probabilities. */
  public static final int NO_LOGPROBS = -1;

  enum State {
    WAITING,
    RUNNING,
    FINISHED
  }

  private static final Logger LOG = LoggerFactory.getLogger(Sequence.class);
  private static final int NO_STEP = -1;

  final TokenSink sink;
  final HeadChoice head;
  final SamplingParams sampling;
  final long seed;
  final int promptLength;
  final int maxNewTokens;
  final int topN;
  final long deadline;
  final int[] stopTokens;
  final List<RopeFrequencies> ropes;
  final long submitted;

  State state = State.WAITING;
  int seqSlot = -1;
  int worstCaseBlocks;
  /** Block table: {@code blocks[group][index]}, the first {@code numBlocks} entries of each. */
  int[][] blocks = {};

  int numBlocks;
  int numPlanned;
  int numKnown;
  int numOutputsPlanned;
  /** Where the token after the last known one is being made. */
  long pendingStep = NO_STEP;

  int pendingRow;
  long started = SequenceTimes.NEVER;
  long firstToken = SequenceTimes.NEVER;
  long lastToken = SequenceTimes.NEVER;
  private int[] tokens;

  /**
   * Creates a waiting sequence.
   *
   * @param prompt at least one token; not copied
   * @param maxNewTokens at least 1, and 1 for a head that gives values; prompt and new tokens fit
   *     the context
   * @param head what is asked for
   * @param sampling how tokens are chosen
   * @param seed of the random choices
   * @param topN likeliest tokens to report, or {@link #NO_LOGPROBS}
   * @param stopTokens tokens that end it, sorted; not copied
   * @param ropes frequencies fixed by the prompt's length
   * @param submitted when it was submitted, in nanoseconds
   * @param deadline when it times out, in nanoseconds of the same clock
   * @param sink takes its tokens
   */
  public Sequence(
      int[] prompt,
      int maxNewTokens,
      HeadChoice head,
      SamplingParams sampling,
      long seed,
      int topN,
      int[] stopTokens,
      List<RopeFrequencies> ropes,
      long submitted,
      long deadline,
      TokenSink sink) {
    this.tokens = prompt;
    this.promptLength = prompt.length;
    this.numKnown = prompt.length;
    this.maxNewTokens = maxNewTokens;
    this.head = head;
    this.sampling = sampling;
    this.seed = seed;
    this.topN = topN;
    this.stopTokens = stopTokens;
    this.ropes = ropes;
    this.submitted = submitted;
    this.deadline = deadline;
    this.sink = sink;
  }

  /** Tokens generated so far. */
  int numOutputs() {
    return numKnown - promptLength;
  }

  /** Positions that hold state when everything was generated: the last token is never an input. */
  int worstCasePositions() {
    return promptLength + maxNewTokens - 1;
  }

  /** Known tokens that no planned step computes yet; 0 or less once the next one is in flight. */
  int numUnplanned() {
    return numKnown - numPlanned;
  }

  int token(int position) {
    return tokens[position];
  }

  void append(int token) {
    if (numKnown == tokens.length) {
      long most = (long) promptLength + maxNewTokens;
      tokens = Arrays.copyOf(tokens, (int) Math.min(most, tokens.length * 2L + 16));
    }
    tokens[numKnown++] = token;
  }

  boolean stopsAt(int token) {
    return Arrays.binarySearch(stopTokens, token) >= 0;
  }

  void clearPending() {
    pendingStep = NO_STEP;
  }

  // What a sink throws here would end the scheduler's thread, and with it every other sequence.

  /** Tells the sink that it left the queue. Throws nothing. */
  void tellAdmitted() {
    try {
      sink.admitted();
    } catch (Throwable e) {
      report("a sink threw when its sequence was admitted; the sequence goes on", e);
    }
  }

  /** Tells the sink how it ended, or, if it throws at that, that it failed. Throws nothing. */
  void tellFinished(FinishReason reason, String detail, long now) {
    try {
      sink.finished(reason, detail, times(now));
    } catch (Throwable e) {
      report("a sink threw at the end of its sequence; its generation fails", e);
      tellFailed(
          new EngineFailedException(
              "generation: ended with " + reason + ", but its result could not be made (expected:"
                  + " no failure; submit the request again): " + e,
              e));
    }
  }

  /** Tells the sink that it failed. Throws nothing. */
  void tellFailed(SluiceException cause) {
    try {
      sink.failed(cause);
    } catch (Throwable e) {
      report("a sink threw when it was told of a failure", e);
    }
  }

  /** Logging needs memory too, which may be what is lacking. */
  private static void report(String what, Throwable e) {
    try {
      LOG.error(what, e);
    } catch (Throwable secondary) {
      e.addSuppressed(secondary);
    }
  }

  SequenceTimes times(long now) {
    return new SequenceTimes(submitted, started, firstToken, lastToken, now);
  }
}
