package ai.sluice.core;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinWorkerThread;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** The threads on which an engine calls its users back. */
final class EngineThreads {
  private static final long PUMP_IDLE_SECONDS = 10;
  private static final long RESULTS_IDLE_DAYS = 36_500;
  private static final int MOST_RESULT_THREADS = 256;

  private EngineThreads() {}

  /**
   * Completes results on one thread, which exists from the start: no result depends on a thread
   * that may not be had. The pool adds a thread only while an action waits for something that the
   * pool is told of, such as another generation's result, which would otherwise never come.
   */
  static ExecutorService results(int engineNumber) {
    ForkJoinPool pool =
        new ForkJoinPool(
            1,
            owner -> {
              ForkJoinWorkerThread thread =
                  ForkJoinPool.defaultForkJoinWorkerThreadFactory.newThread(owner);
              thread.setName("sluice-results-" + engineNumber);
              return thread;
            },
            null,
            true,
            1,
            MOST_RESULT_THREADS,
            1,
            owner -> true,
            RESULTS_IDLE_DAYS,
            TimeUnit.DAYS);
    pool.execute(() -> {});
    return pool;
  }

  /** Runs consumers of chunks, each on a thread of its own. */
  static ExecutorService pumps(int engineNumber) {
    AtomicInteger count = new AtomicInteger();
    return new ThreadPoolExecutor(
        0,
        Integer.MAX_VALUE,
        PUMP_IDLE_SECONDS,
        TimeUnit.SECONDS,
        new SynchronousQueue<>(),
        task -> {
          Thread thread =
              new Thread(
                  task, "sluice-chunks-" + engineNumber + "-" + count.incrementAndGet());
          thread.setDaemon(true);
          return thread;
        });
  }
}
