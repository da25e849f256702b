package ai.sluice.cli.soak;

import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.Engine;
import ai.sluice.jni.NativeEngine;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/**
 * Mixed load on a real engine whose KV cache is too small for it: every output is compared with
 * what the same request gave alone, no step may stay away, and nothing may be left behind.
 */
public final class Soak {
  /** Longest sequence unless asked for otherwise: the shorter, the more there are in a time. */
  private static final int CONTEXT = 256;

  /** Share of the blocks that the running sequences could need. */
  private static final int POOL_DIVISOR = 4;

  private static final int BLOCK_SIZE = 16;
  private static final int DRAFT_TOKENS = 4;
  private static final long LOOK_MILLIS = 100;
  private static final int MOST_LOOKS = 20;
  /** Enough to be seen, too few to do harm. */
  private static final int MOST_LEAKED = 16;

  private static final int CHUNK_BYTES = 1 << 16;

  /** An engine with requests of lower priority answers them late, but not this much. */
  private static final int LOST_FACTOR = 10;

  private final SoakSettings settings;
  private final Consumer<String> status;
  private final SoakTally tally = new SoakTally();
  private final List<ProcessSample> samples = new ArrayList<>();
  private final List<SoakWorker> workers = new ArrayList<>();
  private final List<Thread> threads = new ArrayList<>();
  private final Queue<Object> kept = new ConcurrentLinkedQueue<>();
  private final AtomicInteger leaked = new AtomicInteger();
  private volatile boolean stopping;

  private Soak(SoakSettings settings, Consumer<String> status) {
    this.settings = settings;
    this.status = status;
  }

  /**
   * Options for the engine: sizes from which preemption follows.
   *
   * @param options the model and how it runs; the rest is set here
   */
  public static EngineOptions options(EngineOptions options, SoakSettings settings) {
    if (options.maxContextLength().isEmpty()) {
      int context = Math.min(CONTEXT, Engine.planMemory(options).maxContextLength());
      return options(options.toBuilder().maxContextLength(context).build(), settings);
    }
    int sequences = settings.maxSequences();
    int blockSize = options.blockSize().orElse(BLOCK_SIZE);
    EngineOptions sized =
        options.toBuilder()
            .blockSize(blockSize)
            .maxSequences(sequences)
            .maxQueuedRequests(Math.max(1, settings.concurrency() - 3))
            .maxStepTokens(Math.max(64, sequences))
            .maxLogprobs(2)
            .maxDraftTokens(DRAFT_TOKENS)
            .build();
    MemoryPlan plan = Engine.planMemory(sized);
    long blocks = (plan.maxContextLength() + blockSize - 1L) / blockSize;
    long pool = Math.max(blocks, blocks * sequences / POOL_DIVISOR);
    return sized.toBuilder()
        .kvCacheBytes(pool * blockSize * plan.kvBytesPerToken())
        .build();
  }

  /**
   * Opens the engine, makes its requests, closes it. Blocks for the time asked for and somewhat more.
   *
   * @param options from {@link #options}
   * @param status takes a line now and then
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static SoakReport run(
      EngineOptions options, SoakSettings settings, Consumer<String> status) {
    return new Soak(settings, status).run(options);
  }

  private SoakReport run(EngineOptions options) {
    int handlesBefore = NativeEngine.numOpen();
    Engine engine = Engine.open(options);
    String stall = "";
    SoakCatalog catalog;
    ProcessSample before;
    EngineMetrics after;
    long nanos;
    try {
      ModelInfo model = engine.modelInfo();
      status.accept(
          String.format(
              Locale.ROOT,
              "%s: %d at once, %d running, context %d, %d KV blocks of %d tokens",
              model.path(), settings.concurrency(), model.maxSequences(),
              model.maxContextLength(), model.kvBlocks(), model.blockSize()));
      catalog = SoakCatalog.of(engine, settings);
      catalog.refused().forEach((name, why) -> status.accept("without " + name + ": " + why));
      before = ProcessSample.take();
      long start = System.nanoTime();
      start(engine, catalog);
      stall = watch(engine, start);
      nanos = System.nanoTime() - start;
      if (!stall.isEmpty()) {
        tellStacks();
      }
      after = engine.metrics();
    } finally {
      stopping = true;
      if (!stall.isEmpty()) {
        threads.forEach(Thread::interrupt);
      }
      if (settings.fault() != SoakFault.HANDLES) {
        close(engine);
      }
    }
    long usedBlocks = after.kvBlocksUsed() + (settings.fault() == SoakFault.BLOCKS ? 1 : 0);
    return new SoakReport(
        settings,
        tally,
        catalog.refused(),
        nanos,
        stall,
        after,
        usedBlocks,
        before,
        samples,
        settled(before),
        NativeEngine.numOpen() - handlesBefore);
  }

  /** What is held once the engine's threads, which were told to end, have done so. */
  private static ProcessSample settled(ProcessSample before) {
    ProcessSample sample = ProcessSample.take();
    for (int i = 0; i < MOST_LOOKS && sample.threads() >= before.threads(); i++) {
      sleep();
      sample = ProcessSample.take();
    }
    return sample;
  }

