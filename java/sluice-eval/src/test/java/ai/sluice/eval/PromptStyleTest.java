package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.sandbox.CodeRunner;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PromptStyleTest {
  private static List<EvalItem> items(String task, int shots) {
    try {
      Path data = Path.of(PromptStyleTest.class.getResource("/data").toURI());
      return EvalTasks.named(task, PromptStyle.DEEPSEEK).items(data, shots);
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void mmluIsAskedAsItsAuthorsDo() {
    EvalItem item = items("mmlu", 1).get(0);
    assertEquals(
        "The following are multiple choice questions (with answers) about  tide tables.\n\n"
            + "Which body raises the higher tide?\n"
            + "A. The Moon\nB. The Sun\nC. Venus\nD. Mars\nAnswer: A\n\n",
        item.prompt().header());
    assertTrue(item.context().endsWith("\nAnswer:"), item.context());
    assertEquals(List.of(" A", " B", " C", " D"), item.continuations());
    assertEquals(5, EvalTasks.named("mmlu", PromptStyle.DEEPSEEK).defaultShots());
  }

  @Test
  void wordProblemsAreAnsweredStepByStep() {
    EvalTask task = EvalTasks.named("gsm8k", PromptStyle.DEEPSEEK);
    assertEquals(8, task.defaultShots());
    EvalItem item = items("gsm8k", 8).get(0);
    String text = item.context();
    assertTrue(
        text.startsWith(
            "Q: Max can mow the lawn in 40 minutes. If it takes him twice that long to fertilize"
                + " the lawn, how long will it take him to both mow and fertilize the lawn?\n"
                + "A: Let's think step by step. It takes Max 2 * 40 minutes = 80 minutes"),
        text);
    assertTrue(text.contains(" The answer is 120.\n\nQ: The bagels cost $2.25 each"), text);
    assertTrue(
        text.endsWith(
            " The answer is 19.\n\n"
                + "Q: Nora\u2019s boat carries 4 crates of 6 lamps. How many lamps?\n"
                + "A: Let's think step by step."),
        text);
    assertEquals(10, text.split("Let's think step by step\\.", -1).length);
    assertEquals(
        List.of("120", "25", "12", "17", "88", "45", "3", "19"),
        item.prompt().shots().stream()
            .map(shot -> shot.answer().replaceAll("(?s).*The answer is (.*)\\.$", "$1"))
            .toList());
    assertEquals("24", item.target());
    ItemScores scores =
        task.scores(
            item, EvalAnswer.ofText(" 4 * 6 = 24. The answer is 24.\n\n"), CodeRunner.NONE);
    assertEquals(
        Map.of("exact_match,strict-match", 1.0, "exact_match,flexible-extract", 1.0),
        scores.metrics());
    assertEquals("Q: ", items("gsm8k", 0).get(0).context().substring(0, 3));
  }

  @Test
  void functionsAreGivenAsTheyAre() {
    assertEquals(
        EvalTasks.named("humaneval").version(),
        EvalTasks.named("humaneval", PromptStyle.DEEPSEEK).version());
  }

  @Test
  void whatIsNotPublishedIsRefused() {
    for (String task : List.of("mmlu_continuation", "gsm8k_cot", "humaneval_instruct")) {
      String message =
          assertThrows(
                  InvalidRequestException.class,
                  () -> EvalTasks.named(task, PromptStyle.DEEPSEEK))
              .getMessage();
      assertTrue(
          message.startsWith(
              "prompt-style: deepseek for " + task + " (expected: one of mmlu, gsm8k, humaneval"),
          message);
    }
    assertTrue(
        assertThrows(
                InvalidRequestException.class,
                () -> EvalTasks.named("gsm", PromptStyle.DEEPSEEK))
            .getMessage()
            .startsWith("task: gsm (expected: gsm8k, "));
    assertEquals(
        "prompt-style: helm (expected: lm-eval or deepseek)",
        assertThrows(InvalidRequestException.class, () -> PromptStyle.named("helm")).getMessage());
    assertEquals(PromptStyle.DEEPSEEK, PromptStyle.named("deepseek"));
  }

  /** A run is not resumed in another style: versions differ wherever prompts do. */
  @Test
  void stylesHaveVersionsOfTheirOwn() {
    for (String task : List.of("mmlu", "gsm8k")) {
      assertNotEquals(
          EvalTasks.named(task).version(),
          EvalTasks.named(task, PromptStyle.DEEPSEEK).version());
      assertEquals(task, EvalTasks.named(task, PromptStyle.DEEPSEEK).name());
    }
  }

  /** The paper's own examples: what its tables 24 and 29 print is what the data gives. */
  @Test
  void realItemsAreThoseOfThePaper() {
    Path data = TestData.folder("data");
    assumeTrue(TestData.there(data), "the data sets");
    EvalItem sum =
        EvalTasks.named("gsm8k", PromptStyle.DEEPSEEK).items(data, 8).stream()
            .filter(item -> item.prompt().question().contains("Indras"))
            .findFirst()
            .orElseThrow();
    assertTrue(
        sum.context().endsWith(
            "Q: Indras has 6 letters in her name. Her sister's name has 4 more letters than half of"
                + " the letters in Indras' name. How many letters are in Indras and her sister's"
                + " names?\nA: Let's think step by step."),
        sum.context());
    EvalItem stooges =
        EvalTasks.named("mmlu", PromptStyle.DEEPSEEK).items(data, 5).stream()
            .filter(item -> item.prompt().question().startsWith("Which of the Three Stooges was"))
            .findFirst()
            .orElseThrow();
    assertEquals("mmlu_miscellaneous", stooges.task());
    // Its typesetting hides white space, so it is compared without.
    String printed =
        "The following are multiple choice questions (with answers) about miscellaneous."
            + "How many axles does a standard automobile have?A. oneB. twoC. fourD. eightAnswer: B"
            + "What place is named in the title of the 1979 live album by rock legends Cheap Trick?"
            + "A. BudapestB. BudokanC. BhutanD. BritainAnswer: B"
            + "Who is the shortest man to ever win an NBA slam dunk competition?"
            + "A. Anthony 'Spud' WebbB. Michael 'Air' JordanC. Tyrone 'Muggsy' BoguesD. Julius 'Dr"
            + " J' ErvingAnswer: A"
            + "What is produced during photosynthesis?A. hydrogenB. nylonC. oxygenD. lightAnswer: C"
            + "Which of these songs was a Top 10 hit for the rock band The Police?"
            + "A. 'Radio Ga-Ga'B. 'Ob-la-di Ob-la-da'"
            + "C. 'De Do Do Do De Da Da Da'D. 'In-a-Gadda-Da-Vida'Answer: C"
            + "Which of the Three Stooges was not related to the others?"
            + "A. MoeB. LarryC. CurlyD. ShempAnswer:";
    assertEquals(printed.replaceAll("\\s", ""), stooges.context().replaceAll("\\s", ""));
    assertFalse(stooges.continuations().isEmpty());
  }
}
