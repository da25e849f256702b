package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.OutOfDeviceMemoryException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class KvCacheSizerTest {
  private static final long BLOCK = 1000;

  private static EngineOptions.Builder options() {
    return EngineOptions.builder().model(Path.of("model")).maxSequences(4);
  }

  private static int blocks(EngineOptions.Builder options, int context, long free) {
    return new KvCacheSizer(
            options.build(), 16, context, 50_000, 10_000, free, KvCacheSizer.MACHINE_SHARE)
        .blocks(BLOCK);
  }

  @Test
  void everySequenceGetsItsContextWhereMemoryIsAmple() {
    assertEquals(4 * 10, blocks(options(), 160, 1L << 40));
    assertEquals(4 * 11, blocks(options(), 161, 1L << 40));
    assertEquals(4 * 10, blocks(options(), 160, -1));
  }

  @Test
  void otherwiseHalfOfWhatIsLeftIsShared() {
    assertEquals(20, blocks(options(), 160, 100_000));
  }

  @Test
  void ofAGpuNearlyAllIsTaken() {
    KvCacheSizer sizer =
        new KvCacheSizer(
            options().build(), 16, 160, 50_000, 10_000, 100_000, KvCacheSizer.DEVICE_SHARE);
    assertEquals(36, sizer.blocks(BLOCK));
  }

  @Test
  void oneSequenceMayTakeItAll() {
    assertEquals(10, blocks(options(), 160, 71_000));
    assertEquals(7, blocks(options(), 160, 67_500));
  }

  @Test
  void aContextThatWasAskedForIsKeptOrRefused() {
    assertEquals(10, blocks(options().maxContextLength(160), 160, 70_000));
    OutOfDeviceMemoryException e =
        assertThrows(
            OutOfDeviceMemoryException.class,
            () -> blocks(options().maxContextLength(160), 160, 69_999));
    assertEquals(70_000, e.neededBytes());
    assertEquals(69_999, e.freeBytes());
    assertTrue(e.getMessage().contains("a smaller maxContextLength"), e.getMessage());
  }

  @Test
  void weightsThatDoNotFitAreRefused() {
    for (long free : new long[] {0, 10_000, 60_000, 60_999}) {
      assertThrows(OutOfDeviceMemoryException.class, () -> blocks(options(), 160, free));
    }
    assertEquals(1, blocks(options(), 160, 61_000));
  }

  @Test
  void kvCacheBytesIsKeptOrRefused() {
    assertEquals(12, blocks(options().kvCacheBytes(12_999), 160, 1L << 40));
    assertEquals(40, blocks(options().kvCacheBytes(1L << 50), 160, 1L << 40));
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> blocks(options().kvCacheBytes(9_999).maxContextLength(160), 160, 1L << 40));
    assertEquals(
        "kvCacheBytes: 9999 (expected: at least 10000, for one sequence of 160 tokens)",
        e.getMessage());
    assertThrows(
        InvalidRequestException.class, () -> blocks(options().kvCacheBytes(999), 160, 1L << 40));
    OutOfDeviceMemoryException memory =
        assertThrows(
            OutOfDeviceMemoryException.class,
            () -> blocks(options().kvCacheBytes(20_000), 160, 79_999));
    assertEquals(80_000, memory.neededBytes());
  }

  @Test
  void hugeNumbersDoNotOverflow() {
    assertEquals(
        Integer.MAX_VALUE / 16,
        blocks(options().maxSequences(4096).maxStepTokens(4096), 1 << 24, Long.MAX_VALUE));
  }
}
