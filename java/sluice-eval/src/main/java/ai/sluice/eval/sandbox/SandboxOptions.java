package ai.sluice.eval.sandbox;

import ai.sluice.api.InvalidRequestException;
import java.nio.file.Path;

/**
 * What the sandbox is made of.
 *
 * @param bubblewrap the program {@code bwrap}, 0.8 or later
 * @param python the interpreter; it lies under {@code /usr}, which programs see
 * @param limitSeconds how long a program may run, its interpreter's start not counted
 */
public record SandboxOptions(Path bubblewrap, Path python, double limitSeconds) {
  /**
   * Checks the options.
   *
   * @throws InvalidRequestException when the limit is not in 0.1 to 60 or the interpreter elsewhere
   */
  public SandboxOptions {
    if (!(limitSeconds >= 0.1 && limitSeconds <= 60)) {
      throw new InvalidRequestException("limitSeconds: " + limitSeconds + " (expected: 0.1 to 60)");
    }
    if (!python.isAbsolute() || !python.normalize().startsWith("/usr")) {
      throw new InvalidRequestException(
          "python: " + python + " (expected: an interpreter under /usr, which is what programs see;"
              + " remedy: /usr/bin/python3)");
    }
  }

  /** Those of the system, and 3 seconds, as HumanEval's authors allow. */
  public static SandboxOptions defaults() {
    return new SandboxOptions(Path.of("/usr/bin/bwrap"), Path.of("/usr/bin/python3"), 3.0);
  }
}
