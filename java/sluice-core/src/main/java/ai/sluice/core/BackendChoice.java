package ai.sluice.core;

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
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where an engine runs: what was asked for against what the build and the machine have.
 *
 * @param backend CPU or CUDA
 * @param devices the GPU of each rank; empty on the CPU
 * @param note for the model's description, where nobody asked for this backend by name
 * @param fallback why AUTO did not take CUDA in a build that has it
 */
record BackendChoice(
    Backend backend, List<DeviceInfo> devices, Optional<String> note, Optional<String> fallback) {
  private static final Logger LOG = LoggerFactory.getLogger(Engine.class);
  private static final AtomicBoolean WARNED = new AtomicBoolean();

  /** The names of {@link SystemInfo}'s libraries that CUDA cannot do without. */
  private static final String DRIVER = "CUDA driver";

  static final String CUBLAS = "cuBLASLt";

  private static final double LEAST_CAPABILITY = 8.0;
  private static final String NO_DEVICE =
      "no usable device (expected: an NVIDIA GPU of compute capability 8.0 or later)";

  /**
   * Chooses. Has no effect but the choice; {@link #warn} tells of it.
   *
   * @throws UnsupportedModelException if CUDA was asked for and is not in this build
   * @throws NativeLoadException if CUDA was asked for and a driver, a device or a library is missing
   * @throws InvalidRequestException if CUDA was asked for with more ranks than there are devices
   */
  static BackendChoice of(EngineOptions options, SystemInfo system) {
    if (options.backend() == Backend.CPU) {
      return new BackendChoice(Backend.CPU, List.of(), Optional.empty(), Optional.empty());
    }
    List<DeviceInfo> devices =
        system.getDevicesList().stream()
            .filter(device -> device.getBackend() == ai.sluice.proto.Backend.CUDA)
            .filter(BackendChoice::isUsable)
            .toList();
    Optional<SluiceException> obstacle = obstacle(options, system, devices.size());
    if (obstacle.isEmpty()) {
      List<DeviceInfo> ranks = devices.subList(0, options.tensorParallelSize());
      return new BackendChoice(Backend.CUDA, ranks, Optional.empty(), Optional.empty());
    }
    if (options.backend() == Backend.CUDA) {
      throw obstacle.get();
    }
    String reason = String.valueOf(obstacle.get().getMessage());
    return new BackendChoice(
        Backend.CPU,
        List.of(),
        Optional.of("backend: CPU, chosen automatically; " + reason),
        isBuilt(system) ? Optional.of(reason) : Optional.empty());
  }

  /**
   * Says once in this process that AUTO fell back to the CPU; a build without CUDA has nothing to
   * fall back from.
   */
  void warn() {
    if (fallback.isPresent() && WARNED.compareAndSet(false, true)) {
      LOG.warn("backend AUTO runs on the CPU: {}", fallback.get());
    }
  }

  /** Bytes free on the device that has the least, -1 if unknown; of CUDA's devices only. */
  long freeBytes() {
    return devices.stream()
        .mapToLong(device -> device.hasMemoryFreeBytes() ? device.getMemoryFreeBytes() : -1)
        .min()
        .orElse(-1);
  }

  /** The device index of each rank, as the native engine takes them. */
  int[] deviceIndices(int ranks) {
    return backend == Backend.CPU
        ? new int[ranks]
        : devices.stream().mapToInt(DeviceInfo::getIndex).toArray();
  }

  private static boolean isUsable(DeviceInfo device) {
    try {
      return Double.parseDouble(device.getCapability()) >= LEAST_CAPABILITY;
    } catch (NumberFormatException e) {
      return false;
    }
  }

  private static boolean isBuilt(SystemInfo system) {
    return system.getBuiltBackendsList().contains(ai.sluice.proto.Backend.CUDA);
  }

  /** Why CUDA cannot be used, if it cannot. */
  private static Optional<SluiceException> obstacle(
      EngineOptions options, SystemInfo system, int devices) {
    if (!isBuilt(system)) {
      return Optional.of(
          new UnsupportedModelException(
              "backend: CUDA is not in this build (expected: CPU or AUTO; built: "
                  + system.getBuiltBackendsList().stream()
                      .map(Enum::name)
                      .collect(Collectors.joining(", "))
                  + "; remedy: ai.sluice:sluice-native with classifier linux-x86_64-cuda13, or"
                  + " ./sluice build --cuda)"));
    }
    Optional<LibraryInfo> driver = broken(system, DRIVER);
    if (devices == 0) {
      return Optional.of(
          new NativeLoadException(
              "backend: CUDA: "
                  + driver.map(LibraryInfo::getProblem).orElse(NO_DEVICE)));
    }
    if (options.tensorParallelSize() > devices) {
      return Optional.of(
          new InvalidRequestException(
              "tensorParallelSize: " + options.tensorParallelSize() + " (expected: at most "
                  + devices + ", the CUDA devices of this machine)"));
    }
    if (options.numerics() == Numerics.FAST) {
      // Batch-invariant products take kernels of our own.
      return broken(system, CUBLAS)
          .map(
              library ->
                  new NativeLoadException(
                      "backend: CUDA: cuBLASLt: " + library.getProblem() + " (remedy: install"
                          + " cuBLAS of CUDA 13, put the folder of libcublasLt.so.13 into"
                          + " LD_LIBRARY_PATH or name it by cublasLtPath; numerics BATCH_INVARIANT does without it)"));
    }
    return Optional.empty();
  }

  private static Optional<LibraryInfo> broken(SystemInfo system, String name) {
    return system.getLibrariesList().stream()
        .filter(library -> library.getName().equals(name) && library.hasProblem())
        .findFirst();
  }
}
