package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The program of README, as a user builds it, on a model of random weights. */
class AnswerTest {
  @TempDir Path folder;

  @Test
  void answersTheSameTwice() throws Exception {
    Path model = model();
    String first = answer(model);
    assertFalse(first.isEmpty());
    assertEquals(first, answer(model));
  }

  @Test
  void everyArtifactComesFromTheRepository() throws Exception {
    String repository = System.getProperty("consumer.repository");
    int found = 0;
    for (String entry : System.getProperty("java.class.path").split(":")) {
      if (entry.contains("sluice-")) {
        assertTrue(entry.startsWith(repository + "/ai/sluice/"), entry);
        found++;
      }
    }
    assertTrue(found >= 6, "artifacts of Sluice on the class path: " + found);
  }

  private static String answer(Path model) {
    PrintStream before = System.out;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    try {
      Answer.main(new String[] {model.toString(), "Why is the sky blue?"});
    } finally {
      System.setOut(before);
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  /** The fixture has no tokenizer; one that knows bytes fits its 256 ids. */
  private Path model() throws IOException, URISyntaxException {
    Path fixture = Path.of(System.getProperty("consumer.fixture"));
    try (Stream<Path> files = Files.list(fixture)) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
    }
    Path tokenizer = Path.of(AnswerTest.class.getResource("/tokenizer.json").toURI());
    Files.copy(tokenizer, folder.resolve("tokenizer.json"));
    return folder;
  }
}
