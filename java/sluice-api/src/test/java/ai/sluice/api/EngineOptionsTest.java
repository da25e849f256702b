package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class EngineOptionsTest {
  private record IntOption(
      String name, BiConsumer<EngineOptions.Builder, Integer> setter, int min, int max) {}

  private static EngineOptions.Builder builder() {
    return EngineOptions.builder().model(Path.of("model"));
  }

  @TestFactory
  Stream<DynamicTest> everyIntegerIsHeldToItsRange() {
    return Stream.of(
            new IntOption("threads", EngineOptions.Builder::threads, 1, 1024),
            new IntOption(
                "tensorParallelSize", EngineOptions.Builder::tensorParallelSize, 1, 1024),
            new IntOption("maxContextLength", EngineOptions.Builder::maxContextLength, 2, 1 << 24),
            new IntOption("maxSequences", EngineOptions.Builder::maxSequences, 1, 4096),
            new IntOption("maxStepTokens", EngineOptions.Builder::maxStepTokens, 1, 1 << 16),
            new IntOption("blockSize", EngineOptions.Builder::blockSize, 4, 256),
            new IntOption(
                "maxQueuedRequests", EngineOptions.Builder::maxQueuedRequests, 1, 1_000_000),
            new IntOption("maxDraftTokens", EngineOptions.Builder::maxDraftTokens, 0, 16),
            new IntOption("maxUnreadBytes", EngineOptions.Builder::maxUnreadBytes, 1, 1 << 30),
            new IntOption("maxLogprobs", EngineOptions.Builder::maxLogprobs, 0, 1000))
        .map(
            option ->
                DynamicTest.dynamicTest(
                    option.name(),
                    () -> {
                      option.setter().accept(builder(), option.min());
                      option.setter().accept(builder(), option.max());
                      for (int wrong :
                          new int[] {
                            -1, Integer.MIN_VALUE, Integer.MAX_VALUE, option.min() - 1,
                            option.max() + 1
                          }) {
                        InvalidRequestException e =
                            assertThrows(
                                InvalidRequestException.class,
                                () -> option.setter().accept(builder(), wrong));
                        assertTrue(
                            e.getMessage().startsWith(option.name() + ": " + wrong + " (expected:"),
                            e.getMessage());
                      }
                    }));
  }

  @Test
  void maxQueuedTokensIsHeldToItsRange() {
    for (int wrong : new int[] {Integer.MIN_VALUE, -1, 0}) {
      assertEquals(
          "maxQueuedTokens: " + wrong + " (expected: 1 to 2147483647)",
          assertThrows(
                  InvalidRequestException.class,
                  () -> EngineOptions.builder().maxQueuedTokens(wrong))
              .getMessage());
    }
    EngineOptions.builder().maxQueuedTokens(1).maxQueuedTokens(Integer.MAX_VALUE);
  }

  @Test
  void blockSizeMustBeAPowerOfTwo() {
    assertThrows(InvalidRequestException.class, () -> builder().blockSize(24));
    assertEquals(64, builder().blockSize(64).build().blockSize().getAsInt());
  }

  @Test
  void kvCacheBytesIsHeldToItsRange() {
    for (long wrong : new long[] {-1, 0, Long.MIN_VALUE, Long.MAX_VALUE, (1L << 50) + 1}) {
      assertThrows(InvalidRequestException.class, () -> builder().kvCacheBytes(wrong));
    }
    assertEquals(
        OptionalLong.of(1L << 50), builder().kvCacheBytes(1L << 50).build().kvCacheBytes());
  }

  @Test
  void aStepMustHoldOneTokenOfEverySequence() {
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> builder().maxSequences(32).maxStepTokens(31).build());
    assertEquals(
        "maxStepTokens: 31 (expected: at least maxSequences = 32, one token for each)",
        e.getMessage());
    builder().maxSequences(32).maxStepTokens(32).build();
  }

  @Test
  void theModelIsRequired() {
    assertThrows(InvalidRequestException.class, () -> EngineOptions.builder().build());
    assertThrows(InvalidRequestException.class, () -> EngineOptions.builder().model(null));
  }

  @Test
  void whatIsUnsetIsAbsent() {
    EngineOptions options = builder().build();
    assertEquals(OptionalInt.empty(), options.threads());
    assertEquals(OptionalInt.empty(), options.maxContextLength());
    assertEquals(OptionalLong.empty(), options.kvCacheBytes());
    assertEquals(ComputeDtype.AUTO, options.dtype());
  }

  @Test
  void toBuilderKeepsEveryValue() {
    EngineOptions options =
        builder()
            .backend(Backend.CPU)
            .dtype(ComputeDtype.FLOAT32)
            .numerics(Numerics.BATCH_INVARIANT)
            .threads(3)
            .tensorParallelSize(2)
            .maxContextLength(77)
            .kvCacheBytes(12345)
            .maxSequences(5)
            .maxStepTokens(99)
            .blockSize(32)
            .maxQueuedRequests(7)
            .maxLogprobs(3)
            .maxQueuedTokens(8)
            .maxDraftTokens(9)
            .maxUnreadBytes(10)
            .reasoningFormat(ReasoningFormat.THINK)
            .toolCallFormat(ToolCallFormat.OFF)
            .overlap(false)
            .prefixCache(false)
            .reportExpertCounts(true)
            .cublasLtPath(Path.of("cublas"))
            .loadListener(progress -> true)
            .build();
    EngineOptions copy = options.toBuilder().build();
    TreeMap<String, Object> was = properties(options);
    assertEquals(was, properties(copy));
    // Every value differs from the default, so a field that toBuilder forgets shows above.
    TreeMap<String, Object> defaults = properties(builder().build());
    was.forEach(
        (name, value) ->
            assertTrue(
                Set.of("model").contains(name) || !value.equals(defaults.get(name)),
                name + " is tested at its default"));
  }

  private static TreeMap<String, Object> properties(EngineOptions options) {
    TreeMap<String, Object> values = new TreeMap<>();
    for (var method : EngineOptions.class.getDeclaredMethods()) {
      if (java.lang.reflect.Modifier.isPublic(method.getModifiers())
          && !java.lang.reflect.Modifier.isStatic(method.getModifiers())
          && method.getParameterCount() == 0
          && !Set.of("toBuilder", "toString", "hashCode").contains(method.getName())) {
        try {
          values.put(method.getName(), method.invoke(options));
        } catch (ReflectiveOperationException e) {
          throw new AssertionError(e);
        }
      }
    }
    return values;
  }
}
