package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.BatcherOptions;
import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.ScoreRequest;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/**
 * Prints the latency of a batcher at a stated load: requests of random lengths that come at random
 * (exponential gaps). Not run by default: {@code mvn -pl java/sluice-core -am test
 * -Dtest=BatcherBench -Dsurefire.failIfNoSpecifiedTests=false}; with {@code
 * -Dsluice.test.args="-Dsluice.bench.model=PATH -Dsluice.bench.rate=4"} for scores of four answers
 * by a model of one's own, and with {@code sluice.bench.requests} and {@code sluice.bench.tokens}.
 */
class BatcherBench {
  private static final Random RANDOM = new Random(1);

  private static int number(String name, int otherwise) {
    return Integer.getInteger("sluice.bench." + name, otherwise);
  }

  private static int[] tokens(int most, int vocab) {
    int length = 1 + most / 2 + RANDOM.nextInt(most / 2);
    return RANDOM.ints(length, 0, vocab).toArray();
  }

  @Test
  void latency() throws Exception {
    String model = System.getProperty("sluice.bench.model", "");
    boolean scores = !model.isEmpty();
    int rate = number("rate", scores ? 8 : 400);
    int requests = number("requests", scores ? 200 : 8000);
    int most = number("tokens", scores ? 64 : 128);
    EngineOptions.Builder options =
        scores
            ? EngineOptions.builder().model(Path.of(model))
            : Fixtures.options("adaptive_moe");
    BatcherOptions batching = BatcherOptions.defaults();
    try (Engine engine =
            Engine.open(options.maxContextLength(512).maxSequences(32).build());
        Batcher batcher = engine.batcher(batching)) {
      int vocab = engine.modelInfo().vocabSize();
      long[] micros = new long[requests];
      AtomicInteger failures = new AtomicInteger();
      CountDownLatch over = new CountDownLatch(requests);
      long start = System.nanoTime();
      double due = 0;
      for (int i = 0; i < requests; i++) {
        due += -Math.log(1 - RANDOM.nextDouble()) / rate * 1e9;
        long at = start + (long) due;
        while (System.nanoTime() < at) {
          LockSupport.parkNanos(at - System.nanoTime());
        }
        int index = i;
        CompletableFuture<?> future =
            scores
                ? batcher.submit(
                    ScoreRequest.builder()
                        .promptTokens(tokens(most, vocab))
                        .continuationTokens(
                            List.of(
                                new int[] {1}, new int[] {2}, new int[] {3}, new int[] {4}))
                        .build())
                : batcher.submit(
                    ClassificationRequest.builder().promptTokens(tokens(most, vocab)).build());
        future.whenComplete(
            (value, failure) -> {
              micros[index] = (System.nanoTime() - at) / 1000;
              failures.addAndGet(failure == null ? 0 : 1);
              over.countDown();
            });
      }
      over.await();
      double seconds = (System.nanoTime() - start) / 1e9;
      EngineMetrics metrics = engine.metrics();
      Arrays.sort(micros);
      System.out.printf(
          "%s, %s, %d to %d tokens, %d requests at %d/s (served %.1f/s), %d threads%n"
              + "latency ms: mean %.1f, median %.1f, 99%% %.1f, most %.1f;"
              + " %.1f tokens a step, engine busy %.0f %%%n",
          scores ? model : "adaptive_moe", batching, 1 + most / 2, most, requests, rate,
          requests / seconds, engine.modelInfo().threads(),
          Arrays.stream(micros).average().orElse(0) / 1e3, micros[requests / 2] / 1e3,
          micros[requests * 99 / 100] / 1e3, micros[requests - 1] / 1e3,
          (double) metrics.promptTokens() / metrics.steps(),
          metrics.stepMicros() / seconds / 1e4);
      assertTrue(failures.get() == 0, failures + " requests failed");
    }
  }
}
