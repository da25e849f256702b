package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class BatcherOptionsTest {
  private static void refused(String message, Executable action) {
    assertEquals(message, assertThrows(InvalidRequestException.class, action).getMessage());
  }

  @Test
  void numbersAreHeldToTheirRanges() {
    BatcherOptions.Builder b = BatcherOptions.builder();
    for (int bad : new int[] {Integer.MIN_VALUE, -1, 0, 65_537, Integer.MAX_VALUE}) {
      refused(
          "maxBatchSize: " + bad + " (expected: 1 to 65536)", () -> b.maxBatchSize(bad));
    }
    for (int bad : new int[] {Integer.MIN_VALUE, -1, 0}) {
      refused(
          "maxSequenceLength: " + bad + " (expected: 1 to 2147483647)",
          () -> b.maxSequenceLength(bad));
    }
    for (int bad : new int[] {Integer.MIN_VALUE, -1, 0, 1_000_001, Integer.MAX_VALUE}) {
      refused(
          "maxQueuedRequests: " + bad + " (expected: 1 to 1000000)",
          () -> b.maxQueuedRequests(bad));
    }
    refused(
        "maxWait: PT-0.000000001S (expected: zero to an hour)",
        () -> b.maxWait(Duration.ofNanos(-1)));
    refused(
        "maxWait: PT1H0.000000001S (expected: zero to an hour)",
        () -> b.maxWait(Duration.ofHours(1).plusNanos(1)));
    assertThrows(InvalidRequestException.class, () -> b.maxWait(null));
  }

  @Test
  void toBuilderKeepsEveryValue() {
    BatcherOptions options =
        BatcherOptions.builder()
            .maxBatchSize(1)
            .maxWait(Duration.ZERO)
            .maxSequenceLength(Integer.MAX_VALUE)
            .maxQueuedRequests(7)
            .build();
    assertEquals(options.toString(), options.toBuilder().build().toString());
    assertEquals(
        "BatcherOptions[maxBatchSize=32, maxWait=PT0.1S, maxSequenceLength=4096,"
            + " maxQueuedRequests=16384]",
        BatcherOptions.defaults().toString());
  }
}
