package ai.sluice.core;

import static ai.sluice.jni.SluiceAbi.SLUICE_STATUS_CORRUPT_DATA;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATUS_DEVICE_LOST;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATUS_INTERNAL;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATUS_IO;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATUS_OUT_OF_HOST_MEMORY;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.OutOfDeviceMemoryException;
import ai.sluice.api.SluiceException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.proto.FaultPoint;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The native engine fails where it is told to; Java says so, and nothing hangs or crashes. */
@Timeout(600)
class EngineFaultTest {
  private static final EngineOptions OPTIONS =
      Fixtures.options("llama").maxContextLength(128).maxSequences(2).build();

  private static LoadedModel load(String point, long count, int status) {
    return LoadedModel.load(
        Checkpoint.open(OPTIONS.model()),
        OPTIONS,
        OptionResolver.systemInfo(),
        List.of(
            FaultPoint.newBuilder().setName(point).setCount(count).setStatus(status).build()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"step.run", "step.layer", "step.sample"})
  void aFaultInAStepFailsWhatIsOpenAndWhatComesLater(String point) {
    LoadedModel model = load(point, 12, SLUICE_STATUS_DEVICE_LOST);
    try (Engine engine = new Engine(model, OPTIONS, null, 0)) {
      List<Generation> open = new ArrayList<>();
      open.add(engine.submit(EngineLifecycleTest.endless()));
      try {
        for (int i = 0; i < 4; i++) {
          open.add(engine.submit(EngineLifecycleTest.endless()));
        }
      } catch (EngineFailedException e) {
        // The fault may be faster than the requests.
        assertTrue(e.getMessage().contains(point), e.getMessage());
      }
      for (Generation generation : open) {
        CompletionException e =
            assertThrows(CompletionException.class, () -> generation.result().join());
        assertInstanceOf(EngineFailedException.class, e.getCause());
        assertTrue(e.getCause().getMessage().contains(point), e.getCause().getMessage());
      }
      EngineFailedException later =
          assertThrows(
              EngineFailedException.class, () -> engine.submit(EngineLifecycleTest.endless()));
      assertTrue(later.getMessage().contains(point), later.getMessage());
      assertThrows(
          EngineFailedException.class,
          () -> engine.generateAll(List.of(EngineLifecycleTest.endless())));
      assertEquals(0, engine.metrics().kvBlocksUsed());
      assertEquals(0, engine.metrics().waiting());
    }
  }

  @Test
  void aFaultDuringABatchIsTheOutcomeOfEach() {
    LoadedModel model = load("step.run", 30, SLUICE_STATUS_INTERNAL);
    try (Engine engine = new Engine(model, OPTIONS, null, 0)) {
      List<GenerationOutcome> outcomes =
          engine.generateAll(
              java.util.Collections.nCopies(6, EngineLifecycleTest.endless()));
      assertEquals(6, outcomes.size());
      outcomes.forEach(
          o -> assertInstanceOf(EngineFailedException.class, o.failure().orElseThrow()));
    }
  }

  @Test
  void aFaultWhileLoadingLeavesNothingBehind() {
    refused(CheckpointFormatException.class, "weights.read", SLUICE_STATUS_IO);
    refused(CheckpointFormatException.class, "weights.read", SLUICE_STATUS_CORRUPT_DATA);
    refused(EngineFailedException.class, "weights.finish", SLUICE_STATUS_INTERNAL);
    for (String point : List.of("alloc.weights", "alloc.kv", "alloc.workspace")) {
      refused(OutOfDeviceMemoryException.class, point, SLUICE_STATUS_OUT_OF_HOST_MEMORY);
    }
    EngineLifecycleTest.open().close();
  }

  private static void refused(
      Class<? extends SluiceException> type, String point, int status) {
    SluiceException e = assertThrows(type, () -> load(point, 1, status));
    assertTrue(e.getMessage().contains(point), e.getMessage());
  }
}
