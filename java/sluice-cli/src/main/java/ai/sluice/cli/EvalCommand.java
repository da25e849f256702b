package ai.sluice.cli;

import ai.sluice.api.Backend;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.Numerics;
import ai.sluice.core.Engine;
import ai.sluice.eval.EngineModel;
import ai.sluice.eval.EvalData;
import ai.sluice.eval.EvalModel;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.PromptStyle;
import ai.sluice.eval.endpoint.EndpointSettings;
import ai.sluice.eval.report.RunOutputs;
import ai.sluice.eval.run.EvalOptions;
import ai.sluice.eval.run.EvalProgress;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.EvalRunner;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Runs tasks against a model; commands below it do the rest of evaluation. */
@Command(
    name = "eval",
    sortOptions = false,
    customSynopsis = {"sluice eval [OPTIONS] TASK...", "       sluice eval COMMAND"},
    description = {
      "Evaluate a model: mmlu, mmlu_continuation, gsm8k, gsm8k_cot, humaneval, humaneval_instruct"
          + " or all, with lm-eval's prompts and scores.",
      "Items are written as they are done. The same command goes on with what an earlier one left,"
          + " however that ended."
    },
    footer = {
      "",
      "Exit code: 0 done, 1 a file or the model failed, 2 wrong usage or another model, other data"
          + " or settings than the run was begun with, 130 interrupted (what is done is kept).",
      "",
      "Examples:",
      "  sluice eval fetch mmlu",
      "  sluice eval mmlu -m model.gguf --num-fewshot 5",
      "  sluice eval mmlu gsm8k -m model.gguf --limit 20 --out runs/first",
      "  sluice eval humaneval -m model.gguf --predict-only --out runs/code",
      "  sluice eval gsm8k --endpoint http://localhost:8000/v1 -m NAME",
      "  sluice eval prompts all --data DIR --out prompts.tsv"
    })
final class EvalCommand implements Callable<Integer> {
  private static final String ALL = "all";

  /** On a GPU a step has room for more than the engine's default number of sequences. */
  private static final int CUDA_SEQUENCES = 128;

  private final Console console;

  @Spec CommandSpec spec;

  @Parameters(
      arity = "0..*",
      paramLabel = "TASK",
      split = ",",
      description = "What to run; several, or all.")
  List<String> tasks = new ArrayList<>();

  @Mixin EngineArguments engineArguments = new EngineArguments();

  @Mixin EndpointArguments endpoint = new EndpointArguments();

