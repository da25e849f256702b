package ai.sluice.cli;

import ai.sluice.api.SluiceException;
import ai.sluice.eval.FileHashes;
import ai.sluice.eval.sandbox.BubblewrapRunner;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.eval.sandbox.SandboxUnavailableException;
import ai.sluice.jni.NativeLibrary;
import ai.sluice.proto.DeviceInfo;
import ai.sluice.proto.SystemInfo;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The machine that an evaluation runs on, for its manifest. */
final class EvalMachine {
  private final Console console;
  private volatile @Nullable String python;

  EvalMachine(Console console) {
    this.console = console;
  }

  /** Hashes of large files are kept beside the models. */
  static FileHashes hashes(Console console) {
    return new FileHashes(Optional.of(new ModelStore(console).cacheFolder().resolve("hashes")));
  }

  /**
   * The sandbox for programs.
   *
   * @throws SandboxUnavailableException if there is none here, with what can be done instead
   */
  CodeRunner sandbox() {
    BubblewrapRunner sandbox = BubblewrapRunner.open();
    python = sandbox.pythonVersion();
    return sandbox;
  }

  /** Versions and hardware, by name. */
  Map<String, String> environment() {
    Map<String, String> out = new LinkedHashMap<>();
    String version = python;
    if (version != null) {
      out.put("python", version);
    }
    try {
      SystemInfo system = SystemInfo.parseFrom(NativeLibrary.systemInfo());
      out.put("sluice", system.getVersion());
      out.put("compiler", system.getCompiler());
      out.put("library", String.valueOf(NativeLibrary.path()));
      out.put("library_sha256", hashes(console).of(List.of(NativeLibrary.path())));
      out.put("processor", system.getCpuName());
      out.put("cores", String.valueOf(system.getNumCores()));
      out.put("memory_bytes", String.valueOf(system.getMemoryBytes()));
      for (DeviceInfo device : system.getDevicesList()) {
        out.put(
            "device." + device.getIndex(),
            device.getName() + ", driver " + device.getDriver() + ", capability "
                + device.getCapability());
      }
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("sluice_system_info: not a SystemInfo message", e);
    } catch (SluiceException e) {
      // A server is asked, and this machine has no natives: there is nothing to tell of them.
      out.put("library", "none: " + e.getMessage());
    }
    return out;
  }
}
