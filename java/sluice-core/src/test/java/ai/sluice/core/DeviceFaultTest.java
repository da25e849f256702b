package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.Backend;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.NativeLoadException;
import ai.sluice.api.Numerics;
import ai.sluice.api.OutOfDeviceMemoryException;
import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.proto.DeviceInfo;
import ai.sluice.proto.LibraryInfo;
import ai.sluice.proto.SystemInfo;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a machine with a GPU may lack, as an engine's user meets it. Most needs a GPU. */
@Timeout(600)
class DeviceFaultTest {
  private static final Path NOWHERE = Path.of("/nonexistent/libcublasLt.so.13");

  private static EngineOptions.Builder onGpu() {
    assumeTrue(
        OptionResolver.systemInfo().getDevicesList().stream()
            .anyMatch(device -> device.getBackend() == ai.sluice.proto.Backend.CUDA),
        "no GPU here");
    return Fixtures.options("llama").backend(Backend.CUDA);
  }

  private static void generate(Engine engine) {
    assertEquals(
        4,
        engine
            .generate(
                GenerationRequest.builder()
                    .promptTokens(1, 2, 3)
                    .sampling(Sampling.greedy())
                    .ignoreEos(true)
                    .maxNewTokens(4)
                    .build())
            .tokens()
            .size());
  }

  @Test
  void aLibraryThatTheOptionsNameTakesThePlaceOfTheOneFound() {
    SystemInfo system =
        SystemInfo.newBuilder()
            .addLibraries(LibraryInfo.newBuilder().setName("cuDNN"))
            .addLibraries(LibraryInfo.newBuilder().setName(BackendChoice.CUBLAS))
            .build();
    EngineOptions.Builder options = Fixtures.options("llama");
    assertSame(system, OptionResolver.withOwnLibraries(options.build(), system));
    SystemInfo own =
        OptionResolver.withOwnLibraries(options.cublasLtPath(NOWHERE).build(), system);
    assertEquals(2, own.getLibrariesCount());
    assertEquals("cuDNN", own.getLibraries(0).getName());
    assertEquals(BackendChoice.CUBLAS, own.getLibraries(1).getName());
    assertTrue(own.getLibraries(1).hasProblem());
    assertEquals(NOWHERE.toString(), own.getLibraries(1).getPath());
  }

  @Test
  void aMissingCublasLtIsNamedAndBatchInvariantDoesWithout() {
    EngineOptions.Builder options = onGpu().cublasLtPath(NOWHERE);
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> Engine.open(options.build()));
    assertTrue(String.valueOf(e.getMessage()).contains(NOWHERE.toString()), e.getMessage());
    assertTrue(String.valueOf(e.getMessage()).contains("cublasLtPath"), e.getMessage());
    try (Engine engine = Engine.open(options.numerics(Numerics.BATCH_INVARIANT).build())) {
      generate(engine);
    }
  }

  @Test
  void theModelsDescriptionTellsTheKernelsThatWereLaunched() {
    Engine engine = Engine.open(onGpu().build());
    try (engine) {
      assertFalse(engine.modelInfo().kernels().containsKey("attention"));
      generate(engine);
      assertTrue(engine.modelInfo().kernels().containsKey("attention"));
      assertTrue(engine.modelInfo().notes().stream().noneMatch(note -> note.startsWith("graphs")));
    }
    assertTrue(engine.modelInfo().kernels().containsKey("norm"), "of a closed engine too");
  }

  @Test
  void moreMemoryThanTheDeviceHasIsRefusedWithTheNumbers() {
    EngineOptions.Builder options = onGpu();
    MemoryPlan plan = Engine.planMemory(options.build());
    assertTrue(plan.hostBytes() > 0 && plan.workspaceBytes() > 0, plan.toString());
    assertTrue(plan.totalBytes() < plan.freeBytes(), plan.toString());
    // Others have nearly all of it.
    SystemInfo.Builder system = OptionResolver.systemInfo().toBuilder();
    for (DeviceInfo.Builder device : system.getDevicesBuilderList()) {
      device.setMemoryFreeBytes(257L << 20);
    }
    OutOfDeviceMemoryException e =
        assertThrows(
            OutOfDeviceMemoryException.class,
            () ->
                LoadedModel.load(
                    Checkpoint.open(options.build().model()), options.build(), system.build()));
    assertTrue(e.neededBytes() > e.freeBytes() && e.freeBytes() > 0, e.getMessage());
    assertTrue(String.valueOf(e.getMessage()).contains("remedy: a smaller "), e.getMessage());
  }

  @Test
  void moreRanksThanDevicesAreRefused() {
    EngineOptions options = onGpu().tensorParallelSize(64).build();
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> Engine.open(options));
    assertTrue(
        String.valueOf(e.getMessage()).startsWith("tensorParallelSize: 64 (expected: at most "),
        e.getMessage());
  }
}
