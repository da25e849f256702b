package ai.sluice.micrometer;

import ai.sluice.api.EngineMetrics;
import ai.sluice.api.Histogram;
import ai.sluice.core.Engine;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * The last snapshot of an engine's metrics, shared by all meters that one reading asks, and the
 * thread that tells the histograms what is new. Thread-safe.
 */
final class Snapshots {
  private static final long PERIOD_MILLIS = 1000;

  /** One reading of a registry asks many meters at once. */
  private static final long FRESH_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

  private record Replay(HistogramReplay target, Function<EngineMetrics, Histogram> source) {}

  private final Engine engine;
  private final List<Replay> replays = new ArrayList<>();
  private EngineMetrics last;
  private long taken;
  private boolean stopped;

  Snapshots(Engine engine) {
    this.engine = engine;
    last = engine.metrics();
    taken = System.nanoTime();
  }

  /** Keeps a summary equal to one of the histograms from now on. */
  synchronized void replay(HistogramReplay target, Function<EngineMetrics, Histogram> source) {
    replays.add(new Replay(target, source));
  }

  /** Starts the thread. */
  void start(String name) {
    refresh();
    Thread thread = new Thread(this::run, name);
    thread.setDaemon(true);
    thread.start();
  }

  private synchronized void run() {
    while (!stopped) {
      refresh();
      try {
        wait(PERIOD_MILLIS);
      } catch (InterruptedException e) {
        return; // Nobody but the JVM's end interrupts it.
      }
    }
  }

  /** Refreshes once more and ends the thread. */
  synchronized void stop() {
    if (!stopped) {
      stopped = true;
      refresh();
      notifyAll();
    }
  }

  private synchronized void refresh() {
    last = engine.metrics();
    taken = System.nanoTime();
    for (Replay replay : replays) {
      replay.target().advance(replay.source().apply(last));
    }
  }

  /** The last snapshot, or a new one if it is old. */
  synchronized EngineMetrics last() {
    if (System.nanoTime() - taken > FRESH_NANOS) {
      last = engine.metrics();
      taken = System.nanoTime();
    }
    return last;
  }
}
