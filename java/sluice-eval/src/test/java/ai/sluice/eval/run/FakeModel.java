package ai.sluice.eval.run;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalModel;
import ai.sluice.eval.GenerationSettings;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** Answers by a hash of the prompt, on threads of its own and so in any order. */
final class FakeModel implements EvalModel {
  final Map<String, String> identity = new TreeMap<>(Map.of("model_sha256", "1", "dtype", "F32"));
  final List<ItemKey> asked = new CopyOnWriteArrayList<>();
  final AtomicInteger most = new AtomicInteger();
  final Map<ItemKey, RuntimeException> failures = new ConcurrentHashMap<>();
  volatile @Nullable Runnable beforeAnswer;
  volatile @Nullable Runnable beforeIdentity;
  private final AtomicInteger open = new AtomicInteger();
  private final int window;
  private final ExecutorService threads = Executors.newFixedThreadPool(3);

  FakeModel(int window) {
    this.window = window;
  }

  @Override
  public String rendered(EvalItem item) {
    return item.context();
  }

  @Override
  public CompletableFuture<Reply> ask(EvalItem item, GenerationSettings settings) {
    ItemKey key = new ItemKey(item.task(), item.index());
    asked.add(key);
    most.accumulateAndGet(open.incrementAndGet(), Math::max);
    CompletableFuture<Reply> reply = new CompletableFuture<>();
    threads.execute(
        () -> {
          Runnable hook = beforeAnswer;
          if (hook != null) {
            hook.run();
          }
          if (ThreadLocalRandom.current().nextBoolean()) {
            Thread.yield();
          }
          open.decrementAndGet();
          RuntimeException failure = failures.get(key);
          if (failure != null) {
            reply.completeExceptionally(failure);
          } else {
            reply.complete(new Reply(answer(item), 10, 4, 0, 1, 0.5));
          }
        });
    return reply;
  }

  private static EvalAnswer answer(EvalItem item) {
    Random random = new Random(item.context().hashCode());
    if (item.continuations().isEmpty()) {
      return EvalAnswer.ofText(" it is #### " + random.nextInt(4));
    }
    List<EvalAnswer.Choice> choices = new ArrayList<>();
    for (int i = 0; i < item.continuations().size(); i++) {
      choices.add(new EvalAnswer.Choice(-random.nextInt(5), i == 0));
    }
    return EvalAnswer.ofChoices(choices);
  }

  @Override
  public int window() {
    return window;
  }

  @Override
  public Map<String, String> identity() {
    Runnable hook = beforeIdentity;
    if (hook != null) {
      hook.run();
    }
    return identity;
  }

  @Override
  public Map<String, String> environment() {
    return Map.of("window", String.valueOf(window));
  }

  @Override
  public void close() {
    threads.shutdownNow();
  }
}
