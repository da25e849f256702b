package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.sandbox.CodeRunner;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalTasksTest {
  private static List<EvalItem> items(String task, int shots) {
    try {
      Path data = Path.of(EvalTasksTest.class.getResource("/data").toURI());
      return EvalTasks.named(task).items(data, shots);
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static String refused(Path data, String task) {
    return assertThrows(
            InvalidRequestException.class, () -> EvalTasks.named(task).items(data, 0))
        .getMessage();
  }

  @Test
  void mmluAsksForLetters() {
    List<EvalItem> items = items("mmlu", 1);
    assertEquals(2, items.size());
    EvalItem item = items.get(0);
    assertEquals(
        "The following are multiple choice questions (with answers) about tide tables.\n\n"
            + "Which body raises the higher tide?\nA. The Moon\nB. The Sun\nC. Venus\nD. Mars\nAnswer: A\n\n"
            + "A spring tide comes at \"full\" moon and at\nwhich other time?\nA. New moon\nB. First quarter\n"
            + "C. Last quarter\nD. Never\nAnswer:",
        item.context());
    assertEquals(List.of(" A", " B", " C", " D"), item.continuations());
    assertEquals("mmlu_tide_tables", item.task());
    assertEquals("0", item.target());
    assertTrue(items.get(1).context().contains("\nC.  of small range\n"), items.get(1).context());
  }

  @Test
  void continuationsAreTheChoices() {
    EvalItem item = items("mmlu_continuation", 2).get(1);
    assertEquals(
        "The following are questions (with answers) about tide tables.\n\n"
            + "Question: Which body raises the higher tide?\nAnswer: The Moon\n\n"
            + "Question: How many high tides has a day, as a rule?\nAnswer: 2\n\n"
            + "Question: A neap tide is\nAnswer:",
        item.context());
    assertEquals(List.of(" high", " low", "  of small range", " of large range"), item.continuations());
    assertEquals("mmlu_tide_tables_continuation", item.task());
    assertEquals("2", item.target());
  }

  @Test
  void gsm8kDrawsItsExamples() {
    PythonRandom random = new PythonRandom(1234);
    for (EvalItem item : items("gsm8k", 2)) {
      StringBuilder expected = new StringBuilder();
      for (int i : random.sample(40, 2)) {
        expected.append("Question: A shelf holds ").append(i).append(" books and ").append(i + 1);
        expected.append(" more are put there. How many are there?\nAnswer: ").append(i).append(" + ");
        expected.append(i + 1).append(" = <<").append(i).append('+').append(i + 1).append('=');
        expected.append(2 * i + 1).append(">>").append(2 * i + 1).append("\n#### ").append(2 * i + 1);
        expected.append("\n\n");
      }
      assertTrue(item.context().startsWith(expected + "Question: "), item.context());
      assertTrue(item.context().endsWith("?\nAnswer:"), item.context());
    }
    assertEquals("4 * 6 = <<4*6=24>>24\n#### 24", items("gsm8k", 0).get(0).target());
  }

  @Test
  void wordedExamplesComeFirst() {
    EvalItem item = items("gsm8k_cot", 8).get(0);
    assertEquals(9, item.context().split("\nA:", -1).length - 1);
    assertTrue(item.context().endsWith("Q: Nora\u2019s boat carries 4 crates of 6 lamps. How many lamps?\nA:"));
    assertEquals("24", item.target());
    assertEquals("Q: A rope of 9 m loses 2 m. How long is it?\nA:", items("gsm8k_cot", 0).get(1).context());
  }

  @Test
  void functionsAreGivenAsTheyAre() {
    String prompt = "def twice(x: int) -> int:\n    \"\"\" Twice x. \"\"\"\n";
    assertEquals(prompt, items("humaneval", 0).get(0).context());
    assertEquals(
        "Write a solution to the following problem and make sure that it passes the tests:\n```python\n"
            + prompt + "\n```\nHere is the completed function:\n```python\n" + prompt + "\n",
        items("humaneval_instruct", 0).get(0).context());
    assertTrue(items("humaneval", 0).get(0).target().endsWith("== 6\n\ncheck(twice)"));
  }

  @Test
  void wrongNumbersOfExamplesAreNamed() {
    assertEquals(
        "num-fewshot: 6 (expected: 0 to 5 for mmlu)",
        assertThrows(InvalidRequestException.class, () -> items("mmlu", 6)).getMessage());
    assertEquals(
        "num-fewshot: 3 (expected: at most the 2 examples of tide_tables)",
        assertThrows(InvalidRequestException.class, () -> items("mmlu", 3)).getMessage());
    assertEquals(
        "num-fewshot: 1 (expected: 0 to 0 for humaneval)",
        assertThrows(InvalidRequestException.class, () -> items("humaneval", 1)).getMessage());
    assertThrows(InvalidRequestException.class, () -> items("gsm8k_cot", -1));
  }

  @Test
  void unknownTasksNameTheNearest() {
    String message =
        assertThrows(InvalidRequestException.class, () -> EvalTasks.named("mmul")).getMessage();
    assertTrue(message.startsWith("task: mmul (expected: mmlu, "), message);
  }

  @Test
  void damagedFilesAreNamedWithTheirLine(@TempDir Path data) throws IOException {
    assertTrue(refused(data, "mmlu").contains("mmlu/test: not there (remedy: 'sluice eval fetch"));
    assertTrue(refused(data, "humaneval").contains("HumanEval.jsonl: not there (remedy: 'sluice"));
    assertTrue(refused(data, "gsm8k").contains("--data FOLDER"));
    Path test = Files.createDirectories(data.resolve("mmlu/test"));
    assertTrue(refused(data, "mmlu").contains("no SUBJECT_test.csv"));
    Path dev = Files.createDirectories(data.resolve("mmlu/dev")).resolve("x_dev.csv");
    Path file = test.resolve("x_test.csv");
    Files.writeString(dev, "");
    Files.writeString(file, "q,1,2,3,4,A\nq,1,2,3,A\n");
    assertTrue(refused(data, "mmlu").contains("x_test.csv, line 2: 5 fields (expected: 6"));
    Files.writeString(file, "q,1,2,3,4,\n");
    assertTrue(refused(data, "mmlu").contains("line 1: answer \"\" (expected: A, B, C or D"));
    Files.writeString(file, "q,1,2,3,4,A\n\"q,1,2,3,4,A\n");
    assertTrue(refused(data, "mmlu").contains("line 2: a quote that is never closed"));
    Files.writeString(file, "\"q\"x,1,2,3,4,A\n");
    assertTrue(refused(data, "mmlu").contains("line 1: 'x' behind a closing quote"));
    Files.write(file, new byte[] {(byte) 0xff});
    assertTrue(refused(data, "mmlu").contains("x_test.csv: not UTF-8"));
    Path gsm = Files.createDirectories(data.resolve("gsm8k"));
    Files.writeString(gsm.resolve("train.jsonl"), "{}\n");
    assertTrue(refused(data, "gsm8k").contains("train.jsonl, line 1: no text \"question\""));
    Files.writeString(gsm.resolve("test.jsonl"), "{\"question\": \"q\", \"answer\": \"1\"}\n{\n");
    assertTrue(refused(data, "gsm8k_cot").contains("test.jsonl, line 2: "));
    Files.writeString(gsm.resolve("test.jsonl"), "{\"question\": \"q\", \"answer\": \"1\"}\n");
    assertTrue(refused(data, "gsm8k_cot").contains("line 1: an answer without a number behind ####"));
  }

  @Test
  void aSubjectWithoutExamplesIsNamed(@TempDir Path data) throws IOException {
    Path test = Files.createDirectories(data.resolve("mmlu/test"));
    Files.createDirectories(data.resolve("mmlu/dev"));
    Files.writeString(test.resolve("x_test.csv"), "q,1,2,3,4,A\n");
    assertTrue(refused(data, "mmlu").contains("mmlu/dev/x_dev.csv: not there (remedy: 'sluice"));
  }

  @Test
  void rowsAreCountedByLinesAlsoBehindLongCells(@TempDir Path data) throws IOException {
    Path test = Files.createDirectories(data.resolve("mmlu/test"));
    Path dev = Files.createDirectories(data.resolve("mmlu/dev")).resolve("x_dev.csv");
    Files.writeString(dev, "");
    Files.writeString(test.resolve("x_test.csv"), "\"q\nr\n\",1,2,3,4,A\nq,1,2,3,4,E\n");
    assertTrue(refused(data, "mmlu").contains("line 4: answer \"E\" (expected: A, B, C or D"));
    Files.writeString(test.resolve("x_test.csv"), "q,1,2,3,4,5,A\n\nq,1,2,3,4,A\n");
    assertTrue(refused(data, "mmlu").contains("line 1: 7 fields (expected: 6"));
    Files.writeString(test.resolve("x_test.csv"), "q,1,2,3,4,A\n\n");
    assertTrue(refused(data, "mmlu").contains("line 2: 1 fields (expected: 6"));
  }

  @Test
  void emptyAnswersAndLinesOfOtherKindsAreNamed(@TempDir Path data) throws IOException {
    Path gsm = Files.createDirectories(data.resolve("gsm8k"));
    String good = "{\"question\": \"q\", \"answer\": \"#### 1\"}\n";
    Files.writeString(gsm.resolve("train.jsonl"), good);
    for (String task : new String[] {"gsm8k", "gsm8k_cot"}) {
      for (String answer : new String[] {"", "####", "4 #### "}) {
        Files.writeString(gsm.resolve("test.jsonl"), good + good.replace("#### 1", answer));
        assertTrue(
            refused(data, task).contains("test.jsonl, line 2: an answer without a number"), answer);
      }
      Files.writeString(gsm.resolve("test.jsonl"), good + "[1]\n");
      assertTrue(refused(data, task).contains("line 2: array (expected: a JSON object)"));
      Files.writeString(gsm.resolve("test.jsonl"), good.replace("\"q\"", "7"));
      assertTrue(refused(data, task).contains("line 1: no text \"question\""));
    }
    Path humaneval = Files.createDirectories(data.resolve("humaneval"));
    String function =
        "{\"task_id\": \"t\", \"prompt\": \"def f():\", \"canonical_solution\": \"\","
            + " \"test\": \"def check(f):\", \"entry_point\": \"f\"}\n";
    for (String empty : new String[] {"def f():", "def check(f):"}) {
      Files.writeString(
          humaneval.resolve("HumanEval.jsonl"), function + function.replace(empty, ""));
      assertTrue(refused(data, "humaneval").contains("line 2: an empty prompt, test or entry"));
    }
    Files.delete(humaneval.resolve("HumanEval.jsonl"));
    Files.writeString(humaneval.resolve("HumanEval.jsonl.gz"), "not compressed");
    assertTrue(refused(data, "humaneval").contains("HumanEval.jsonl.gz: cannot be read: "));
  }

  /** What a model that says nothing is worth. */
  @Test
  void emptyTextsAreWrongAnswers() {
    for (String task : new String[] {"gsm8k", "gsm8k_cot"}) {
      ItemScores scores =
          EvalTasks.named(task)
              .scores(items(task, 0).get(0), EvalAnswer.ofText(""), CodeRunner.NONE);
      assertEquals(List.of(0.0, 0.0), List.copyOf(scores.metrics().values()));
      assertEquals(List.of("[invalid]", "[invalid]"), List.copyOf(scores.filtered().values()));
    }
  }
}
