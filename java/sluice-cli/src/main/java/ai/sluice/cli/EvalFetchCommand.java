package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalData;
import ai.sluice.eval.data.DataFetch;
import ai.sluice.eval.data.DataSet;
import ai.sluice.eval.data.DataSets;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Fetches the data set of a task. */
@Command(
    name = "fetch",
    description = {
      "Fetch the data set of a task from its authors and check every hash.",
      "A rerun finds it and fetches nothing; what broke off is gone on with."
    },
    footer = {"", "Example:", "  sluice eval fetch all"})
final class EvalFetchCommand implements Callable<Integer> {
  private static final String ALL = "all";

  private final Console console;

  @Parameters(
      index = "0",
      paramLabel = "TASK",
      description = {
        "mmlu, mmlu_continuation, gsm8k, gsm8k_cot, humaneval,",
        "humaneval_instruct or all."
      })
  String task = ALL;

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = {
        "The folder that holds mmlu, gsm8k and humaneval;",
        "default: ~/.cache/sluice/data, where eval looks too."
      })
  @Nullable String data;

  @Option(
      names = "--from",
      paramLabel = "URL",
      description = "A place that has the same files as URL/SET/FILE.")
  @Nullable String from;

  EvalFetchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    List<DataSet> sets = task.equals(ALL) ? DataSets.all() : List.of(DataSets.of(task));
    Path folder = EvalData.folder(data, new ModelStore(console).cacheFolder());
    Optional<URI> place = Optional.ofNullable(from).map(EvalFetchCommand::uri);
    for (DataSet set : sets) {
      fetch(set, folder, place);
    }
    return Failures.OK;
  }

  private static URI uri(String text) {
    try {
      return URI.create(text);
    } catch (IllegalArgumentException e) {
      throw new InvalidRequestException("--from: " + text + " (expected: a URL)", e);
    }
  }

  private void fetch(DataSet set, Path folder, Optional<URI> place) {
    try (Line line = new Line(console, set)) {
      DataFetch fetch = new DataFetch(folder, place, line);
      console.println(set.title() + ", licence " + set.licence());
      console.println("  " + set.licencePage());
      set.sources().stream()
          .filter(source -> !source.path().equals(set.licenceFile()))
          .forEach(source -> console.println("  from " + fetch.uri(set, source)));
      DataFetch.Outcome outcome = fetch.fetch(set);
      line.finish(outcome.fetched());
      console.println(
          "  " + (outcome.fetched() ? "to " : "there already: ") + outcome.folder() + ", "
              + set.hashes().size() + " files, every sha256 verified");
      console.println("  licence: " + outcome.folder().resolve(set.licenceFile()));
    }
  }

  /** Begins to show once bytes arrive, so that nothing is said of what is there already. */
  private static final class Line implements DataFetch.Progress, AutoCloseable {
    private final Console console;
    private final String label;
    private @Nullable ProgressLine shown;

    Line(Console console, DataSet set) {
      this.console = console;
      this.label = "fetching " + set.name() + " (" + Sizes.text(set.bytes()) + ")";
    }

    @Override
    public void update(long done, long total) {
      if (shown == null) {
        shown = new ProgressLine(console, label);
      }
      shown.update(done, total);
    }

    void finish(boolean fetched) {
      if (shown != null && fetched) {
        shown.finish("done");
      }
    }

    @Override
    public void close() {
      if (shown != null) {
        shown.close();
      }
    }
  }
}
