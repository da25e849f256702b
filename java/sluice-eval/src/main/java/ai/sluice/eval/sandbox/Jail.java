package ai.sluice.eval.sandbox;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The command that a program runs under, and the folder with what it needs. */
final class Jail implements AutoCloseable {
  private static final String NOBODY = "65534";
  // Parts of the system that are links into /usr where the distribution has merged them.
  private static final List<String> ROOTS = List.of("/bin", "/lib", "/lib32", "/lib64", "/libx32");

  private final Path folder;
  private final List<String> command;

  /** Writes the filter where the command finds it. */
  Jail(SandboxOptions options) throws IOException {
    byte[] filter = SeccompFilter.of(SeccompFilter.Architecture.here());
    // Readable for others, so that the self-test is refused by the sandbox and by nothing else.
    folder = Files.createTempDirectory("sluice-sandbox");
    try {
      Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
      Files.write(filter(), filter);
      Files.writeString(canary(), "outside\n");
      Files.setPosixFilePermissions(canary(), PosixFilePermissions.fromString("rw-rw-rw-"));
      command = command(options);
    } catch (IOException | RuntimeException e) {
      close();
      throw e;
    }
  }

  /** A file that anybody may read and write, but for programs in the sandbox. */
  Path canary() {
    return folder.resolve("canary");
  }

  private Path filter() {
    return folder.resolve("filter");
  }

  /**
   * Starts an interpreter that waits for a nonce and a program on its standard input.
   *
   * @param name the last argument of all its processes
   */
  Process start(String name) throws IOException {
    ProcessBuilder builder = new ProcessBuilder(new ArrayList<>(command));
    builder.command().add(name);
    // A folder that any user may enter, and nothing of this process's environment.
    builder.directory(Path.of("/").toFile());
    builder.environment().clear();
    builder.environment().put("PATH", "/usr/bin:/bin");
    builder.environment().put("LC_ALL", "C.UTF-8");
    builder.environment().put("PYTHONHASHSEED", "0");
    builder.redirectErrorStream(true);
    return builder.start();
  }

  private List<String> command(SandboxOptions options) throws IOException {
    // Java closes every descriptor above 2 in what it starts; the filter becomes number 3. Each
    // step replaces the one before, so that the process Java knows is bubblewrap's, in a session of
    // its own: Ctrl-C in the terminal is not for it.
    List<String> out =
        new ArrayList<>(
            List.of(
                "/bin/sh", "-c", "exec 3<\"$0\" && exec \"$@\"", filter().toString(), "setsid"));
    if (isRoot()) {
      // Root outside would own what it sees inside, under whatever number.
      out.addAll(List.of("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"));
    }
    out.addAll(
        List.of(
            options.bubblewrap().toString(),
            "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            "--uid", NOBODY, "--gid", NOBODY, "--ro-bind", "/usr", "/usr"));
    for (String root : ROOTS) {
      Path path = Path.of(root);
      if (Files.isSymbolicLink(path)) {
        out.addAll(List.of("--symlink", Files.readSymbolicLink(path).toString(), root));
      } else if (Files.isDirectory(path)) {
        out.addAll(List.of("--ro-bind", root, root));
      }
    }
    // No /proc: by it a program could read and write its own memory and descriptors. What is not
    // /tmp cannot be written: the file systems under / and /dev have no limit of size.
    out.addAll(
        List.of(
            "--dev", "/dev", "--remount-ro", "/dev", "--size", "16777216", "--tmpfs", "/tmp",
            "--chdir", "/tmp", "--remount-ro", "/", "--seccomp", "3", "--",
            // Not -I, which would ignore PYTHONHASHSEED.
            options.python().toString(), "-s", "-S", "-B", "-c", Resources.text("wrapper.py"),
            String.format(Locale.ROOT, "%.3f", options.limitSeconds())));
    return out;
  }

  private static boolean isRoot() throws IOException {
    return "root".equals(System.getProperty("user.name"))
        || Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0);
  }

  /** Removes the folder. */
  @Override
  public void close() {
    try {
      for (Path file : List.of(filter(), canary(), folder)) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
