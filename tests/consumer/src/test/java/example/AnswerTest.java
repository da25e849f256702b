package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

/** The program of README, as a user builds it, on a model of random weights. */
class AnswerTest {
  @Test
  void answersTheSameTwice() {
    String model = System.getProperty("consumer.model");
    String first = answer(model);
    assertFalse(first.isEmpty());
    assertEquals(first, answer(model));
  }

  @Test
  void everyArtifactComesFromTheRepository() {
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

  private static String answer(String model) {
    PrintStream before = System.out;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    try {
      Answer.main(new String[] {model, "Why is the sky blue?"});
    } finally {
      System.setOut(before);
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
