package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.BatcherOptions;
import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Batches by a clock of the test's own, into an engine of the test's own. */
@Timeout(120)
class BatcherTest {
  private final ExecutorService results = Executors.newSingleThreadExecutor();
  private final Target target = new Target();
  private final Clock clock = new Clock();

  @AfterEach
  void stop() {
    results.shutdown();
  }

  /** Time stands still until it is moved; whoever waits longer than that waits for a signal. */
  private static final class Clock implements BatchClock {
    private long now;
    /** How often someone began to wait. */
    private int waits;

    @Override
    public synchronized long now() {
      return now;
    }

    @Override
    public void await(Condition condition, long nanos) throws InterruptedException {
      synchronized (this) {
        waits++;
        notifyAll();
      }
      // Called with the lock held, and moved with it held, so that no signal is lost.
      condition.await();
    }

    /** Until the batcher waits, having seen everything that was before. */
    synchronized void awaitWaits(int count) throws InterruptedException {
      while (waits < count) {
        wait();
      }
    }

    synchronized int waits() {
      return waits;
    }

    synchronized void move(long millis) {
      now += millis * 1_000_000;
    }
  }

  /** Takes requests, and ends them when it is told to. */
  private final class Target implements BatchTarget {
    final List<Integer> started = new ArrayList<>();
    final List<WorkFuture<ClassificationResult>> running = new ArrayList<>();
    int room = Integer.MAX_VALUE;
    boolean endsAtOnce = true;
    int rejected;
    int cancelled;

    @Override
    public long now() {
      return 0;
    }

    @Override
    public void requireOpen() {}

    @Override
    public int[] encode(ClassificationRequest request) {
      return request.input().promptTokens().orElseThrow();
    }

    @Override
    public ScoreEncoder.Encoded encode(ScoreRequest request) {
      return new ScoreEncoder.Encoded(
          request.promptTokens().orElseThrow(), request.continuationTokens());
    }

    @Override
    public synchronized WorkFuture<ClassificationResult> classify(
        ClassificationRequest request, int[] prompt, long submitted) {
      if (room == 0) {
        throw new QueueFullException("full");
      }
      if (prompt[0] == 13) {
        throw new InvalidRequestException("refused");
      }
      if (prompt[0] == 14) {
        throw new ArithmeticException("a defect");
      }
      room--;
      started.add(prompt.length);
      WorkFuture<ClassificationResult> future = new WorkFuture<>(results);
      future.canceller(
          () -> {
            synchronized (this) {
              cancelled++;
            }
            end(future, FinishReason.CANCELLED);
          });
      running.add(future);
      if (endsAtOnce) {
        end(future, FinishReason.STOP);
      }
      notifyAll();
      return future;
    }

    void end(WorkFuture<ClassificationResult> future, FinishReason reason) {
      future.deliver(
          () ->
              new ClassificationResult(
                  reason == FinishReason.STOP ? List.of(1f) : List.of(),
                  reason,
                  "",
                  new Usage(1, 0, 0),
                  new Timings(0, 0, 0, 0)));
    }

    @Override
    public WorkFuture<ScoreResult> score(
        ScoreRequest request, ScoreEncoder.Encoded encoded, long submitted) {
      WorkFuture<ScoreResult> future = new WorkFuture<>(results);
      future.deliver(() -> Unstarted.score(FinishReason.STOP, ""));
      return future;
    }

    @Override
    public void countRejected() {
      rejected++;
    }

    synchronized void awaitStarted(int count) throws InterruptedException {
      while (started.size() < count) {
        wait();
      }
    }

    synchronized List<Integer> started() {
      return List.copyOf(started);
    }
  }

  private Batcher open(BatcherOptions options) {
    return new Batcher("test-batcher", options, target, results, clock, () -> {});
  }

  private static BatcherOptions.Builder options() {
    return BatcherOptions.builder().maxBatchSize(4);
  }

  private static ClassificationRequest request(int length) {
    int[] tokens = new int[length];
    Arrays.fill(tokens, 1);
    return ClassificationRequest.builder().promptTokens(tokens).build();
  }

  private static ClassificationRequest starting(int token) {
    return ClassificationRequest.builder().promptTokens(token).build();
  }

  /** Adds a request and waits until the batcher has seen it and waits again. */
  private CompletableFuture<ClassificationResult> add(Batcher batcher, int length)
      throws InterruptedException {
    int before = clock.waits();
    CompletableFuture<ClassificationResult> future = batcher.submit(request(length));
    clock.awaitWaits(before + 1);
    return future;
  }

