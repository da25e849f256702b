package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the native library logs comes out of SLF4J, at the level of its logger. In a JVM of its own:
 * a logger's level is read once.
 */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class NativeLogTest {
  @TempDir private Path folder;

  private String errors(String... options) throws IOException, InterruptedException {
    Path errors = folder.resolve("errors");
    List<String> command =
        ChildJvm.command(
            List.of(options),
            List.of(
                "generate", "-m", GoldenFiles.TINY_CHAT.toString(), "--max-new-tokens", "1", "a"));
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(errors.toFile())
            .start();
    int code = process.waitFor();
    String text = Files.readString(errors, StandardCharsets.UTF_8);
    assertEquals(0, code, text);
    return text;
  }

  @Test
  void recordsOfTheNativeLibraryAreLoggedAtTheLevelOfTheirLogger() throws Exception {
    String loud = errors("-Dorg.slf4j.simpleLogger.log.ai.sluice.native=info");
    assertTrue(loud.contains("INFO native - engine: llama, "), loud);
    assertTrue(loud.contains("; kernels:"), loud);
    String quiet = errors();
    assertFalse(quiet.contains("engine: llama"), quiet);
  }
}
