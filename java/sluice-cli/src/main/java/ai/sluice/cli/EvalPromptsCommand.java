package ai.sluice.cli;

import ai.sluice.eval.EvalData;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.PromptHash;
import ai.sluice.eval.PromptStyle;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Hashes of the prompts of a task. */
@Command(
    name = "prompts",
    description = {
      "Write the hashes of all prompts of a task, to compare them with another harness's.",
      "Columns: task, item, first 16 hexadecimal digits of the prompt's SHA-256."
    },
    footer = {"", "Example:", "  sluice eval prompts all --data DIR --out prompts.tsv"})
final class EvalPromptsCommand implements Callable<Integer> {
  private static final String ALL = "all";

  private final Console console;

  @Parameters(
      index = "0",
      paramLabel = "TASK",
      description = {
        "mmlu, mmlu_continuation, gsm8k, gsm8k_cot, humaneval,",
        "humaneval_instruct or all."
      })
  String task = "";

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = {
        "The folder that holds mmlu, gsm8k and humaneval;",
        "default: ~/.cache/sluice/data, where eval fetch puts them."
      })
  @Nullable String data;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      required = true,
      description = "Where they are written; a file that is there is replaced.")
  String out = "";

  @Option(
      names = "--num-fewshot",
      paramLabel = "N",
      description = "Worked examples; default: as in published results, 5 for MMLU.")
  @Nullable Integer shots;

  @Option(
      names = "--prompt-style",
      paramLabel = "STYLE",
      description = "lm-eval or deepseek, the DeepSeek-V2 paper's; default: lm-eval.")
  String style = PromptStyle.LM_EVAL.label();

  EvalPromptsCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    PromptStyle wording = PromptStyle.named(style);
    List<EvalTask> tasks =
        task.equals(ALL) ? EvalTasks.all(wording) : List.of(EvalTasks.named(task, wording));
    Path file = Path.of(out).toAbsolutePath();
    Path parent = file.getParent();
    if (parent == null || !Files.isDirectory(parent)) {
      throw new CommandException(
          "--out " + out + ": no such folder (remedy: mkdir -p " + parent + ")");
    }
    Path folder = EvalData.folder(data, new ModelStore(console).cacheFolder());
    Path part = file.resolveSibling(file.getFileName() + ".part");
    long count = 0;
    try {
      try (BufferedWriter writer = Files.newBufferedWriter(part)) {
        for (EvalTask each : tasks) {
          for (EvalItem item :
              each.items(folder, shots == null ? each.publishedShots() : shots)) {
            String hash = PromptHash.of(item.context());
            writer.write(item.task() + "\t" + item.index() + "\t" + hash + "\n");
            count++;
          }
        }
      }
      Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
    console.print(count + " prompts of " + task + ": " + file + "\n");
    return Failures.OK;
  }
}
