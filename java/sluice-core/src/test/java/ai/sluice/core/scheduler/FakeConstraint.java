package ai.sluice.core.scheduler;

import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;

/**
 * Limits tokens from some points of a generation to others, and ends it somewhere: all drawn from a
 * seed, and what is allowed from the tokens accepted too. It checks that it is driven as its
 * interface says.
 */
final class FakeConstraint implements TokenConstraint {
  private final long seed;
  private final int first;
  private final int length;
  private final int gap;
  private final int end;
  private final boolean uncertain;
  private long state;
  private int accepted;
  /** After how many tokens it throws. */
  int breaksAt = Integer.MAX_VALUE;

  FakeConstraint(long seed) {
    this.seed = seed;
    long bits = FakeModel.chain(seed, 1);
    first = (int) (bits >>> 3 & 15) - 4;
    length = 1 + (int) (bits >>> 9 & 7);
    gap = (bits >>> 14 & 3) == 0 ? 1 : (int) (bits >>> 16 & 15);
    end = (bits >>> 22 & 1) == 0 ? Integer.MAX_VALUE : 1 + (int) (bits >>> 23 & 31);
    uncertain = (bits >>> 30 & 1) == 0;
    state = bits;
  }

  private FakeConstraint(FakeConstraint other) {
    this(other.seed);
    state = other.state;
    accepted = other.accepted;
  }

  private void breakDown() {
    if (accepted >= breaksAt) {
      throw new IllegalStateException(SimulatedCase.ASKED_FOR);
    }
  }

  /** One in the same state. */
  FakeConstraint copy() {
    return new FakeConstraint(this);
  }

  /** Whether the token with an index may be limited, as far as can be told before it. */
  private boolean mayLimit(int index) {
    return index >= first && (index - first) % (length + gap) < length;
  }

  /** Whether the next token is limited. */
  boolean limits() {
    return mayLimit(accepted) && !(uncertain && (state >>> 5 & 3) == 0);
  }

  /** The tokens that may come next. */
  long mask() {
    if (!limits()) {
      return FakeModel.ANY;
    }
    if ((state >>> 40 & 31) == 0) {
      return 1L << FakeModel.EOS;
    }
    long mask = state >>> 7 & FakeModel.chain(state, 7);
    return (mask | 1L << 1 + (state >>> 50) % (FakeModel.VOCAB - 1)) & FakeModel.ANY;
  }

  @Override
  public boolean limitsWithin(int tokens) {
    FakeStep.check(tokens >= 1, "limitsWithin", tokens);
    breakDown();
    if (limits()) {
      return true;
    }
    for (int i = 1; i < tokens; i++) {
      if (mayLimit(accepted + i)) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void allow(ByteBuffer words, int offset) {
    breakDown();
    FakeStep.check(limits(), "allow() where nothing is limited, after tokens", accepted);
    FakeStep.check(!isOver(), "allow() after the end");
    // What lies past the vocabulary must not matter.
    long mask = mask() | ~FakeModel.ANY;
    for (int w = 0; w < FakeModel.MASK_WORDS; w++) {
      words.putInt(offset + 4 * w, (int) (mask >>> 32 * w));
    }
  }

  @Override
  public void accept(int token) {
    FakeStep.check(!isOver(), "accept() after the end");
    FakeStep.check((mask() >>> token & 1) != 0, "accept() of a token that was not allowed", token);
    state = FakeModel.chain(state, token);
    accepted++;
  }

  @Override
  public boolean isOver() {
    return accepted >= end;
  }
}
