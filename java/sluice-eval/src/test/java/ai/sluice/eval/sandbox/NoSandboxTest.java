package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where there is no sandbox, or one that does not hold, nothing runs. */
class NoSandboxTest {
  @TempDir Path folder;

  @BeforeEach
  void letOthersIn() throws Exception {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private String refusal(Path bubblewrap) {
    SandboxOptions options =
        new SandboxOptions(bubblewrap, SandboxOptions.defaults().python(), 3);
    String message =
        assertThrows(SandboxUnavailableException.class, () -> BubblewrapRunner.open(options))
            .getMessage();
    assertTrue(message.contains("remedy: "), message);
    assertTrue(message.contains("eval score"), message);
    return message;
  }

  private Path script(String text) throws Exception {
    Path file = folder.resolve("bwrap");
    Files.writeString(file, "#!/bin/sh\n" + text + "\n");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    return file;
  }

  @Test
  void bubblewrapIsNotThere() {
    String message = refusal(folder.resolve("nowhere"));
    assertTrue(message.contains(folder.resolve("nowhere").toString()), message);
    assertTrue(message.contains("apt-get install bubblewrap"), message);
  }

  @Test
  void userNamespacesAreForbidden() throws Exception {
    String said = "bwrap: No permissions to create new namespace, likely because the kernel does";
    String message = refusal(script("echo '" + said + "' >&2; exit 1"));
    assertTrue(message.contains(said), message);
    assertTrue(message.contains("kernel.unprivileged_userns_clone=1"), message);
  }

  @Test
  void uidMapIsForbidden() throws Exception {
    String message =
        refusal(script("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1"));
    assertTrue(message.contains("kernel.apparmor_restrict_unprivileged_userns=0"), message);
  }

  @Test
  void bubblewrapIsTooOld() throws Exception {
    assertTrue(
        refusal(script("echo 'bwrap: Unknown option --size' >&2; exit 1"))
            .contains("bubblewrap 0.8 or later"));
  }

  @Test
  void bubblewrapSaysNothing() throws Exception {
    assertTrue(refusal(script("exit 7")).contains("status 7"));
  }

  @Test
  void theSandboxLetsEverythingThrough() throws Exception {
    // What comes after -- without any sandbox round it: the self-test finds the canary.
    String message =
        refusal(script("while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\""));
    assertTrue(message.contains("does not hold here"), message);
    assertTrue(message.contains("fork"), message);
    assertTrue(message.contains("a connection"), message);
    assertTrue(message.contains("reading a file outside"), message);
    assertTrue(message.contains("writing a file outside"), message);
  }

  @Test
  void theFilterIsNotLoaded() throws Exception {
    String real = SandboxOptions.defaults().bubblewrap().toString();
    Sandbox.open(SandboxOptions.defaults()).close();
    String message =
        refusal(
            script(
                "for a; do shift; case $a in --seccomp | 3) ;; *) set -- \"$@\" \"$a\" ;; esac;"
                    + " done; exec " + real + " \"$@\""));
    assertTrue(message.contains("fork"), message);
  }

  @Test
  void noFileIsLeftBehind() throws Exception {
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
    refusal(script("readlink /proc/self/fd/3 > " + folder + "/filter; exit 1"));
    String filter = Files.readString(folder.resolve("filter")).strip();
    assertTrue(filter.endsWith("/filter"), filter);
    assertFalse(Files.exists(Path.of(filter).getParent()), filter);
  }
}
