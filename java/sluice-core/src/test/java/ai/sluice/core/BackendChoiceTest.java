package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Backend;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.NativeLoadException;
import ai.sluice.api.Numerics;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.proto.DeviceInfo;
import ai.sluice.proto.LibraryInfo;
import ai.sluice.proto.SystemInfo;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class BackendChoiceTest {
  private static final String NO_DRIVER = "no NVIDIA driver (remedy: install one)";

  private static EngineOptions.Builder options(Backend backend) {
    return EngineOptions.builder().model(Path.of("model")).backend(backend);
  }

  private static SystemInfo.Builder machine(boolean built, String... capabilities) {
    SystemInfo.Builder system =
        SystemInfo.newBuilder().addBuiltBackends(ai.sluice.proto.Backend.CPU);
    system.addDevices(DeviceInfo.newBuilder().setBackend(ai.sluice.proto.Backend.CPU));
    if (built) {
      system.addBuiltBackends(ai.sluice.proto.Backend.CUDA);
    }
    for (int i = 0; i < capabilities.length; i++) {
      system.addDevices(
          DeviceInfo.newBuilder()
              .setBackend(ai.sluice.proto.Backend.CUDA)
              .setIndex(i)
              .setMemoryFreeBytes(1000 - i)
              .setCapability(capabilities[i]));
    }
    return system;
  }

  private static SystemInfo broken(SystemInfo.Builder system, String library, String problem) {
    return system
        .addLibraries(LibraryInfo.newBuilder().setName(library).setProblem(problem))
        .build();
  }

  private static String obstacle(
      Class<? extends SluiceException> type, EngineOptions.Builder options, SystemInfo system) {
    return String.valueOf(
        assertThrows(type, () -> BackendChoice.of(options.build(), system)).getMessage());
  }

  /** AUTO gives way where CUDA refuses, and quotes the refusal. */
  private static BackendChoice fallback(SystemInfo system) {
    BackendChoice choice = BackendChoice.of(options(Backend.AUTO).build(), system);
    assertEquals(Backend.CPU, choice.backend());
    assertArrayEquals(new int[2], choice.deviceIndices(2));
    return choice;
  }

  @Test
  void aDeviceIsTakenUnlessTheCpuIsAskedFor() {
    SystemInfo system = machine(true, "9.0", "8.0").build();
    for (Backend backend : new Backend[] {Backend.AUTO, Backend.CUDA}) {
      BackendChoice one = BackendChoice.of(options(backend).build(), system);
      assertEquals(Backend.CUDA, one.backend());
      assertArrayEquals(new int[] {0}, one.deviceIndices(1));
      assertEquals(1000, one.freeBytes());
      assertTrue(one.note().isEmpty() && one.fallback().isEmpty());
      BackendChoice two =
          BackendChoice.of(options(backend).tensorParallelSize(2).build(), system);
      assertArrayEquals(new int[] {0, 1}, two.deviceIndices(2));
      assertEquals(999, two.freeBytes());
    }
    BackendChoice cpu = BackendChoice.of(options(Backend.CPU).build(), system);
    assertEquals(Backend.CPU, cpu.backend());
    assertTrue(cpu.note().isEmpty() && cpu.fallback().isEmpty());
  }

  @Test
  void aBuildWithoutCudaIsNotWarnedOf() {
    SystemInfo system = machine(false).build();
    String message =
        obstacle(UnsupportedModelException.class, options(Backend.CUDA), system);
    assertTrue(message.contains("built: CPU; remedy: "), message);
    BackendChoice choice = fallback(system);
    assertEquals("backend: CPU, chosen automatically; " + message, choice.note().orElseThrow());
    assertTrue(choice.fallback().isEmpty());
  }

  @Test
  void aMissingDriverIsNamed() {
    SystemInfo system = broken(machine(true), "CUDA driver", NO_DRIVER);
    String message = obstacle(NativeLoadException.class, options(Backend.CUDA), system);
    assertEquals("backend: CUDA: " + NO_DRIVER, message);
    BackendChoice choice = fallback(system);
    assertEquals(message, choice.fallback().orElseThrow());
    assertTrue(choice.note().orElseThrow().endsWith(message));
  }

  @Test
  void anOldDeviceIsNoDevice() {
    SystemInfo system = machine(true, "7.5").build();
    String message = obstacle(NativeLoadException.class, options(Backend.CUDA), system);
    assertTrue(message.contains("compute capability 8.0"), message);
    fallback(system);
  }

  @Test
  void fastProductsNeedTheirLibrary() {
    SystemInfo system = broken(machine(true, "9.0"), "cuBLASLt", "no such file");
    String message = obstacle(NativeLoadException.class, options(Backend.CUDA), system);
    assertTrue(message.startsWith("backend: CUDA: cuBLASLt: no such file (remedy: "), message);
    fallback(system);
    assertEquals(
        Backend.CUDA,
        BackendChoice.of(
                options(Backend.CUDA).numerics(Numerics.BATCH_INVARIANT).build(), system)
            .backend());
  }

  @Test
  void everyRankNeedsADevice() {
    String message =
        obstacle(
            InvalidRequestException.class,
            options(Backend.CUDA).tensorParallelSize(2),
            machine(true, "9.0").build());
    assertTrue(message.startsWith("tensorParallelSize: 2 (expected: at most 1"), message);
  }
}
