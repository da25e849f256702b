package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.core.Engine;
import ai.sluice.openai.ServedModel;
import ai.sluice.openai.batch.BatchEngine;
import ai.sluice.openai.batch.BatchException;
import ai.sluice.openai.batch.BatchOptions;
import ai.sluice.openai.batch.BatchRun;
import ai.sluice.openai.batch.BatchStatus;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Answers a file of requests. */
@Command(
    name = "batch",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Answer a file of OpenAI batch lines: {\"custom_id\", \"method\", \"url\", \"body\"}, with"
          + " bodies of /v1/chat/completions and /v1/completions.",
      "Each line gets exactly one line of the output, as answers come; an error is told in its"
          + " line. The same command goes on with what an earlier one left, however that ended."
    },
    footer = {
      "",
      "Exit code: 0 every line has its answer or its error; 1 a file or the engine failed, 2 wrong"
          + " usage or another input or model than before, 130 interrupted (Ctrl-C finishes the"
          + " lines that are being answered, a second one cancels them).",
      "",
      "Examples:",
      "  sluice batch -i questions.jsonl -o answers.jsonl",
      "  sluice batch -i in.jsonl -o out.jsonl -m model.gguf --served-model-name gpt-4o-mini",
      "  sluice batch -i in.jsonl -o out.jsonl --concurrency 64 --timeout 300 2>batch.log",
      "  sluice batch -i in.jsonl -o out.jsonl --restart"
    })
final class BatchCommand implements Callable<Integer> {
  /** Requests that wait in the engine for each that is computed, so that it never runs dry. */
  private static final int WINDOWS = 2;

  private final Console console;

  @Option(
      names = {"-i", "--input"},
      paramLabel = "FILE",
      required = true,
      description = "Lines to answer; a file of any size.")
  String input = "";

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE",
      required = true,
      description = "Where answers are appended.")
  String output = "";

  @Option(names = "--restart", description = "Give up what the output holds and begin anew.")
  boolean restart;

  @Mixin EngineArguments engineArguments = new EngineArguments();

  @Option(
      names = "--served-model-name",
      paramLabel = "NAME",
      description = "A name that bodies may call the model besides its own; may be repeated.")
  List<String> names = new ArrayList<>();

  @Option(
      names = "--concurrency",
      paramLabel = "N",
      description = "Requests computed at once; default: 16.")
  @Nullable Integer concurrency;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "For lines without a seed; with their custom_id it makes theirs. Default: 0.")
  long seed;

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      description = "Longest time of one request; default: none.")
  @Nullable Double timeout;

  @Option(
      names = "--retries",
      paramLabel = "N",
      description = "How often a request that timed out is tried again; default: 1.")
  int retries = 1;

  BatchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    BatchOptions options =
        new BatchOptions(
            restart,
            seed,
            Optional.ofNullable(timeout)
                .map(seconds -> Duration.ofMillis((long) Math.ceil(seconds * 1000))),
            retries);
    EngineOptions.Builder engineOptions = engineArguments.options(console);
    Values.give("--concurrency", concurrency, engineOptions::maxSequences);
    // Files before the model: a wrong path should not cost a load.
    try (BatchRun run = BatchRun.open(path("--input", input), path("--output", output), options)) {
      if (run.wasTorn()) {
        console.err().println("an unfinished last line was cut off; it is answered again");
      }
      if (run.linesBefore() > 0) {
        console.err().println("answered already: " + run.linesBefore());
      }
      return answer(run, engineOptions);
    } catch (BatchException e) {
      throw new CommandException(String.valueOf(e.getMessage()), e);
    }
  }

  private static Path path(String option, String file) {
    try {
      if (!file.isEmpty()) {
        return Path.of(file);
      }
    } catch (InvalidPathException e) {
      // Said below.
    }
    throw new InvalidRequestException(
        option + ": " + (file.isEmpty() ? "empty" : file) + " (expected: a file's path)");
  }

  private int answer(BatchRun run, EngineOptions.Builder options) {
    try (EngineArguments.LoadLine line = new EngineArguments.LoadLine(console);
        Engine engine = Engine.open(options.loadListener(line::show).build())) {
      line.wipe();
      int window = WINDOWS * engine.modelInfo().maxSequences();
      return answer(run, List.of(BatchEngine.of(engine, window)), served(engine));
    }
  }

  private ServedModel served(Engine engine) {
    Set<String> known = new LinkedHashSet<>(names);
    known.add(String.valueOf(engine.modelInfo().path().getFileName()));
    if (engineArguments.model != null) {
      known.add(engineArguments.model);
    }
    known.add(engine.modelInfo().path().toString());
    return ServedModel.of(engine, known);
  }

  private int answer(BatchRun run, List<BatchEngine> engines, ServedModel model) {
    AtomicInteger signals = new AtomicInteger();
    Object before =
        Signals.register(
            "INT",
            () -> {
              if (signals.incrementAndGet() == 1) {
                run.stop();
              } else {
                run.cancel();
              }
            });
    Object beforeTerm =
        Signals.register(
            "TERM",
            () -> {
              signals.addAndGet(2);
              run.cancel();
            });
    try (BatchProgress progress = new BatchProgress(console, signals::get)) {
      BatchStatus status = run.run(engines, model, progress::update);
      progress.close();
      boolean whole = run.isComplete();
      console.err().print(BatchSummary.text(status, whole));
      return whole ? Failures.OK : Failures.INTERRUPTED;
    } finally {
      Signals.unregister("INT", before);
      Signals.unregister("TERM", beforeTerm);
    }
  }
}
