package ai.sluice.cli;

import ai.sluice.api.SluiceException;
import ai.sluice.eval.data.PinnedFiles;
import ai.sluice.jni.NativeLibrary;
import ai.sluice.jni.SluiceAbi;
import ai.sluice.proto.Backend;
import ai.sluice.proto.DeviceInfo;
import ai.sluice.proto.KernelChoice;
import ai.sluice.proto.LibraryInfo;
import ai.sluice.proto.SystemInfo;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Looks at the machine and the installation, and says what is wrong with them. */
@Command(
    name = "doctor",
    description = {
      "Look at this machine and this installation: natives, processor, GPUs, kernels, caches, model.",
      "With a GPU, a small random model is run on it and on the CPU, and must agree.",
      "Exit code 1 if something is broken; each problem comes with its remedy."
    })
final class DoctorCommand implements Callable<Integer> {
  /** Libraries of {@link SystemInfo} that CUDA engines open. */
  private static final Set<String> FOR_GPU = Set.of("CUDA driver", "cuBLASLt");

  private static final String CUBLAS = "cuBLASLt";

  /** Libraries that CPU engines open; a machine with a GPU does without. */
  private static final Set<String> FOR_CPU = Set.of("oneDNN");

  /** The ones that engines do without. */
  private static final Set<String> OPTIONAL = Set.of("cuDNN", "NCCL");

  @Option(
      names = "--cublaslt-path",
      paramLabel = "PATH",
      description = "File or folder of cuBLASLt to look at; default: where the system has it.")
  @Nullable Path cublasLtPath;

  private final Console console;
  private int problems;

  DoctorCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    row("sluice", RootCommand.Version.version());
    java();
    natives();
    folders();
    model();
    console.println(problems == 0 ? "no problem found" : problems + " problem(s) found");
    return problems == 0 ? Failures.OK : Failures.FAILED;
  }

  private void java() {
    row(
        "java",
        System.getProperty("java.vm.name") + " " + System.getProperty("java.runtime.version") + ", "
            + System.getProperty("java.home"));
    row("heap", "at most " + Sizes.text(Runtime.getRuntime().maxMemory()));
  }

  private void natives() {
    try {
      row("library", "libsluice " + NativeLibrary.version() + ", ABI "
          + SluiceAbi.sluice_abi_version() + ", " + NativeLibrary.path());
      row("", "from " + NativeLibrary.origin());
    } catch (SluiceException e) {
      problem("library", e);
      return;
    }
    SystemInfo info;
    try {
      info = SystemInfo.parseFrom(NativeLibrary.systemInfo());
    } catch (SluiceException e) {
      problem("system", e);
      return;
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("sluice_system_info: not a SystemInfo message", e);
    }
    row("compiler", info.getCompiler());
    row(
        "processor",
        info.getCpuName() + ", " + info.getNumCores() + " cores, "
            + Sizes.text(info.getMemoryBytes()) + " memory, "
            + Sizes.text(info.getMemoryFreeBytes()) + " free");
    row("features", String.join(" ", info.getCpuFeaturesList()));
    row(
        "backends",
        String.join(" ", info.getBuiltBackendsList().stream().map(Enum::name).toList()));
    for (DeviceInfo device : info.getDevicesList()) {
      row("device " + device.getIndex(), device(device));
    }
    boolean gpu =
        info.getDevicesList().stream().anyMatch(device -> device.getBackend() == Backend.CUDA);
    for (LibraryInfo library : info.getLibrariesList()) {
      library(named(library), gpu);
    }
    kernels(info.getKernelsList());
    if (gpu && info.getLibrariesList().stream().anyMatch(DoctorCommand::isMissingForCpu)) {
      row("parity", "not compared, since the CPU backend lacks oneDNN");
    } else if (gpu) {
      parity();
    } else if (info.getBuiltBackendsList().contains(Backend.CUDA)) {
      row("gpu", "none that can be used; backend AUTO runs on the CPU");
    }
  }

  /** The library at the path that an option names, in the place of the one found. */
  private LibraryInfo named(LibraryInfo library) {
    if (cublasLtPath == null || !library.getName().equals(CUBLAS)) {
      return library;
    }
    try {
      return LibraryInfo.parseFrom(NativeLibrary.libraryInfo(CUBLAS, cublasLtPath));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("sluice_library_info: not a LibraryInfo message", e);
    }
  }

  private static boolean isMissingForCpu(LibraryInfo library) {
    return FOR_CPU.contains(library.getName()) && library.hasProblem();
  }

  /** What only one backend needs is no problem where the other runs. */
  private void library(LibraryInfo library, boolean gpu) {
    String name = library.getName();
    if (!library.hasProblem()) {
      row("library", name + " " + library.getVersion() + ", " + library.getPath());
    } else if (OPTIONAL.contains(name) || (gpu ? FOR_CPU : FOR_GPU).contains(name)) {
      row("library", name + ": missing, " + library.getProblem());
    } else {
      problem("library", library.getProblem().startsWith(name)
          ? library.getProblem()
          : name + ": " + library.getProblem());
    }
  }

  private void parity() {
    try {
      double difference = ParityCheck.run(cublasLtPath);
      String text =
          String.format(
              Locale.ROOT,
              "a random model's log-probabilities on CPU and GPU: %.1e apart (expected: below %.0e)",
              difference,
              ParityCheck.TOLERANCE);
      if (difference < ParityCheck.TOLERANCE) {
        row("parity", text);
      } else {
        problem("parity", text);
      }
    } catch (SluiceException e) {
      problem("parity", e);
    } catch (IOException e) {
      problem("parity", PinnedFiles.reason(e)
          + " (expected: a folder for temporary files that can be written)");
    }
  }

  private static String device(DeviceInfo device) {
    return String.format(
        Locale.ROOT, "%s %s, %s memory, %s free%s%s",
        device.getBackend(), device.getName(), Sizes.text(device.getMemoryBytes()),
        Sizes.text(device.getMemoryFreeBytes()),
        device.hasCapability() ? ", capability " + device.getCapability() : "",
        device.hasDriver() ? ", driver " + device.getDriver() : "");
  }

  private void kernels(List<KernelChoice> kernels) {
    String label = "kernels";
    for (KernelChoice kernel : kernels) {
      row(label, kernel.getOp() + ": " + kernel.getVariant()
          + (kernel.getReason().isEmpty() ? "" : " (" + kernel.getReason() + ")"));
      label = "";
    }
  }

  private void folders() {
    Path cache = new ModelStore(console).cacheFolder();
    String label = "cache";
    try {
      Files.createDirectories(cache);
      Files.delete(Files.createTempFile(cache, ".doctor", null));
      row(label, cache + ", " + Sizes.text(Files.getFileStore(cache).getUsableSpace()) + " free");
    } catch (IOException e) {
      problem(label, cache + ": cannot be written, " + PinnedFiles.reason(e)
          + " (expected: a folder of yours; set XDG_CACHE_HOME to one)");
    }
  }

  private void model() {
    ModelStore store = new ModelStore(console);
    PinnedModel model = PinnedModel.DEFAULT;
    Path file = store.fileOf(model);
    if (!Files.exists(file)) {
      row("model", model.name() + " is not there yet; 'sluice pull' fetches it");
      return;
    }
    try {
      if (PinnedFiles.sha256(file).equals(model.fileSha256())) {
        row("model", model.name() + ", " + file + ", sha256 verified");
      } else {
        problem("model", file + ": damaged (expected: sha256 " + model.fileSha256()
            + "; 'sluice pull' replaces it)");
      }
    } catch (IOException e) {
      problem("model", PinnedFiles.reason(e) + " (expected: a readable file)");
    }
  }

  private void row(String label, String text) {
    console.println(String.format("%-10s %s", label, text.strip().replace("\n", "\n           ")));
  }

  private void problem(String label, SluiceException e) {
    problem(label, String.valueOf(e.getMessage()));
  }

  private void problem(String label, String text) {
    problems++;
    row(label, "PROBLEM: " + text);
  }
}
