package ai.sluice.eval.sandbox;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;

/** Programs that attempt what must be impossible, run before any other. */
final class SelfTest {
  private SelfTest() {}

  static void run(CodeRunner runner, Path canary) {
    Verdict wrong = runner.run("assert 1 + 1 == 3");
    if (wrong.outcome() != Verdict.Outcome.FAILED || !wrong.detail().equals("AssertionError")) {
      throw refused("a wrong program: " + wrong.outcome() + " " + wrong.detail());
    }
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
      String known =
          "canary = '" + quoted(canary.toString()) + "'\nport = " + server.getLocalPort() + "\n";
      Verdict verdict = runner.run(known + Resources.text("self_test.py"));
      if (!verdict.passed()) {
        throw refused(verdict.outcome() + " " + verdict.detail());
      }
    } catch (IOException e) {
      throw new SandboxUnavailableException(
          "the sandbox cannot be tested: nothing listens on loopback: " + e.getMessage(), e);
    }
  }

  private static String quoted(String path) {
    return path.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n");
  }

  private static SandboxUnavailableException refused(String what) {
    return new SandboxUnavailableException(
        "the sandbox does not hold here: " + what + " (expected: all attempts refused; remedy:"
            + " bubblewrap 0.8 or later on a Linux kernel with user namespaces and seccomp; or "
            + BubblewrapRunner.ELSEWHERE + ")");
  }
}
