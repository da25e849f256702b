package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Programs that attempt what they must not: 1 to 21 are the specification's, more are ours. */
class HostileProgramsTest {
  // What only the limit ends gets little time, and all else so much that no slow machine matters.
  private static final SandboxOptions SHORT = Sandbox.options(1);
  private static final SandboxOptions LONG = Sandbox.options(30);
  private static BubblewrapRunner shortly;
  private static BubblewrapRunner patiently;

  @BeforeAll
  static void open() throws Exception {
    shortly = Sandbox.open(SHORT);
    patiently = Sandbox.open(LONG);
  }

  @AfterAll
  static void close() {
    for (BubblewrapRunner runner : new BubblewrapRunner[] {shortly, patiently}) {
      if (runner != null) {
        runner.close();
      }
    }
  }

  static List<String> names() throws Exception {
    try (Stream<Path> files = Files.list(folder())) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  private static Path folder() throws Exception {
    return Path.of(HostileProgramsTest.class.getResource("hostile").toURI());
  }

  @Test
  void thereAreAtLeastTheTwentyOneOfTheSpecification() throws Exception {
    List<String> names = names();
    for (int i = 0; i < 21; i++) {
      assertTrue(names.get(i).startsWith(String.format("%02d_", i + 1)), names.get(i));
    }
  }

  /** The first line says the outcome and how its detail begins. */
  @ParameterizedTest
  @MethodSource("names")
  void isStopped(String name) throws Exception {
    String program = Files.readString(folder().resolve(name));
    String expected = program.lines().findFirst().orElseThrow().substring("# expected: ".length());
    boolean endless = expected.startsWith("TIMED_OUT");
    Verdict verdict = (endless ? shortly : patiently).run(program);
    String said = verdict.outcome() + " " + verdict.detail();
    assertTrue(said.startsWith(expected), said);
    Sandbox.assertNothingIsAlive(endless ? SHORT : LONG);
  }
}
