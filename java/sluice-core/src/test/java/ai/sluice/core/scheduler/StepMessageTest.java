package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** The step message byte by byte, against numbers worked out from sluice.h by hand. */
class StepMessageTest {
  private final StepLayout layout =
      FakeLayout.of(
          1, 2, 1, new SchedulerLimits(4, 16, 8, new int[] {9, 9}), 2, 6, 5, 3);
  private final ByteBuffer buffer =
      ByteBuffer.allocate((int) layout.inputBytes()).order(ByteOrder.LITTLE_ENDIAN);
  private final StepMessage message = new StepMessage(buffer, layout, 1, 2, 1);

  private int at(int section) {
    return (int) layout.offset()[section];
  }

  private void expectInts(int section, int... expected) {
    int[] actual = new int[expected.length];
    for (int i = 0; i < expected.length; i++) {
      actual[i] = buffer.getInt(at(section) + 4 * i);
    }
    assertEquals(Arrays.toString(expected), Arrays.toString(actual), "section " + section);
  }

  @Test
  void everyByteIsWhereTheHeaderSaysItIs() {
    Arrays.fill(buffer.array(), (byte) 0x77);
    SamplingParams sampling =
        new SamplingParams(0.5f, 40, 0.9f, 0.05f, 1.1f, 0.2f, 0.3f, new int[] {11, 12},
            new float[] {1.5f, Float.NEGATIVE_INFINITY});
    message.begin();
    message.addStateOp(SLUICE_STATE_OP_RESET_SEQ, 0, 0, 3);
    message.addBlockUpdate(3, 1, 0, 8);
    message.addCountUpdate(3, 21, 1, 0);
    message.addRopeUpdate(0, 4, new double[] {0.25, 0.125}, 1.75);
    message.addSequence(3, 2);
    message.setRopeVariant(0, 4);
    message.addToken(21, 0);
    message.setKvSlot(0, 16);
    message.setKvSlot(1, 64);
    message.addToken(22, 1);
    message.setKvSlot(0, 17);
    message.setKvSlot(1, 65);
    assertEquals(0, message.addSampleRow(2, 7, -5L, sampling, 2));
    message.addSequence(0, 9);
    message.addToken(-1, 8);
    message.setKvSlot(0, 0);
    message.setKvSlot(1, 1);
    assertEquals(1, message.addSampleRow(9, 7, 6L, SamplingParams.GREEDY, -1));
    message.end(42);

    assertEquals(0x504C5453, buffer.getInt(0));
    assertEquals(1, buffer.getInt(4));
    assertEquals(42, buffer.getLong(8));
    assertEquals(0, buffer.getLong(24));
    assertEquals(0, buffer.getLong(32));
    int[] counts = new int[SLUICE_SECTION_INPUT_COUNT];
    for (int i = 0; i < counts.length; i++) {
      counts[i] = buffer.getInt(40 + 4 * i);
    }
    assertEquals(
        "[3, 3, 6, 2, 3, 2, 2, 2, 1, 1, 1, 2, 2, 0, 0, 1, 2, 0]", Arrays.toString(counts));
    for (int i = 112; i < 256; i++) {
      assertEquals(0, buffer.get(i), "reserved byte " + i);
    }
    long end = 0;
    int[] bytes = {4, 4, 4, 4, 4, 4, 4, 4, 16, 16, 16, 128, 8, 4, 4, 24, 8, 4};
    for (int i = 0; i < counts.length; i++) {
      if (counts[i] > 0) {
        end = Math.max(end, layout.offset()[i] + (long) counts[i] * bytes[i]);
      }
    }
    assertEquals(end, buffer.getLong(16), "used_bytes");

    expectInts(SLUICE_SECTION_TOKEN_ID, 21, 22, -1);
    expectInts(SLUICE_SECTION_TOKEN_POSITION, 0, 1, 8);
    expectInts(SLUICE_SECTION_TOKEN_KV_SLOT, 16, 64, 17, 65, 0, 1);
    expectInts(SLUICE_SECTION_SEQ_SLOT, 3, 0);
    expectInts(SLUICE_SECTION_QUERY_START, 0, 2, 3);
    expectInts(SLUICE_SECTION_CONTEXT_LEN, 2, 9);
    expectInts(SLUICE_SECTION_ADAPTER, 0, 0);
    expectInts(SLUICE_SECTION_ROPE_VARIANT, 4, 0);
    expectInts(SLUICE_SECTION_STATE_OP, 2, 0, 0, 3);
    expectInts(SLUICE_SECTION_BLOCK_UPDATE, 3, 1, 0, 8);
    expectInts(SLUICE_SECTION_COUNT_UPDATE, 3, 21, 1, 0);
    expectInts(SLUICE_SECTION_ROPE_UPDATE, 0, 4, 0, 0);
    assertEquals(1.75, buffer.getDouble(at(SLUICE_SECTION_ROPE_UPDATE) + 16));
    assertEquals(0.25, buffer.getDouble(at(SLUICE_SECTION_ROPE_INV_FREQ)));
    assertEquals(0.125, buffer.getDouble(at(SLUICE_SECTION_ROPE_INV_FREQ) + 8));
    expectInts(
        SLUICE_SECTION_LOGIT_BIAS, 11, Float.floatToIntBits(1.5f), 12,
        Float.floatToIntBits(Float.NEGATIVE_INFINITY));

    int row = at(SLUICE_SECTION_OUTPUT_ROW);
    assertEquals(1, buffer.getInt(row), "token_index");
    assertEquals(0, buffer.getInt(row + 4), "kind");
    assertEquals(7, buffer.getInt(row + 8), "head");
    assertEquals(3, buffer.getInt(row + 12), "flags");
    assertEquals(-5L, buffer.getLong(row + 16), "seed");
    assertEquals(2L, buffer.getLong(row + 24), "draw_position");
    assertEquals(0.5f, buffer.getFloat(row + 32), "temperature");
    assertEquals(0.9f, buffer.getFloat(row + 36), "top_p");
    assertEquals(0.05f, buffer.getFloat(row + 40), "min_p");
    assertEquals(40, buffer.getInt(row + 44), "top_k");
    assertEquals(1.1f, buffer.getFloat(row + 48), "repetition_penalty");
    assertEquals(0.2f, buffer.getFloat(row + 52), "presence_penalty");
    assertEquals(0.3f, buffer.getFloat(row + 56), "frequency_penalty");
    assertEquals(0, buffer.getInt(row + 60), "draft_len");
    assertEquals(0, buffer.getInt(row + 64), "logit_bias_begin");
    assertEquals(2, buffer.getInt(row + 68), "logit_bias_count");
    assertEquals(0, buffer.getInt(row + 72), "target_begin");
    assertEquals(0, buffer.getInt(row + 76), "target_count");
    assertEquals(2, buffer.getInt(row + 80), "top_n");
    assertEquals(-1, buffer.getInt(row + 84), "mask_index");
    for (int i = 88; i < 128; i++) {
      assertEquals(0, buffer.get(row + i), "reserved byte " + i);
    }
    assertEquals(2, buffer.getInt(row + 128), "token_index of row 1");
    assertEquals(0, buffer.getInt(row + 128 + 12), "flags of row 1");
    assertEquals(2, buffer.getInt(row + 128 + 64), "logit_bias_begin of row 1");
    assertEquals(0, buffer.getInt(row + 128 + 80), "top_n of row 1");
  }

  @Test
  void aSectionIsNeverOverrun() {
    message.begin();
    for (int i = 0; i < 6; i++) {
      assertEquals(6 - i, message.remaining(SLUICE_SECTION_BLOCK_UPDATE));
      message.addBlockUpdate(0, 0, i, i);
    }
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> message.addBlockUpdate(0, 0, 6, 6));
    assertTrue(e.getMessage().contains("capacity 6"), e.getMessage());
  }

  @Test
  void beginForgetsTheStepBefore() {
    message.begin();
    message.addSequence(1, 1);
    message.addToken(5, 0);
    message.addBlockUpdate(0, 0, 0, 0);
    message.end(1);
    message.begin();
    message.addSequence(2, 4);
    message.addToken(6, 3);
    message.end(2);
    assertEquals(1, buffer.getInt(40 + 4 * SLUICE_SECTION_TOKEN_ID));
    assertEquals(0, buffer.getInt(40 + 4 * SLUICE_SECTION_BLOCK_UPDATE));
    expectInts(SLUICE_SECTION_SEQ_SLOT, 2);
    expectInts(SLUICE_SECTION_QUERY_START, 0, 1);
  }
}
