package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_COPY_BLOCK;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_COPY_SEQ;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_RESET_SEQ;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** What the simulation rests on: the fake engine notices what a caller must not do. */
class FakeEngineTest {
  private static final int BLOCK = 4;

  private final SchedulerLimits limits = new SchedulerLimits(3, 16, BLOCK, new int[] {8});
  private final FakeEngine engine = new FakeEngine(1, 1, 0, limits, 24, 2, 12, 8, 4);
  private final StepMessage message = engine.message(0);
  private final StepOutput output = engine.outputOf(0);
  private long steps;

  /** Starts a step. */
  private void begin() {
    message.begin();
  }

  /** Gives a sequence an empty table with some blocks. */
  private void reset(int seq, int... blocks) {
    message.addStateOp(SLUICE_STATE_OP_RESET_SEQ, 0, 0, seq);
    for (int i = 0; i < blocks.length; i++) {
      message.addBlockUpdate(seq, 0, i, blocks[i]);
    }
  }

  /** Adds tokens from a position on, which lie in the given block. */
  private void tokens(int seq, int block, int position, int... ids) {
    message.addSequence(seq, position + ids.length);
    for (int i = 0; i < ids.length; i++) {
      message.addToken(ids[i], position + i);
      message.setKvSlot(0, block * BLOCK + (position + i) % BLOCK);
    }
  }

  private int row(int drawPosition, int drafts, int mask) {
    return message.addSampleRow(drawPosition, 0, 1, SamplingParams.GREEDY, -1, drafts, mask);
  }

  private void run() {
    message.end(++steps);
    engine.submit(0);
    assertTrue(engine.await(0, 0));
  }

  private void refused(String what) {
    AssertionError e = assertThrows(AssertionError.class, this::run);
    assertTrue(e.getMessage().contains(what), e.getMessage());
  }

  private static int next(int... tokens) {
    return FakeModel.next(FakeModel.chain(tokens, tokens.length, 0), tokens[tokens.length - 1],
        tokens.length, 1, 0, 0, 0, 0, FakeModel.ANY, false);
  }

  /** One sequence of two tokens in block 2, and what follows them. */
  private int two() {
    begin();
    reset(0, 2);
    tokens(0, 2, 0, 5, 6);
    int row = row(2, 0, StepMessage.NO_MASK);
    run();
    assertEquals(next(5, 6), output.token(row, 0));
    return output.token(row, 0);
  }

  @Test
  void draftsAreAcceptedUpToTheFirstThatIsWrong() {
    int first = two();
    int second = next(5, 6, first);
    int wrong = (next(5, 6, first, second) + 1) % FakeModel.VOCAB;
    begin();
    message.addBlockUpdate(0, 0, 1, 3);
    message.addSequence(0, 6);
    int[] ids = {first, second, wrong, 9};
    for (int i = 0; i < ids.length; i++) {
      message.addToken(ids[i], 2 + i);
      message.setKvSlot(0, i < 2 ? 2 * BLOCK + 2 + i : 3 * BLOCK + i - 2);
    }
    int row = row(3, 3, StepMessage.NO_MASK);
    run();
    assertEquals(2, output.acceptedCount(row));
    assertEquals(second, output.token(row, 0));
    assertEquals(next(5, 6, first, second), output.token(row, 1));
    // What was wrong lies at positions 4 and 5.
    begin();
    tokens(0, 3, 5, 7);
    refused("position 4 of seq_slot 0: the kv slot holds a rejected draft");
  }

  @Test
  void anotherSequenceMayNotReadARejectedDraft() {
    int first = two();
    begin();
    tokens(0, 2, 2, first, (next(5, 6, first) + 1) % FakeModel.VOCAB);
    row(3, 1, StepMessage.NO_MASK);
    run();
    begin();
    reset(1, 2, 4);
    tokens(1, 4, 4, 8);
    refused("position 3 of seq_slot 1: the kv slot holds a rejected draft");
  }

  @Test
  void aReferenceMeansTheLastTokenOfItsOwnSequence() {
    int first = two();
    begin();
    tokens(0, 2, 2, -1);
    int row = row(3, 0, StepMessage.NO_MASK);
    run();
    assertEquals(next(5, 6, first), output.token(row, 0));
    begin();
    reset(1, 3);
    tokens(1, 3, 0, -1);
    refused("a row of another sequence");
  }