  /** Moves the time; the request that is added then is only there to wake the batcher. */
  @Test
  void aBatchIsDueWhenItsFirstRequestHasWaitedLongEnough() throws Exception {
    Batcher batcher = open(options().build());
    clock.awaitWaits(1);
    CompletableFuture<ClassificationResult> first = add(batcher, 3);
    clock.move(99);
    add(batcher, 2);
    assertEquals(List.of(), target.started());
    clock.move(1);
    add(batcher, 1);
    // All three, since they were there when it was due: shortest first.
    target.awaitStarted(3);
    assertEquals(List.of(1, 2, 3), target.started());
    assertTrue(first.get().succeeded());
    batcher.close();
  }

  @Test
  void aFullBatchIsDueAtOnceAndSortedByLength() throws Exception {
    Batcher batcher = open(options().build());
    clock.awaitWaits(1);
    for (int length : new int[] {9, 2, 7, 2}) {
      batcher.submit(request(length));
    }
    target.awaitStarted(4);
    assertEquals(List.of(2, 2, 7, 9), target.started());
    batcher.submit(request(5));
    batcher.close();
    assertEquals(List.of(2, 2, 7, 9, 5), target.started());
  }

  @Test
  void closingHandsOnWhatWaitsAndWaitsForItsEnd() throws Exception {
    target.endsAtOnce = false;
    Batcher batcher = open(options().build());
    List<CompletableFuture<ClassificationResult>> futures = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      futures.add(batcher.submit(request(6 - i)));
    }
    CountDownLatch closed = new CountDownLatch(2);
    for (int i = 0; i < 2; i++) {
      new Thread(
              () -> {
                batcher.close();
                assertTrue(futures.stream().allMatch(CompletableFuture::isDone));
                closed.countDown();
              })
          .start();
    }
    target.awaitStarted(6);
    assertEquals(List.of(3, 4, 5, 6, 1, 2), target.started());
    assertEquals(2, closed.getCount());
    synchronized (target) {
      target.running.forEach(future -> target.end(future, FinishReason.STOP));
    }
    closed.await();
    for (CompletableFuture<ClassificationResult> future : futures) {
      assertTrue(future.get().succeeded());
    }
    assertThrows(EngineClosedException.class, () -> batcher.submit(request(1)));
    batcher.close();
  }

  @Test
  void anInterruptedCloseCancelsWhatIsNotOver() throws Exception {
    target.endsAtOnce = false;
    target.room = 2;
    Batcher batcher = open(options().maxBatchSize(1).build());
    List<CompletableFuture<ClassificationResult>> futures = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      futures.add(batcher.submit(request(1)));
    }
    target.awaitStarted(2);
    Thread.currentThread().interrupt();
    batcher.close();
    assertTrue(Thread.interrupted());
    for (CompletableFuture<ClassificationResult> future : futures) {
      assertEquals(FinishReason.CANCELLED, future.getNow(null).finishReason());
    }
    assertEquals(2, target.started().size());
    assertEquals(2, target.cancelled);
  }

  @Test
  void anActionOnAResultMayCloseIt() throws Exception {
    target.endsAtOnce = true;
    ExecutorService engineResults = EngineThreads.results(99);
    Batcher batcher =
        new Batcher(
            "test-batcher", options().build(), target, engineResults, clock, () -> {});
    List<CompletableFuture<Void>> actions = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      actions.add(batcher.submit(request(1)).thenRun(batcher::close));
    }
    for (CompletableFuture<Void> action : actions) {
      action.get(60, TimeUnit.SECONDS);
    }
    engineResults.shutdown();
  }

  @Test
  void aRequestThatFailsFailsAlone() throws Exception {
    Batcher batcher = open(options().build());
    CompletableFuture<ClassificationResult> good = batcher.submit(request(2));
    CompletableFuture<ClassificationResult> refused = batcher.submit(starting(13));
    CompletableFuture<ClassificationResult> defect = batcher.submit(starting(14));
    CompletableFuture<ClassificationResult> last = batcher.submit(request(1));
    assertTrue(good.get().succeeded());
    assertTrue(last.get().succeeded());
    assertTrue(
        assertThrows(CompletionException.class, refused::join).getCause()
            instanceof InvalidRequestException);
    assertTrue(
        assertThrows(CompletionException.class, defect::join)
            .getCause()
            .getMessage()
            .startsWith("request: could not be started"));
    assertThrows(
        InvalidRequestException.class,
        () -> {
          try (Batcher small = open(options().maxSequenceLength(4).build())) {
            small.submit(request(5));
          }
        });
    batcher.close();
  }

  @Test
  void whatTheEngineHasNoRoomForWaits() throws Exception {
    target.endsAtOnce = false;
    target.room = 1;
    Batcher batcher = open(options().maxBatchSize(1).maxQueuedRequests(3).build());
    clock.awaitWaits(1);
    CompletableFuture<ClassificationResult> first = batcher.submit(request(1));
    clock.awaitWaits(2);
    CompletableFuture<ClassificationResult> second = batcher.submit(request(2));
    batcher.submit(request(3));
    batcher.submit(request(4));
    ClassificationResult rejected = batcher.submit(request(5)).get();
    assertEquals(FinishReason.REJECTED, rejected.finishReason());
    assertTrue(rejected.detail().contains("maxQueuedRequests = 3"), rejected.detail());
    assertEquals(1, target.rejected);
    assertFalse(second.isDone());
    // The end of the first makes room, which wakes the batcher.
    synchronized (target) {
      target.room = 3;
      target.end(target.running.get(0), FinishReason.STOP);
    }
    assertTrue(first.get().succeeded());
    target.awaitStarted(4);
    assertEquals(List.of(1, 2, 3, 4), target.started());
    synchronized (target) {
      target.running.forEach(future -> target.end(future, FinishReason.STOP));
    }
    batcher.close();
    assertTrue(second.get().succeeded());
  }

  @Test
  void cancellingBeforeAndAfterItIsHandedOn() throws Exception {
    target.endsAtOnce = false;
    Batcher batcher = open(options().build());
    clock.awaitWaits(1);
    CompletableFuture<ClassificationResult> early = add(batcher, 7);
    early.cancel(true);
    List<CompletableFuture<ClassificationResult>> others = new ArrayList<>();
    for (int i = 1; i <= 3; i++) {
      others.add(batcher.submit(request(i)));
    }
    target.awaitStarted(3);
    assertEquals(List.of(1, 2, 3), target.started());
    others.get(0).cancel(true);
    others.get(1).completeExceptionally(new ArithmeticException());
    synchronized (target) {
      assertEquals(2, target.cancelled);
      target.end(target.running.get(2), FinishReason.STOP);
    }
    batcher.close();
    assertTrue(others.get(2).get().succeeded());
  }

  @Test
  void aClosedEngineEndsWhatWaits() throws Exception {
    Batcher batcher = open(options().build());
    CompletableFuture<ClassificationResult> waits = batcher.submit(request(1));
    batcher.engineClosed();
    assertEquals(FinishReason.CANCELLED, waits.get().finishReason());
    batcher.close();
  }

  @Test
  void scoresAreBatchedToo() throws Exception {
    Batcher batcher = open(options().maxBatchSize(1).maxSequenceLength(5).build());
    ScoreRequest.Builder request =
        ScoreRequest.builder().promptTokens(1, 2, 3).continuationTokens(
            List.of(new int[] {1}, new int[] {1, 2, 3}));
    assertTrue(batcher.submit(request.build()).get().succeeded());
    request.continuationTokens(List.of(new int[] {1, 2, 3, 4}));
    assertTrue(
        assertThrows(InvalidRequestException.class, () -> batcher.submit(request.build()))
            .getMessage()
            .startsWith("prompt with a continuation: 6 tokens (expected: at most 5"));
    batcher.close();
  }

  /** Many threads submit while others close: what was taken has an end, the rest was refused. */
  @Test
  void nothingIsLostBetweenSubmitAndClose() throws Exception {
    for (int round = 0; round < 20; round++) {
      Batcher batcher =
          open(options().maxWait(Duration.ZERO).maxBatchSize(3).build());
      List<CompletableFuture<ClassificationResult>> taken = new ArrayList<>();
      AtomicInteger refused = new AtomicInteger();
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        Random random = new Random(round * 10 + t);
        boolean closes = t == 3;
        Thread thread =
            new Thread(
                () -> {
                  for (int i = 0; i < 50; i++) {
                    if (closes && i == 25) {
                      batcher.close();
                    }
                    try {
                      CompletableFuture<ClassificationResult> future =
                          batcher.submit(request(1 + random.nextInt(9)));
                      synchronized (taken) {
                        taken.add(future);
                      }
                    } catch (EngineClosedException e) {
                      refused.incrementAndGet();
                    }
                  }
                });
        threads.add(thread);
        thread.start();
      }
      for (Thread thread : threads) {
        thread.join();
      }
      batcher.close();
      assertEquals(200, taken.size() + refused.get());
      assertTrue(refused.get() >= 25);
      for (CompletableFuture<ClassificationResult> future : taken) {
        assertTrue(future.isDone());
        assertTrue(future.get().succeeded());
      }
    }
  }
}
