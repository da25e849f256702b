package ai.sluice.core.scheduler;

/**
 * Proposes the next tokens of one sequence: those that followed when its last few tokens stood
 * there before. Drafts get longer while they turn out right and shorter when not, and when most are
 * wrong it pauses. Allocates nothing per draft. Not thread-safe.
 */
final class Drafter {
  /** Tokens that must have occurred before, the longer run first. */
  private static final int LONG_RUN = 3;

  private static final int SHORT_RUN = 2;

  /** Draft tokens that may turn out wrong, beyond twice those that are right, before a pause. */
  private static final int CREDIT = 16;

  private static final int MOST_CREDIT = 32;

  /** Tokens that the first pause lasts, and the longest. */
  private static final int PAUSE = 32;

  private static final int LONGEST_PAUSE = 512;

  private final NgramIndex longRuns;
  private final NgramIndex shortRuns;
  private final int[] draft;
  private int length;
  private int credit = CREDIT;
  private int pause = PAUSE;
  private int resumeAt;

  /** Creates one whose drafts have at most {@code most} tokens, at least 1. */
  Drafter(int most) {
    this(most, new NgramIndex(LONG_RUN), new NgramIndex(SHORT_RUN));
  }

  private Drafter(int most, NgramIndex longRuns, NgramIndex shortRuns) {
    this.longRuns = longRuns;
    this.shortRuns = shortRuns;
    draft = new int[most];
    length = (most + 1) / 2;
  }

  /** One of its own for a sequence that begins with all the tokens learned so far. */
  Drafter fork() {
    return new Drafter(draft.length, longRuns.fork(), shortRuns.fork());
  }

  /** The tokens of the last draft. */
  int token(int i) {
    return draft[i];
  }

  /** Whether it proposes drafts where so many tokens are known. */
  boolean isActive(int known) {
    return known >= resumeAt;
  }

  /** Learns the first {@code known} tokens of its sequence. */
  void learn(int[] tokens, int known) {
    longRuns.extend(tokens, known);
    shortRuns.extend(tokens, known);
  }

  /**
   * Makes a draft of what follows the first {@code known} tokens.
   *
   * @param most tokens that it may have
   * @return how many it has, which may be 0
   */
  int propose(int[] tokens, int known, int most) {
    int size = Math.min(length, most);
    if (size <= 0 || !isActive(known)) {
      return 0;
    }
    learn(tokens, known);
    int from = longRuns.find(tokens, known);
    if (from == NgramIndex.NOT_FOUND) {
      from = shortRuns.find(tokens, known);
    }
    if (from == NgramIndex.NOT_FOUND) {
      return 0;
    }
    for (int i = 0; i < size; i++) {
      // What repeats itself goes on in the draft.
      draft[i] = from + i < known ? tokens[from + i] : draft[from + i - known];
    }
    return size;
  }

  /**
   * Learns how a draft turned out.
   *
   * @param proposed tokens of the draft
   * @param right how many of them were right
   * @param known tokens of the sequence by now
   */
  void judge(int proposed, int right, int known) {
    length = right == proposed ? Math.min(draft.length, 2 * length) : Math.max(1, right + 1);
    length = Math.min(draft.length, length);
    credit = Math.min(MOST_CREDIT, credit + 2 * right - (proposed - right));
    if (credit < 0) {
      resumeAt = known + pause;
      pause = Math.min(LONGEST_PAUSE, 2 * pause);
      credit = CREDIT / 2;
    } else if (credit == MOST_CREDIT) {
      pause = PAUSE;
    }
  }
}
