package ai.sluice.eval.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.ItemScores;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ItemLineTest {
  private static ItemRecord choice(double logprob) {
    return new ItemRecord(
        "mmlu", "mmlu_x", 3, "00ff", "Which?\nA", "1",
        Map.of("question", "Which?\u0085", "choices", List.of("a", "\"b\"", "c", "d")),
        EvalAnswer.ofChoices(
            List.of(
                new EvalAnswer.Choice(logprob, false), new EvalAnswer.Choice(-1.0 / 3, true))),
        new ItemScores(Map.of("none", "1"), Map.of("acc,none", 1.0)));
  }

  @Test
  void whatIsWrittenIsRead() {
    for (double logprob : new double[] {-0.1, -1e-300, Double.NEGATIVE_INFINITY, -0.0}) {
      ItemRecord record = choice(logprob);
      String line = ItemLine.write(record);
      assertTrue(line.endsWith("}\n"));
      assertEquals(record, ItemLine.read(line.substring(0, line.length() - 1)).orElseThrow());
    }
    ItemRecord generated =
        new ItemRecord(
            "gsm8k", "gsm8k", 0, "1", "q", "#### 2", Map.of("answer", "#### 2"),
            EvalAnswer.ofText("2\n\u2028 \ud83d\ude00"),
            new ItemScores(Map.of("strict-match", "2"), Map.of("exact_match,strict-match", 0.0)));
    String line = ItemLine.write(generated);
    assertEquals(generated, ItemLine.read(line.strip()).orElseThrow());
    assertFalse(line.contains("verdicts"), line);
    ItemRecord program =
        generated.judged(
            new ItemScores(Map.of(), Map.of(), List.of("passed", "failed: AssertionError")));
    assertEquals(program, ItemLine.read(ItemLine.write(program).strip()).orElseThrow());
  }

  @Test
  void tornAndDamagedLinesAreNone() {
    String line = ItemLine.write(choice(-2.5)).strip();
    for (int length = 0; length < line.length(); length++) {
      assertTrue(ItemLine.read(line.substring(0, length)).isEmpty(), "" + length);
    }
    for (int at = 0; at < line.length(); at++) {
      char other = line.charAt(at) == 'x' ? 'y' : 'x';
      String damaged = line.substring(0, at) + other + line.substring(at + 1);
      assertTrue(ItemLine.read(damaged).isEmpty(), damaged);
    }
  }
}
