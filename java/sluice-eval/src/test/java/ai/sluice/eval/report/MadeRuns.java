package ai.sluice.eval.report;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemLine;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.SentPrompt;
import ai.sluice.eval.sandbox.CodeRunner;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Folders of runs with drawn answers, as a runner leaves them. */
final class MadeRuns {
  static final Map<String, Integer> SUBJECTS = new LinkedHashMap<>();

  static {
    SUBJECTS.put("anatomy", 7);
    SUBJECTS.put("virology", 5);
    SUBJECTS.put("sociology", 4);
    SUBJECTS.put("world_religions", 6);
    SUBJECTS.put("astronomy", 3);
    SUBJECTS.put("tide_tables", 2); // of no category
  }

  private MadeRuns() {}

  private static ItemRecord choice(String subject, int index, Random random) {
    Map<String, Object> doc = new LinkedHashMap<>();
    doc.put("question", "Question " + index + " of " + subject + "?");
    doc.put("subject", subject);
    doc.put("choices", List.of("one", "two", "three", "four </script>"));
    doc.put("answer", random.nextInt(4));
    EvalItem item =
        new EvalItem(
            "mmlu_" + subject, index, EvalPrompt.of("", List.of(), "Question " + index),
            List.of(" A", " B", " C", " D"), String.valueOf(doc.get("answer")), doc);
    List<EvalAnswer.Choice> choices = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      choices.add(new EvalAnswer.Choice(-10 * random.nextDouble(), i == 1));
    }
    return record("mmlu", item, EvalAnswer.ofChoices(choices));
  }

  private static ItemRecord problem(int index, Random random) {
    EvalItem item =
        new EvalItem(
            "gsm8k", index, EvalPrompt.of("", List.of(), "Question: " + index + "?\nAnswer:"),
            List.of(), "It is " + index + "\n#### " + index,
            Map.of("question", index + "?"));
    String text =
        switch (random.nextInt(3)) {
          case 0 -> " It is.\n#### " + index;
          case 1 -> " I guess " + index + " <b>";
          default -> " none";
        };
    return record("gsm8k", item, EvalAnswer.ofText(text));
  }

  // Of MMLU all items of a subject have the same examples, of GSM8K each has its own.
  private static String prompt(String task, int index, String question) {
    return (task.equals("gsm8k") ? "example " + index : task) + "\n\n" + question;
  }

  private static String prompt(EvalItem item) {
    return prompt(item.task(), item.index(), item.prompt().question());
  }

  private static ItemRecord record(String group, EvalItem item, EvalAnswer answer) {
    ItemScores scores = EvalTasks.named(group).scores(item, answer, CodeRunner.NONE);
    return ItemRecord.of(group, item, prompt(item), answer, scores);
  }

  private static ItemRecord program(int index) {
    EvalItem item =
        new EvalItem(
            "humaneval", index, EvalPrompt.of("", List.of(), "def f" + index + "():\n"), List.of(),
            "def check(f): pass\ncheck(f)", Map.of("prompt", "def f" + index + "():\n"));
    return ItemRecord.of(
        "humaneval", item, prompt(item), EvalAnswer.ofText("  return 1\n"),
        new ItemScores(
            Map.of("create_test", "def f"),
            Map.of("pass@1,create_test", index % 2 == 0 ? 1.0 : 0),
            List.of(index % 2 == 0 ? "passed" : "failed: AssertionError [gc]")));
  }

  /** Writes a run; the lines' order is drawn, as batches end in any order. */
  static EvalRun write(Path folder, long order) throws IOException {
    Random random = new Random(7);
    List<String> lines = new ArrayList<>();
    int choices = 0;
    for (Map.Entry<String, Integer> subject : SUBJECTS.entrySet()) {
      for (int i = 0; i < subject.getValue(); i++) {
        lines.add(ItemLine.write(choice(subject.getKey(), i, random)));
        choices++;
      }
    }
    for (int i = 0; i < 20; i++) {
      lines.add(ItemLine.write(problem(i, random)));
    }
    for (int i = 0; i < 3; i++) {
      lines.add(ItemLine.write(program(i)));
    }
    Collections.shuffle(lines, new Random(order));
    Files.createDirectories(folder);
    Files.writeString(folder.resolve(EvalRun.ITEMS), String.join("", lines));
    RunManifest manifest =
        new RunManifest(
            Map.of("dtype", "FLOAT32"), Map.of("started", "order " + order),
            List.of(
                new RunManifest.Task("mmlu", "1.0", 5, choices),
                new RunManifest.Task("gsm8k", "3.0", 5, 20),
                new RunManifest.Task("humaneval", "1.0", 0, 3)));
    Files.writeString(folder.resolve(EvalRun.MANIFEST), manifest.toJson().toString());
    return EvalRun.read(folder);
  }

  /** What was asked, where a test wants to tell it. */
  static SentPrompt sent(ItemRecord item) {
    return new SentPrompt(
        prompt(item.task(), item.index(), item.question()),
        item.group().equals("mmlu") ? List.of(" A", " B", " C", " D") : List.of(),
        EvalTasks.named(item.group()).generation()
            .orElse(new ai.sluice.eval.GenerationSettings(List.of(), 1)));
  }
}
