package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.SluiceException;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Damaged tokenizer files. Each is either refused by a typed exception or works; a file that
 * reached the native library's assertions would end the test's process.
 */
class MutatedTokenizerTest {
  private static final String SIGNS = "{}[]\",:0123456789\\truefalsn\u0001\u00ff";
  private static final String[] VALUES = {
    "null",
    "[]",
    "{}",
    "-1",
    "1e999",
    "\"\"",
    "true",
    "99999999999999999999",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "0",
    "4294967296",
    "[[",
    "]]",
    "{\"type\":\"Sequence\"}",
    "\"(?\"",
    "\"\\\\p{L}+*?{9999}\"",
    "\"<unk>\"",
    "18446744073709551615"
  };

  @ParameterizedTest
  @ValueSource(strings = {"bytelevel", "sentencepiece"})
  void damagedFilesAreRefusedOrWork(String name) {
    String good = TokenizerJson.text(GoldenIds.read("small/" + name + ".json"));
    int refused = 0;
    int working = 0;
    for (int seed = 0; seed < 400; seed++) {
      String bad = mutate(good, new Random(seed));
      try (Tokenizer tokenizer = Tokenizer.fromJson(bad.getBytes(StandardCharsets.UTF_8))) {
        int[] ids = tokenizer.encode("Hello 你好 <|im_end|> 123 \u0000 naïve", true, true);
        tokenizer.decode(ids, false);
        tokenizer.encode("a<|im_end|>", true, false);
        working++;
      } catch (SluiceException e) {
        refused++;
      }
    }
    assertTrue(refused > 100, refused + " refused");
    assertTrue(working > 5, working + " working");
  }

  private static String mutate(String good, Random random) {
    StringBuilder text = new StringBuilder(good);
    for (int i = random.nextInt(3); i >= 0; i--) {
      // The ends of a file hold its structure, the middle nothing but tokens.
      int at =
          random.nextInt(3) == 0
              ? text.length() - 1 - random.nextInt(2000)
              : random.nextInt(random.nextBoolean() ? 4000 : text.length());
      if (random.nextInt(3) == 0) {
        text.setCharAt(at, SIGNS.charAt(random.nextInt(SIGNS.length())));
        continue;
      }
      int colon = text.indexOf(":", at);
      int end = colon;
      while (colon >= 0 && end < text.length() && ",}]\n".indexOf(text.charAt(end)) < 0) {
        end++;
      }
      if (colon >= 0) {
        text.replace(colon + 1, end, VALUES[random.nextInt(VALUES.length)]);
      }
    }
    return text.toString();
  }
}