  private void start(Engine engine, SoakCatalog catalog) {
    for (int i = 0; i < settings.concurrency(); i++) {
      SoakWorker worker =
          new SoakWorker(settings, i, engine, catalog, tally, () -> stopping, this::misbehave);
      workers.add(worker);
      Thread thread = new Thread(worker, "soak-" + i);
      thread.setDaemon(true);
      threads.add(thread);
      thread.start();
    }
  }

  private void misbehave() {
    switch (settings.fault()) {
      case THREADS -> {
        if (leaked.incrementAndGet() > MOST_LEAKED) {
          return;
        }
        Thread thread = new Thread(LockSupport::park, "soak-leak");
        thread.setDaemon(true);
        thread.start();
      }
      case FILES -> {
        if (leaked.incrementAndGet() > MOST_LEAKED) {
          return;
        }
        try {
          kept.add(new FileInputStream("/dev/null"));
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
      case MEMORY -> {
        ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK_BYTES);
        for (int i = 0; i < CHUNK_BYTES; i += 1024) {
          buffer.put(i, (byte) 1);
        }
        kept.add(buffer);
      }
      default -> { }
    }
  }

  /**
   * Looks at the engine until the time is over and what is open then has ended; says what stands
   * still, if something does.
   */
  private String watch(Engine engine, long start) {
    long end = start + TimeUnit.SECONDS.toNanos(settings.seconds());
    long statusNanos = TimeUnit.SECONDS.toNanos(settings.statusSeconds());
    long nextStatus = start + statusNanos;
    long stallNanos = TimeUnit.SECONDS.toNanos(settings.stallSeconds());
    long lastProgress = start;
    long lastSteps = -1;
    EngineMetrics last = engine.metrics();
    while (true) {
      sleep();
      long now = System.nanoTime();
      stopping = now >= end;
      boolean deserted = threads.stream().noneMatch(Thread::isAlive);
      EngineMetrics metrics = engine.metrics();
      long steps = settings.fault() == SoakFault.STALL ? 0 : metrics.steps();
      long oldest = workers.stream().mapToLong(w -> w.pendingNanos(now)).max().orElse(0);
      boolean idle = metrics.running() == 0 && metrics.waiting() == 0;
      if (stopping && deserted && idle) {
        return "";
      }
      if (steps != lastSteps || idle && oldest < stallNanos) {
        lastSteps = steps;
        lastProgress = now;
      }
      if (now - lastProgress > stallNanos) {
        return "no step for " + settings.stallSeconds() + " s with " + metrics.running()
            + " running and " + metrics.waiting() + " waiting";
      }
      if (oldest > LOST_FACTOR * stallNanos) {
        return "a request without an answer for " + TimeUnit.NANOSECONDS.toSeconds(oldest) + " s";
      }
      if (deserted && !stopping) {
        return "no caller is left";
      }
      if (now >= nextStatus) {
        nextStatus += statusNanos;
        ProcessSample sample = ProcessSample.take();
        if (!stopping) {
          samples.add(sample);
        }
        double seconds = (now - start) / 1e9;
        double rate =
            (metrics.newTokens() - last.newTokens()) / (double) settings.statusSeconds();
        status.accept(line(seconds, rate, metrics, sample));
        last = metrics;
      }
    }
  }

  private String line(double seconds, double rate, EngineMetrics metrics, ProcessSample sample) {
    return String.format(
        Locale.ROOT,
        "%5.0f s  %7d requests  %7.1f tok/s  running %3d  waiting %3d  KV %3.0f %%  preempted %d"
            + "  RSS %d MB  heap %d MB  threads %d  files %d  wrong %d",
        seconds, tally.numRequests(), rate, metrics.running(), metrics.waiting(),
        100.0 * metrics.kvBlocksUsed() / metrics.kvBlocksTotal(), metrics.preemptions(),
        sample.rssBytes() / 1_000_000, sample.heapBytes() / 1_000_000, sample.threads(),
        sample.files(), tally.numWrong());
  }

  private void tellStacks() {
    for (Thread thread : threads) {
      if (thread.isAlive()) {
        StringBuilder stack = new StringBuilder(thread.getName());
        for (StackTraceElement element : thread.getStackTrace()) {
          stack.append("\n  at ").append(element);
        }
        status.accept(stack.toString());
      }
    }
  }

  private static void sleep() {
    try {
      Thread.sleep(LOOK_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("soak: interrupted (expected: to run to its end)", e);
    }
  }

  /** An engine that stands still may not close either. */
  private void close(Engine engine) {
    CountDownLatch closed = new CountDownLatch(1);
    Thread closer =
        new Thread(
            () -> {
              try {
                engine.close();
              } finally {
                closed.countDown();
              }
            },
            "soak-close");
    closer.setDaemon(true);
    closer.start();
    try {
      if (!closed.await(settings.stallSeconds(), TimeUnit.SECONDS)) {
        tally.wrong("engine: not closed within " + settings.stallSeconds() + " s");
      }
      closer.join(TimeUnit.SECONDS.toMillis(settings.stallSeconds()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Requests ended, by reason, those of the references among them. */
  static String reasons(Map<FinishReason, Long> finished) {
    List<String> parts = new ArrayList<>();
    for (FinishReason reason : FinishReason.values()) {
      long count = finished.getOrDefault(reason, 0L);
      if (count > 0) {
        parts.add(count + " " + reason.name().toLowerCase(Locale.ROOT));
      }
    }
    return String.join(", ", parts);
  }
}
