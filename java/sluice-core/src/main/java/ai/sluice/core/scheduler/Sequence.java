package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import ai.sluice.text.TokenConstraint;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

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

  static final int NO_TARGETS = Integer.MAX_VALUE;
  private static final int NO_STEP = -1;
  private static final int MOST_PREEMPTIONS = 3;

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

  /** Which tokens may come; null: any. */
  @Nullable TokenConstraint constraint;

  /** Proposes drafts; null: nobody does. */
  @Nullable Drafter drafter;

  /** Position of the first target, or {@link #NO_TARGETS}. */
  int firstTarget = NO_TARGETS;

  int[] nextTargets = {};
  /** The first position whose targets were not told yet. */
  int nextScored;
  /** Whose prompt's state it takes over, or null. */
  @Nullable Sequence leader;
  /** With whose admission its request left the queue, or null: its own alone. */
  private @Nullable Sequence first;
  /** Queued sequences that are to take over its state. */
  int numForks;

  long queueDeadline = NO_DEADLINE;
  long firstTokenDeadline = NO_DEADLINE;

  /** Why it cannot go on, until it is ended for that. */
  @Nullable String defect;

  State state = State.WAITING;
  int seqSlot = -1;
  /** Orders those of one priority: when the scheduler was told of it. */
  long arrival = -1;

  int priority;
  /** How often it lost its place among the running. */
  int numPreemptions;
  /** Counts admissions, so that a step planned for an earlier one is not taken for this one's. */
  int incarnation;
  /** Blocks that it has or may take, of each group. */
  int numPromised;
  /**
   * Block table: {@code blocks[group][index]}, the entries from {@code firstBlock[group]} up to
   * {@code numBlocks}.
   */
  int[][] blocks = {};

  int[] firstBlock = {};
  int numBlocks;
  /** Entries of the table that the engine was told. */
  int numSent;
  /** Keys of the full blocks known before it runs; none if its blocks are not to be shared. */
  BlockKey[] keys = {};

  /** Full blocks known to the prefix cache, the first {@code numNodes}. */
  PrefixNode[] nodes = {};

  int numNodes;
  /** Full blocks that others can find, its own or ones like them. */
  int numPublished;
  /** Tokens whose state was found. */
  int cachedTokens;
  /** Of those, how many penalties know of. */
  int numCounted;
  /** Tokens known when it was admitted, which the engine has not counted itself. */
  int numRestored;

  @Nullable PrefixNode awaited;
  int numPlanned;
  /** Positions whose step was applied. */
  int numComputed;
  int numKnown;
  int numOutputsPlanned;
  /** Where the token after the last known one is being made. */
  long pendingStep = NO_STEP;

  int pendingRow;
  long started = SequenceTimes.NEVER;
  long firstToken = SequenceTimes.NEVER;
  long lastToken = SequenceTimes.NEVER;
  private int[] tokens;
  private final GuardedSink guarded;
  private @Nullable BlockKey rootKey;

  /**
   * Creates a waiting sequence.
   *
   * @param prompt at least one token; not copied
   * @param maxNewTokens at least 1, and 1 for a head that gives values; prompt and new tokens fit
   *     the context, for such a head the prompt alone
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
    guarded = new GuardedSink(sink);
  }

  /**
   * Lets its blocks be shared with sequences of the same salt, and hashes the prompt. Called before
   * the scheduler knows it.
   *
   * @param salt of those who may see from the time to the first token that a prompt was seen before
   * @param blockSize tokens per block
   */
  public void cachePrefix(String salt, int blockSize) {
    PrefixHasher hasher = new PrefixHasher();
    BlockKey key = hasher.root(salt, ropes);
    rootKey = key;
    BlockKey[] all = new BlockKey[promptLength / blockSize];
    for (int i = 0; i < all.length; i++) {
      key = hasher.next(key, tokens, i * blockSize, blockSize);
      all[i] = key;
    }
    keys = all;
  }

  /**
   * Limits which tokens may come. Called before the scheduler knows the sequence.
   *
   * @param value its own, driven by the scheduler's thread from now on
   */
  public void constrain(TokenConstraint value) {
    constraint = value;
  }

  /**
   * Lets drafts of the tokens to come be proposed from those before. Called before the scheduler
   * knows the sequence.
   *
   * @param most tokens in a draft, at most max_draft_len of the engine's options; 0: none
   */
  public void speculate(int most) {
    drafter = most == 0 ? null : new Drafter(most);
    if (drafter != null) {
      // The prompt's part of the index is made here, off the scheduler's thread.
      drafter.learn(tokens, promptLength);
    }
  }

  /**
   * Asks for log-probabilities of targets instead of new tokens: of the prompt's tokens from a
   * position on, and of tokens that might follow the prompt. Nothing is generated; it ends with
   * {@link FinishReason#STOP}. Called before the scheduler knows the sequence.
   *
   * @param first position of the first target, at least 1; the prompt's length for none in it
   * @param next tokens that might follow; not copied
   */
  public void score(int first, int[] next) {
    if (first < 1 || first > promptLength || (first == promptLength && next.length == 0)) {
      throw new IllegalArgumentException(
          "first: " + first + " with " + next.length + " targets behind the prompt (expected: 1 to "
              + promptLength + ", the prompt's length, and at least one target)");
    }
    firstTarget = first;
    nextTargets = next;
    nextScored = first - 1;
  }

  boolean isScored() {
    return firstTarget != NO_TARGETS;
  }

  /** How many targets the row at a position has that were not told yet. */
  int targetsAfter(int position) {
    if (position < nextScored) {
      return 0;
    }
    return position == promptLength - 1 ? nextTargets.length : 1;
  }

  /** Known tokens that go through the model: nobody may ask for what follows the last one. */
  int numInputs() {
    return isScored() && nextTargets.length == 0 ? promptLength - 1 : numKnown;
  }

  /** How many tokens' state may be found, because nothing is asked of those positions. */
  int mostCached() {
    return isScored() ? nextScored : numKnown - 1;
  }

  /** Notes when something was made of it. */
  void heard(long now) {
    lastToken = now;
    if (firstToken == SequenceTimes.NEVER) {
      firstToken = now;
    }
  }

  /**
   * Lets it take over the state of another sequence's prompt, which is the same as its own, instead
   * of computing it again, and queues it with that one. Called before the scheduler knows either.
   */
  public void forkOf(Sequence sequence) {
    if (!Arrays.equals(tokens, 0, promptLength, sequence.tokens, 0, sequence.promptLength)) {
      throw new IllegalArgumentException(
          "sequence: " + sequence.promptLength + " prompt tokens (expected: the same "
              + promptLength + " as the fork's)");
    }
    leader = sequence;
    queueWith(sequence);
  }

  /**
   * Says with whose admission its request leaves the queue, so that its own time there is past.
   * Called before the scheduler knows either.
   */
  public void queueWith(Sequence sequence) {
    first = sequence;
  }

  /**
   * Takes over what {@link #cachePrefix} and {@link #speculate} made for a sequence of the same
   * prompt, instead of making it again. Called before the scheduler knows either.
   */
  public void prepareAs(Sequence sequence) {
    rootKey = sequence.rootKey;
    keys = sequence.keys;
    drafter = sequence.drafter == null ? null : sequence.drafter.fork();
  }

  /** Whether a fork of it can take its blocks. */
  boolean sharesWith(Sequence fork) {
    return Objects.equals(rootKey, fork.rootKey) && fork.mostCached() == promptLength - 1;
  }

  /**
   * Whether a fork waits for its leader's prompt to be computed. Forgets a leader that was never
   * queued, ended, or gave its place up.
   */
  boolean awaitsLeader() {
    Sequence first = leader;
    if (first == null) {
      return false;
    }
    boolean queued = first.state == State.WAITING && first.arrival >= 0;
    if (queued && first.started == SequenceTimes.NEVER) {
      return true;
    }
    if (first.state == State.RUNNING) {
      // What it found itself may be a copy that the step being planned makes.
      return first.numComputed < Math.max(promptLength - 1, first.cachedTokens + 1);
    }
    leaveLeader();
    return false;
  }

  /** Ends the wait for a leader's state, of which a copy was taken or nothing is to be had. */
  void leaveLeader() {
    if (leader != null) {
      leader.numForks--;
      leader = null;
    }
  }

  /**
   * Sets when it times out before its end. Called before the scheduler knows the sequence.
   *
   * @param inQueue if it was not admitted by then, in nanoseconds of the deadline's clock
   * @param beforeFirstToken if it has no new token by then
   */
  public void expire(long inQueue, long beforeFirstToken) {
    queueDeadline = inQueue;
    firstTokenDeadline = beforeFirstToken;
  }

  /** Whether its request was never admitted. */
  private boolean isQueued() {
    return started == SequenceTimes.NEVER
        && (first == null || first.started == SequenceTimes.NEVER);
  }

  /** When it times out as it stands now. */
  long nextDeadline() {
    long next = deadline;
    if (isQueued()) {
      next = Math.min(next, queueDeadline);
    }
    return firstToken == SequenceTimes.NEVER ? Math.min(next, firstTokenDeadline) : next;
  }

  /** Which time is over, in words; empty: that for the whole. */
  String lateness(long now) {
    if (isQueued() && queueDeadline <= now) {
      return "queueTimeout passed before it was admitted";
    }
    if (firstToken == SequenceTimes.NEVER && firstTokenDeadline <= now) {
      return "firstTokenTimeout passed before its first token";
    }
    return "";
  }

  /** Sets who goes first: the higher number. Called before the scheduler knows it; else 0. */
  public void prioritize(int value) {
    priority = value;
  }

  /** Whether it was preempted as often as may be. */
  boolean isPinned() {
    return numPreemptions >= MOST_PREEMPTIONS;
  }

  /** Who goes first: by priority, then by arrival. */
  static int compare(Sequence a, Sequence b) {
    int byPriority = Integer.compare(b.priority, a.priority);
    return byPriority != 0 ? byPriority : Long.compare(a.arrival, b.arrival);
  }

  /** Whether penalties have to be told of a token that is computed again or for the first time. */
  boolean restoresCount(int position) {
    return position < promptLength
        ? sampling.countsPrompt()
        : position < numRestored && sampling.countsOutput();
  }

  boolean runsAs(int admission) {
    return state == State.RUNNING && incarnation == admission;
  }

  /** Forgets its place among the running; its tokens stay. */
  void restart() {
    state = State.WAITING;
    incarnation++;
    numPreemptions++;
    numOutputsPlanned = numOutputs();
    clearPending();
  }

  /** Goes back to its last known token, because what was planned behind it was not accepted. */
  void rewind() {
    numPlanned = numKnown - 1;
    numOutputsPlanned = numOutputs();
  }

  boolean isCached() {
    return rootKey != null;
  }

  /** The key of the block before the one with this index, which its node or prompt knows. */
  BlockKey keyBefore(int index) {
    if (index == 0) {
      return Objects.requireNonNull(rootKey);
    }
    return index <= numNodes ? nodes[index - 1].key : keys[index - 1];
  }

  /** Whether a running sequence still computes what comes next in its prompt. */
  boolean awaitsPrefix() {
    PrefixNode node = awaited;
    if (node == null || node.computer == null) {
      awaited = null;
      return false;
    }
    return true;
  }

  static int hash(int[] tokens, int begin, int length) {
    int hash = 1;
    for (int i = begin; i < begin + length; i++) {
      hash = 31 * hash + tokens[i];
    }
    return hash;
  }

  /** The tokens themselves, {@code numKnown} of them. */
  int[] tokens() {
    return tokens;
  }

  /** Tokens generated so far. */
  int numOutputs() {
    return numKnown - promptLength;
  }

  /** Positions that hold state when everything was generated: the last token is never an input. */
  int worstCasePositions() {
    return isScored() ? promptLength : promptLength + maxNewTokens - 1;
  }

  /** Known tokens that no planned step computes yet; 0 or less once the next one is in flight. */
  int numUnplanned() {
    return numInputs() - numPlanned;
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

  /** Tells the sink that it left the queue. Throws nothing. */
  void tellAdmitted() {
    guarded.admitted(cachedTokens);
  }

  /** Tells the sink how it ended, or, if it throws at that, that it failed. Throws nothing. */
  void tellFinished(FinishReason reason, String detail, long now) {
    guarded.finished(reason, detail, times(now));
  }

  /** Tells the sink that it failed. Throws nothing. */
  void tellFailed(SluiceException cause) {
    guarded.failed(cause);
  }

  SequenceTimes times(long now) {
    return new SequenceTimes(submitted, started, firstToken, lastToken, now);
  }
}