  @Test
  void aReferenceStandsWhereItsTokenStands() {
    two();
    begin();
    tokens(0, 2, 3, -1);
    refused("reference from another position: 3");
  }

  @Test
  void aRowKeepsToItsMask() {
    TokenConstraint only =
        new TokenConstraint() {
          @Override
          public boolean limitsWithin(int tokens) {
            return true;
          }

          @Override
          public void allow(ByteBuffer words, int offset) {
            words.putInt(offset, 0);
            words.putInt(offset + 4, 1 << 7);
          }

          @Override
          public void accept(int token) {}

          @Override
          public boolean isOver() {
            return false;
          }
        };
    two();
    begin();
    tokens(0, 2, 2, -1);
    int row = row(3, 0, message.addMask(only));
    run();
    assertEquals(39, output.token(row, 0));
    begin();
    tokens(0, 2, 3, -1);
    row(4, 0, 0);
    refused("mask_index: 0");
  }

  @Test
  void aBlockIsNotBothSourceAndTarget() {
    two();
    begin();
    message.addStateOp(SLUICE_STATE_OP_COPY_BLOCK, 0, 2, 5);
    message.addStateOp(SLUICE_STATE_OP_COPY_BLOCK, 0, 5, 6);
    refused("both source and target");
  }

  @Test
  void aCopyOfASequenceGoesOnWhereItStood() {
    int first = two();
    begin();
    message.addStateOp(SLUICE_STATE_OP_COPY_BLOCK, 0, 2, 5);
    message.addStateOp(SLUICE_STATE_OP_COPY_SEQ, 0, 0, 1);
    message.addBlockUpdate(1, 0, 0, 5);
    tokens(1, 5, 2, first);
    int row = row(3, 0, StepMessage.NO_MASK);
    run();
    assertEquals(next(5, 6, first), output.token(row, 0));
  }

  @Test
  void stateOfAnotherPrefixIsNoticed() {
    begin();
    reset(0, 2);
    tokens(0, 2, 0, 5, 6, 7, 8);
    run();
    begin();
    reset(1, 3, 4);
    tokens(1, 3, 0, 1, 2, 3, 4);
    run();
    begin();
    tokens(1, 4, 4, 9);
    run();
    // A table of the first one's block and the one that the other went on in.
    begin();
    reset(2, 2, 4);
    tokens(2, 4, 5, 9);
    refused("state of another prefix at position: 4");
  }

  @Test
  void aBlockThatIsNotSetOrHoldsNothingIsNotRead() {
    two();
    begin();
    message.addBlockUpdate(0, 0, 1, 3);
    tokens(0, 3, 4, 9);
    refused("position 2 of seq_slot 0: the kv slot holds nothing");
    steps = 2;
    begin();
    tokens(0, 3, 8, 9);
    refused("is not set at position 8");
  }

  @Test
  void targetsOfRowsDoNotOverlap() {
    begin();
    reset(0, 2);
    message.addSequence(0, 2);
    message.addToken(5, 0);
    message.setKvSlot(0, 2 * BLOCK);
    int first = message.addTargetRow(0, new int[] {6, 8}, 0, 2, -1);
    message.addToken(6, 1);
    message.setKvSlot(0, 2 * BLOCK + 1);
    int second = message.addTargetRow(0, new int[] {9}, 0, 1, -1);
    run();
    long chain = FakeModel.chain(new int[] {5}, 1, 0);
    assertEquals(FakeModel.logprob(chain, 8), output.targetLogprob(first + 1));
    chain = FakeModel.chain(new int[] {5, 6}, 2, 0);
    assertEquals(FakeModel.logprob(chain, 9), output.targetLogprob(second));
    assertEquals(FakeModel.rank(chain, 9), output.targetRank(second));
    int row =
        (int) engine.layout.offset()[ai.sluice.jni.SluiceAbi.SLUICE_SECTION_OUTPUT_ROW];
    engine.input(0).putInt(row + 128 + 72, 1);
    engine.input(0).putLong(8, ++steps);
    engine.submit(0);
    AssertionError e = assertThrows(AssertionError.class, () -> engine.await(0, 0));
    assertTrue(e.getMessage().contains("targets overlap"), e.getMessage());
  }
}
