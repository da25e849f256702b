package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * One sequence of a {@link Simulation}: it works out what the sequence would get alone, and
 * compares every call with that. What is wrong is told to the simulation, since a scheduler takes
 * what a sink throws for the sequence's own failure.
 */
final class SimulatedCase implements TokenSink {
  /** What a sequence asks for. */
  enum Kind {
    TOKENS,
    VALUES,
    SCORES
  }

  /** What sinks and constraints throw that are to break down. */
  static final String ASKED_FOR = "a failure that was asked for";

  final Simulation simulation;
  final Kind kind;
  final int promptLength;
  final SamplingParams sampling;
  final long seed;
  int maxNew;
  /** Of its RoPE; 0: that of the model. */
  double frequency;
  /** Of those it shares blocks with; null: it shares none. */
  @Nullable String salt;

  int priority;
  /** Ends the sequence as a stop string would, after so many tokens. */
  int stopAfter = Integer.MAX_VALUE;

  /** Throws when it is told of that many tokens or scores. */
  int breaksAt = Integer.MAX_VALUE;

  boolean broke;
  /** Whether the constraint that the scheduler drives throws at some time. */
  boolean limitsBreak;

  /** What limits the tokens, in the state that it has to have; never the scheduler's own. */
  @Nullable FakeConstraint constraint;

  int maxDraftLen;
  int firstTarget;
  int[] nextTargets = {};
  /** Whether it takes over the state of another one's prompt. */
  boolean isFork;

  boolean cancelAsked;
  long deadline = Sequence.NO_DEADLINE;
  long queueDeadline = Sequence.NO_DEADLINE;
  /** Of a fork. */
  @Nullable SimulatedCase leader;
  long firstTokenDeadline = Sequence.NO_DEADLINE;
  Sequence sequence;
  @Nullable FinishReason reason;
  boolean failed;
  int cachedTokens;
  int admissions;
  int numTokens;
  int numScored;
  private int[] tokens;
  private long chain;
  private final long promptCounts;
  private long outputCounts;
  private final int bias;
  private boolean gaveValues;

  SimulatedCase(
      Simulation simulation, Kind kind, int[] prompt, SamplingParams sampling, long seed) {
    this.simulation = simulation;
    this.kind = kind;
    this.promptLength = prompt.length;
    this.sampling = sampling;
    this.seed = seed;
    tokens = Arrays.copyOf(prompt, prompt.length + 8);
    numTokens = prompt.length;
    long counts = 0;
    for (int token : prompt) {
      counts += FakeModel.counted(token);
    }
    promptCounts = sampling.countsPrompt() ? counts : 0;
    int sum = 0;
    for (int i = 0; i < sampling.biasTokens().length; i++) {
      sum += sampling.biasTokens()[i] * 31 + (int) sampling.biases()[i];
    }
    bias = sum;
  }

  /** Asks for scores from a position on, and of tokens that might follow the prompt. */
  void score(int first, int[] next) {
    firstTarget = first;
    nextTargets = next;
  }

  /** Takes what the scheduler is given; nothing may be set after this. */
  void begin(Sequence value) {
    sequence = value;
    chain =
        FakeModel.chain(tokens, kind == Kind.SCORES ? firstTarget : promptLength, frequency);
  }

  /** Prompt and output so far, {@code numTokens} of them. */
  int[] tokens() {
    return tokens;
  }

  boolean isOver() {
    return reason != null || failed;
  }

  private int numOutputs() {
    return numTokens - promptLength;
  }

  private void check(boolean holds, String what) {
    if (!holds) {
      simulation.wrong(what, this);
    }
  }

  @Override
  public void admitted(int found) {
    check(!isOver(), "admitted after the end");
    check(admissions++ == 0, "admitted twice");
    cachedTokens = found;
  }

  private int expectedNext(long at, int last, int position, long counts, long mask) {
    return FakeModel.next(at, last, position, seed, sampling.temperature(), promptCounts, counts,
        bias, mask, simulation.repetitive());
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
    check(!isOver() && admissions == 1, "a token after the end or before the beginning");
    check(kind == Kind.TOKENS, "a token of a sequence without tokens");
    check(numOutputs() < Math.min(maxNew, stopAfter), "more tokens than alone");
    long mask = constraint == null ? FakeModel.ANY : constraint.mask();
    int expected =
        expectedNext(chain, tokens[numTokens - 1], numTokens, outputCounts, mask);
    check(FakeModel.isFinite(chain, simulation.notFiniteOneIn()), "a token that is not finite");
    check(token == expected, "token " + token + " (alone: " + expected + ")");
    check(stopsHere == (token == FakeModel.EOS), "stopsHere: " + stopsHere);
    check(output.token(row, index) == token, "the row's token is " + output.token(row, index));
    if (sequence.topN >= 0) {
      check(
          output.logprob(row, index) == FakeModel.logprob(chain, token)
              && output.rank(row, index) == FakeModel.rank(chain, token),
          "log-probability of another token");
      for (int n = 0; n < sequence.topN; n++) {
        check(output.topToken(row, index, n) == (token + n) % FakeModel.VOCAB, "top token");
      }
    }
    if (numTokens == tokens.length) {
      tokens = Arrays.copyOf(tokens, tokens.length * 2);
    }
    tokens[numTokens++] = token;
    chain = FakeModel.chain(chain, token);
    outputCounts += sampling.countsOutput() ? FakeModel.counted(token) : 0;
    if (constraint != null) {
      constraint.accept(token);
    }
    simulation.note(token);
    breakDown(numOutputs());
    return numOutputs() >= stopAfter;
  }