  @Option(
      names = "--concurrency",
      paramLabel = "N",
      description = "Items computed at once; default: 16, on a GPU 128, of a server 8.")
  @Nullable Integer concurrency;

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = "The folder of data sets; default: where eval fetch puts them.")
  @Nullable String data;

  @Option(
      names = "--num-fewshot",
      paramLabel = "N",
      description = "Worked examples; default: the task's own, which for MMLU is 0.")
  @Nullable Integer shots;

  @Option(
      names = "--limit",
      paramLabel = "N",
      description = "The first N items of each task, of MMLU of each subject.")
  @Nullable Integer limit;

  @Option(
      names = "--subjects",
      split = ",",
      paramLabel = "SUBJECT",
      description = "Of MMLU these subjects, with commas between: anatomy,world_religions.")
  List<String> subjects = List.of();

  @Option(
      names = "--apply-chat-template",
      description = "Ask as a conversation: shots are turns of it.")
  boolean chatTemplate;

  @Option(
      names = "--prompt-style",
      paramLabel = "STYLE",
      description = "lm-eval or deepseek, the DeepSeek-V2 paper's; default: lm-eval.")
  String style = PromptStyle.LM_EVAL.label();

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "The folder of the run; default: eval-runs/MODEL-TASKS.")
  @Nullable String out;

  @Option(names = "--restart", description = "Give up what the folder holds of a run.")
  boolean restart;

  @Option(
      names = "--predict-only",
      description = "Run no program that the model writes; eval score judges them elsewhere.")
  boolean predictOnly;

  @Option(names = "--json", description = "Print JSON instead of a table.")
  boolean json;

  private EvalCommand(Console console) {
    this.console = console;
    this.spec = CommandSpec.create();
  }

  /** The command with those below it, each in a class of its own. */
  static CommandLine of(Console console) {
    return new CommandLine(new EvalCommand(console))
        .addSubcommand(new EvalPromptsCommand(console))
        .addSubcommand(new EvalFetchCommand(console))
        .addSubcommand(new EvalCompareCommand(console))
        .addSubcommand(new EvalReportCommand(console))
        .addSubcommand(new EvalVerifyCommand(console))
        .addSubcommand(new EvalScoreCommand(console))
        .addSubcommand(new EvalTableCommand(console))
        .addSubcommand(new EvalHistoryCommand(console))
        .addSubcommand(new EvalPerfCommand(console));
  }

  @Override
  public Integer call() {
    if (tasks.isEmpty()) {
      throw new CommandLine.ParameterException(
          spec.commandLine(), "no task (expected: mmlu, gsm8k, humaneval, ... or all)");
    }
    PromptStyle wording = PromptStyle.named(style);
    List<EvalTask> chosen =
        tasks.contains(ALL)
            ? EvalTasks.all(wording)
            : tasks.stream().distinct().map(name -> EvalTasks.named(name, wording)).toList();
    EvalOptions.Builder options =
        EvalOptions.builder()
            .tasks(chosen)
            .promptStyle(wording.label())
            .data(EvalData.folder(data, new ModelStore(console).cacheFolder()))
            .subjects(subjects)
            .predictOnly(predictOnly)
            .restart(restart);
    if (endpoint.isGiven()) {
      EndpointSettings server =
          endpoint
              .settings(spec.commandLine(), spec.mixins().get("engineArguments").options())
              .withChat(chatTemplate);
      EndpointSettings sized = concurrency == null ? server : server.withWindow(concurrency);
      return call(
          options, server.model(), (line, abandoned) -> endpoint.open(console, sized));
    }
    endpoint.checkUnused();
    EngineOptions.Builder engine = engineArguments.options(console);
    EngineOptions asked = engine.build();
    String name = String.valueOf(asked.model().toAbsolutePath().normalize().getFileName());
    return call(
        options, name.replaceFirst("\\.gguf$", ""),
        (line, abandoned) -> open(engine, asked, line, abandoned));
  }

  /** Opens the model that is evaluated, unless it is abandoned. */
  private interface Opener {
    EvalModel open(EngineArguments.LoadLine line, AtomicBoolean abandoned);
  }

  private int call(EvalOptions.Builder options, String model, Opener opener) {
    options.out(out == null ? defaultFolder(model) : Path.of(out));
    Values.give("--num-fewshot", shots, options::shots);
    Values.give("--limit", limit, options::limit);
    EvalMachine machine = new EvalMachine(console);
    options.environment(machine::environment);
    boolean programs =
        !predictOnly && options.build().tasks().stream().anyMatch(EvalTask::runsCode);
    try (EngineArguments.LoadLine line = new EngineArguments.LoadLine(console);
        EvalModelOpening opening =
            new EvalModelOpening(abandoned -> opener.open(line, abandoned));
        CodeRunner sandbox = programs ? machine.sandbox() : CodeRunner.NONE;
        EvalRunner runner =
            EvalRunner.open((programs ? options.codeRunner(sandbox) : options).build())) {
      console.mark("data read");
      EvalModel opened = opening.get();
      line.wipe();
      console.mark("model open");
      if (opened instanceof EngineModel local) {
        numerics(local.engine().modelInfo());
      }
      return run(runner, opened);
    }
  }

  private Path defaultFolder(String model) {
    // A server's model may hold slashes; of a file's task the name is enough.
    StringBuilder folder = new StringBuilder(model.replaceAll("[^A-Za-z0-9._-]+", "_"));
    for (String task : tasks) {
      folder.append('-').append(task.replaceAll(".*/|\\.jsonl$", ""));
    }
    if (shots != null) {
      folder.append('-').append(shots).append("shot");
    }
    if (chatTemplate) {
      folder.append("-chat");
    }
    if (!style.equals(PromptStyle.LM_EVAL.label())) {
      folder.append('-').append(style);
    }
    if (limit != null) {
      folder.append("-limit").append(limit);
    }
    return Path.of("eval-runs", folder.toString());
  }

  // Where it is to be had without much loss, numbers do not depend on the batch.
  private EngineOptions engineOptions(EngineOptions.Builder builder, EngineOptions asked) {
    Backend backend = Engine.backendOf(asked);
    builder.backend(backend);
    if (!engineArguments.hasNumerics()) {
      builder.numerics(backend == Backend.CPU ? Numerics.BATCH_INVARIANT : Numerics.FAST);
    }
    if (backend == Backend.CUDA) {
      builder.maxSequences(CUDA_SEQUENCES);
    }
    Values.give("--concurrency", concurrency, builder::maxSequences);
    return builder.maxQueuedRequests(100_000).maxQueuedTokens(Integer.MAX_VALUE).build();
  }

  private EvalModel open(
      EngineOptions.Builder builder,
      EngineOptions asked,
      EngineArguments.LoadLine line,
      AtomicBoolean abandoned) {
    return EngineModel.open(
        engineOptions(builder, asked).toBuilder()
            .loadListener(progress -> !abandoned.get() && line.show(progress))
            .build(),
        chatTemplate,
        EvalMachine.hashes(console));
  }

  private void numerics(ModelInfo info) {
    if (info.numerics() == Numerics.FAST) {
      console.err().println(
          "numerics fast: log-probabilities may differ in their last bits with what is computed"
              + " beside them; --numerics batch-invariant does not");
    }
  }

  private int run(EvalRunner runner, EvalModel model) {
    if (runner.damaged() > 0) {
      console.err().println(runner.damaged() + " torn lines were dropped; done again");
    }
    AtomicReference<EvalProgress> last = new AtomicReference<>();
    Object interrupt = Signals.register("INT", runner::stop);
    Object terminate = Signals.register("TERM", runner::stop);
    try (EvalProgressLine progress = new EvalProgressLine(console)) {
      EvalRun run =
          runner.run(
              model,
              now -> {
                // Not before the model is known to be the same.
                if (last.getAndSet(now) == null && now.before() > 0) {
                  console.err().println("done already: " + now.before() + " of " + now.total());
                }
                progress.update(now);
              });
      progress.close();
      EvalProgress end = last.get();
      if (!run.isComplete()) {
        console.err().println(
            "interrupted: " + run.items().size() + " of " + runner.total()
                + " items done; the same command goes on from there");
        return Failures.INTERRUPTED;
      }
      RunOutputs.write(run, runner.sent(model));
      if (end != null) {
        console.err().print(EvalSummary.costs(end));
      }
      console.print(json ? EvalSummary.json(run) : EvalSummary.table(run));
      console.err().println("run: " + run.folder());
      return Failures.OK;
    } finally {
      Signals.unregister("INT", interrupt);
      Signals.unregister("TERM", terminate);
    }
  }
}
