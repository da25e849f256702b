package ai.sluice.core;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.LoadProgress;
import ai.sluice.api.SluiceException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.core.events.EngineEvents;
import ai.sluice.proto.SystemInfo;
import ai.sluice.text.Tokenizer;
import java.nio.channels.ClosedByInterruptException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The way from options to an engine: what can be read beside each other is. */
final class EngineOpening {
  private static final Logger LOG = LoggerFactory.getLogger(Engine.class);

  private EngineOpening() {}

  /** Does what {@link Engine#open} says. */
  static Engine open(EngineOptions options) {
    return open(options, () -> openCheckpoint(options));
  }

  /** The same, of a checkpoint that need not lie where the options say. */
  static Engine open(EngineOptions options, Supplier<Checkpoint> opening) {
    long start = System.nanoTime();
    options.loadListener().ifPresent(
        listener -> {
          if (!listener.onProgress(
              new LoadProgress(
                  LoadProgress.Phase.CHECKPOINT, options.model().toString(), 0, 0))) {
            throw new EngineClosedException("load: aborted by its listener during CHECKPOINT");
          }
        });
    // The libraries are loaded while the checkpoint is read.
    Background<SystemInfo> system =
        Background.start("sluice-natives", OptionResolver::systemInfo);
    EngineEvents.Phase reading = EngineEvents.create().load(LoadProgress.Phase.CHECKPOINT.name());
    Checkpoint checkpoint = opening.get();
    reading.end(0);
    Background<Optional<Tokenizer>> tokenizer = TokenizerLoader.start(checkpoint);
    LoadedModel model = null;
    try {
      model = LoadedModel.load(checkpoint, options, system.get());
      Engine engine = new Engine(model, options, tokenizer.get().orElse(null), 0);
      LOG.info(
          "opened {} in {} ms: {}",
          options.model(),
          TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start),
          engine.modelInfo());
      return engine;
    } catch (Throwable e) {
      if (model != null) {
        model.close();
      }
      tokenizer.whenMade(made -> made.ifPresent(Tokenizer::close));
      throw e;
    }
  }

  /** An interrupt closes the file that is being read; that is no damage of the file. */
  private static Checkpoint openCheckpoint(EngineOptions options) {
    try {
      return Checkpoint.open(options.model());
    } catch (SluiceException e) {
      if (Thread.currentThread().isInterrupted()
          && e.getCause() instanceof ClosedByInterruptException) {
        throw new EngineClosedException("load: interrupted during CHECKPOINT", e);
      }
      throw e;
    }
  }
}
