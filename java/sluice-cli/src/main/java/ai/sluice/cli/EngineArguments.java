package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.LoadProgress;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that say which model answers and how it runs. */
final class EngineArguments {
  @Option(
      names = {"-m", "--model"},
      paramLabel = "MODEL",
      description = "A folder, a .gguf file or the name of a pulled model.")
  @Nullable String model;

  @Mixin RunArguments runArguments = new RunArguments();

  @Option(
      names = "--context-length",
      paramLabel = "N",
      description = "Longest prompt and answer together, in tokens.")
  @Nullable Integer contextLength;

  /**
   * Options for opening an engine. Values are checked before the model is looked for, so that a
   * typing error never starts a download.
   *
   * @throws InvalidRequestException if a value is out of range or there is no such model
   */
  EngineOptions.Builder options(Console console) {
    EngineOptions.Builder builder = runArguments.builder();
    Values.give("--context-length", contextLength, builder::maxContextLength);
    ModelStore store = new ModelStore(console);
    return builder.model(model == null ? store.defaultModel() : store.resolve(model));
  }

  /** Whether the user chose the numerics. */
  boolean hasNumerics() {
    return runArguments.numerics != null;
  }

  /** {@link #options}, for one conversation at a time, with the load shown when it takes long. */
  EngineOptions.Builder singleUser(Console console, LoadLine line) {
    // One sequence needs no more workspace than this; the engine then opens faster.
    // A terminal that is held or a pager that waits must not lose the answer.
    return options(console)
        .maxSequences(1)
        .maxUnreadBytes(1 << 30)
        .loadListener(line::show);
  }

  /** Shows a load that takes more than a moment on a terminal, and nothing elsewhere. */
  static final class LoadLine implements AutoCloseable {
    private static final long PATIENCE_NANOS = 700_000_000;

    private final Console console;
    private final long begin = System.nanoTime();
    private @Nullable ProgressLine line;

    LoadLine(Console console) {
      this.console = console;
    }

    boolean show(LoadProgress progress) {
      if (!console.errTerminal() || System.nanoTime() - begin < PATIENCE_NANOS) {
        return true;
      }
      if (line == null) {
        line = new ProgressLine(console, "loading");
      }
      line.update(progress.bytesDone(), progress.bytesTotal());
      return true;
    }

    /** Clears the line once the model is loaded. */
    void wipe() {
      if (line != null) {
        line.close();
      }
    }

    @Override
    public void close() {
      wipe();
    }
  }
}