  @Override
  public void values(StepOutput output, int row) {
    check(!isOver() && admissions == 1, "values after the end or before the beginning");
    check(kind == Kind.VALUES && !gaveValues, "values of a sequence of tokens, or twice");
    for (int k = 0; k < FakeModel.HEAD_VALUES; k++) {
      check(output.headValue(row, k) == FakeModel.value(chain, k), "another value");
    }
    gaveValues = true;
  }

  @Override
  public void likeliest(StepOutput output, int row) {
    check(!isOver() && admissions == 1, "likeliest tokens after the end or before the beginning");
    check(kind == Kind.SCORES && sequence.topN > 0, "likeliest tokens that nobody asked for");
    for (int n = 0; n < sequence.topN; n++) {
      check(
          output.topToken(row, 0, n) == n
              && output.topLogprob(row, 0, n) == FakeModel.logprob(chain, n),
          "likeliest tokens of another place than that of score " + numScored);
    }
  }

  @Override
  public void scored(int position, int token, float logprob, int rank) {
    check(!isOver() && admissions == 1, "a score after the end or before the beginning");
    int target = firstTarget + numScored++;
    boolean ofPrompt = target < promptLength;
    check(kind == Kind.SCORES && numScored <= numTargets(), "a score that was not asked for");
    check(position == Math.min(target, promptLength), "a score of position " + position);
    check(
        token == (ofPrompt ? tokens[target] : nextTargets[target - promptLength]),
        "a score of another token at position " + position);
    check(FakeModel.isFinite(chain, simulation.notFiniteOneIn()), "a score that is not finite");
    check(
        logprob == FakeModel.logprob(chain, token) && rank == FakeModel.rank(chain, token),
        "another score at position " + position);
    if (ofPrompt) {
      chain = FakeModel.chain(chain, token);
    }
    simulation.note(token);
    breakDown(numScored);
  }

  private void breakDown(int told) {
    check(!broke, "told of more after it broke down");
    if (told >= breaksAt) {
      broke = true;
      throw new IllegalStateException(ASKED_FOR);
    }
  }

  private int numTargets() {
    return promptLength - firstTarget + nextTargets.length;
  }

  @Override
  public void finished(FinishReason why, String detail, SequenceTimes times) {
    check(!isOver(), "ended twice, now with " + why);
    reason = why;
    check(!broke || why == FinishReason.ERROR, "broke down, but ended with " + why);
    check(times.finished() == simulation.now(), "ended at another time");
    switch (why) {
      case LENGTH -> check(
          kind == Kind.TOKENS && numOutputs() == maxNew, "LENGTH after " + numOutputs());
      case STOP -> check(stops(), "STOP after " + numOutputs());
      case CANCELLED -> check(cancelAsked, "CANCELLED, but nobody asked");
      case TIMEOUT -> check(isLate(times.started(), times.firstToken()), "TIMEOUT too early");
      case ERROR -> check(
          broke || failsSoon() || limitsBreak && detail.contains(ASKED_FOR), "ERROR: " + detail);
      default -> check(false, "ended with " + why);
    }
    simulation.note(why.ordinal());
  }

  private boolean stops() {
    return switch (kind) {
      case VALUES -> gaveValues;
      case SCORES -> numScored == numTargets();
      case TOKENS -> numOutputs() > 0
          && (tokens[numTokens - 1] == FakeModel.EOS
              || numOutputs() == stopAfter
              || constraint != null && constraint.isOver());
    };
  }

  /** Whether its time is over. */
  boolean isLate(long started, long firstToken) {
    long now = simulation.now();
    return deadline <= now
        || queueDeadline <= now
            && started == SequenceTimes.NEVER
            && (leader == null || leader.sequence.started == SequenceTimes.NEVER)
        || firstTokenDeadline <= now && firstToken == SequenceTimes.NEVER;
  }

  /** Whether it would soon come to logits that are not finite: a draft meets them earlier. */
  private boolean failsSoon() {
    if (kind == Kind.SCORES) {
      long at = chain;
      boolean sound = true;
      for (int i = firstTarget + numScored; sound && i <= promptLength; i++) {
        sound = FakeModel.isFinite(at, simulation.notFiniteOneIn());
        at = i < promptLength ? FakeModel.chain(at, tokens[i]) : at;
      }
      return !sound;
    }
    long at = chain;
    long counts = outputCounts;
    int last = tokens[numTokens - 1];
    FakeConstraint limits = constraint == null ? null : constraint.copy();
    for (int i = 0; i <= maxDraftLen; i++) {
      if (!FakeModel.isFinite(at, simulation.notFiniteOneIn())) {
        return true;
      }
      long mask = limits == null ? FakeModel.ANY : limits.mask();
      last = expectedNext(at, last, numTokens + i, counts, mask);
      if (limits != null && !limits.isOver()) {
        limits.accept(last);
      }
      counts += sampling.countsOutput() ? FakeModel.counted(last) : 0;
      at = FakeModel.chain(at, last);
    }
    return false;
  }

  @Override
  public void failed(SluiceException cause) {
    check(!isOver(), "failed after the end");
    check(simulation.isFailed(), "failed, but the engine did not: " + cause);
    failed = true;
    simulation.note(-1);
  }

  @Override
  public String toString() {
    return kind + " of " + promptLength + " tokens, at most " + maxNew + " new, "
        + numOutputs() + " given, " + Objects.requireNonNull(sequence).state
        + ", preempted " + sequence.numPreemptions + ", drafts " + maxDraftLen
        + (constraint == null ? "" : ", limited") + (isFork ? ", a fork" : "");
  }
}
