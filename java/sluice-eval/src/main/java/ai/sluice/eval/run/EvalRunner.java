package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.SluiceException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalModel;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Runs tasks against a model and writes what comes of it into a folder, item by item. A run that
 * ended early, however that was, goes on where it stopped when it is run again into its folder.
 *
 * <p>What a run leaves does not depend on how many requests were open or in which order they were
 * answered, as far as the model's own answers do not.
 *
 * <p>{@link #stop} may be called from any thread; nothing else may.
 */
public final class EvalRunner implements AutoCloseable {
  private static final GenerationSettings NO_SETTINGS = new GenerationSettings(List.of(), 1);
  private static final long TICK_MILLIS = 100;
  private static final int MOST_A_BATCH = 256;

  /** Something that came back: an answer, or one that is judged, or why there is none. */
  private record Outcome(
      WorkList.Work work,
      EvalModel.@Nullable Reply reply,
      @Nullable ItemScores scores,
      @Nullable Throwable failure) {}

  private final EvalOptions options;
  private final WorkList list;
  private final ItemLog log;
  private final ArrayDeque<WorkList.Work> todo = new ArrayDeque<>();
  private final LinkedBlockingQueue<Outcome> outcomes = new LinkedBlockingQueue<>();
  private final Set<CompletableFuture<EvalModel.Reply>> asked = new HashSet<>();
  private final List<ItemRecord> records = new ArrayList<>();
  private final List<ItemTiming> costs = new ArrayList<>();
  private final Tally tally;
  private volatile boolean stopping;
  private int open;
  private int judging;

  private EvalRunner(EvalOptions options, WorkList list, ItemLog log) {
    this.options = options;
    this.list = list;
    this.log = log;
    tally = new Tally(list.work());
    // Items of other tasks, subjects or limits are told when identities are compared.
    for (ItemRecord record : log.done().values()) {
      if (list.has(record.key())) {
        tally.before(record, log.timings().get(record.key()), list.weight(record.key()));
      }
    }
    list.work().stream().filter(work -> !log.done().containsKey(work.key())).forEach(todo::add);
  }

  /**
   * Reads the tasks' data and opens the run's folder, before any model is loaded.
   *
   * @throws InvalidRequestException if data is missing or malformed, there is no such subject,
   *     another process makes this run, or programs are to be run and nothing runs them
   * @throws EvalException if the folder cannot be written
   */
  public static EvalRunner open(EvalOptions options) {
    return open(options, AppendFile::new);
  }

  static EvalRunner open(EvalOptions options, ItemLog.Opener opener) {
    for (var task : options.tasks()) {
      if (task.runsCode() && !options.predictOnly() && options.codeRunner().isEmpty()) {
        throw new InvalidRequestException(
            task.name() + ": programs to run and nothing that runs them (expected: a sandbox;"
                + " remedy: --predict-only, then eval score where there is one)");
      }
    }
    WorkList list = new WorkList(options);
    ItemLog log = ItemLog.open(options.out(), options.restart(), opener);
    return new EvalRunner(options, list, log);
  }

  /** Asks in another order, to show that it does not matter. */
  void shuffle(Random random) {
    List<WorkList.Work> mixed = new ArrayList<>(todo);
    Collections.shuffle(mixed, random);
    todo.clear();
    todo.addAll(mixed);
  }

  /** Items of the run. */
  public int total() {
    return list.work().size();
  }

  /** Items that were done before this process. */
  public int before() {
    return total() - todo.size();
  }

  /** Lines that were not whole and are done again. */
  public int damaged() {
    return log.damaged();
  }

  /**
   * What the model is asked for an item of this run; null for items of other runs.
   *
   * @param model the one that is asked
   */
  public Function<ItemRecord, @Nullable SentPrompt> sent(EvalModel model) {
    Map<ItemKey, WorkList.Work> work = new HashMap<>();
    list.work().forEach(one -> work.put(one.key(), one));
    return record -> {
      WorkList.Work one = work.get(record.key());
      return one == null
          ? null
          : new SentPrompt(
              model.rendered(one.item()), model.continuations(one.item()),
              one.task().generation().orElse(NO_SETTINGS));
    };
  }

  /** Asks no more and cancels what is asked. What is done is kept. Idempotent. */
  public void stop() {
    stopping = true;
  }

  /**
   * Does what is left.
   *
   * @param listener told about ten times a second how far it is, on this thread
   * @return the run as it is now; complete unless it was stopped
   * @throws InvalidRequestException if the folder's run was begun with another model, other data
   *     or other settings; the message names the field
   * @throws SluiceException as the model fails; what was done is kept
   * @throws EvalException as above, and if the folder cannot be written
   */
  public EvalRun run(EvalModel model, Consumer<EvalProgress> listener) {
    CompletableFuture<RunManifest> manifest = new CompletableFuture<>();
    Thread teller = manifest(model, manifest);
    try {
      return run(model, listener, manifest);
    } finally {
      ended(teller);
    }
  }

  /** Ends a thread, so that nothing of this run goes on behind it. */
  private static void ended(Thread thread) {
    boolean interrupted = Thread.interrupted();
    thread.interrupt();
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private EvalRun run(
      EvalModel model,
      Consumer<EvalProgress> listener,
      CompletableFuture<RunManifest> manifest) {
    if (log.manifest().isPresent()) {
      log.manifest().get().requireSame(joined(manifest), options.out());
    }
    ExecutorService judges = Executors.newFixedThreadPool(options.codeWorkers(), EvalRunner::judge);
    tally.begin();
    try {
      if (options.codeRunner().isPresent() && !options.predictOnly()) {
        AnswerJudge.judge(log, options.tasks(), options.codeRunner().get(), judges)
            .forEach(tally::judged);
      }
      long told = 0;
      while (true) {
        fill(model);
        // Who stops does not wait for programs: their answers are asked again.
        if (open == 0 && outcomes.isEmpty() && (judging == 0 || stopping)) {
          break;
        }
        await(model, judges);
        // Nothing is written, and so nothing told as done, before what it was made with is.
        if (manifest.isDone() || records.size() >= MOST_A_BATCH) {
          write(joined(manifest));
        }
        if (System.nanoTime() - told > TimeUnit.MILLISECONDS.toNanos(TICK_MILLIS)) {
          told = System.nanoTime();
          listener.accept(tally.progress());
        }
      }
      if (!stopping || !records.isEmpty()) {
        write(joined(manifest));
      }
      listener.accept(tally.progress());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      stopping = true;
    } catch (RuntimeException e) {
      keepAnswers(manifest, e);
      throw e;
    } finally {
      asked.forEach(future -> future.cancel(true));
      judges.shutdownNow();
    }
    return log.manifest().isPresent()
        ? EvalRun.read(options.out())
        : new EvalRun(
            options.out(), new RunManifest(Map.of(), Map.of(), list.tasks()), log.done(), 0);
  }

  private static Thread judge(Runnable work) {
    Thread thread = new Thread(work, "sluice-eval-judge");
    thread.setDaemon(true);
    return thread;
  }

  // Hashes of large files take a while: the first answers come meanwhile.
  private Thread manifest(EvalModel model, CompletableFuture<RunManifest> out) {
    String started = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
    Thread thread =
        new Thread(
            () -> {
              try {
                Map<String, String> identity = new LinkedHashMap<>(model.identity());
                identity.putAll(list.identity());
                Map<String, String> environment = new LinkedHashMap<>();
                environment.put("started", started);
                environment.putAll(model.environment());
                for (String name :
                    List.of("java.vm.name", "java.runtime.version", "os.name", "os.version")) {
                  environment.put(name, String.valueOf(System.getProperty(name)));
                }
                environment.putAll(options.environment().get());
                out.complete(new RunManifest(identity, environment, list.tasks()));
              } catch (Throwable e) {
                out.completeExceptionally(e);
              }
            },
            "sluice-eval-manifest");
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private static RunManifest joined(CompletableFuture<RunManifest> manifest) {
    try {
      return manifest.join();
    } catch (CompletionException e) {
      throw rethrown(e.getCause() == null ? e : e.getCause());
    }
  }

  private void fill(EvalModel model) {
    while (!stopping && open < model.window() && !todo.isEmpty()) {
      WorkList.Work work = todo.poll();
      open++;
      CompletableFuture<EvalModel.Reply> future =
          model.ask(work.item(), work.task().generation().orElse(NO_SETTINGS));
      asked.add(future);
      future.whenComplete(
          (reply, failure) -> outcomes.add(new Outcome(work, reply, null, failure)));
      asked.removeIf(CompletableFuture::isDone);
    }
  }

  /** Waits a moment for something to come back, and takes all that is there. */
  private void await(EvalModel model, ExecutorService judges) throws InterruptedException {
    if (stopping) {
      List.copyOf(asked).forEach(future -> future.cancel(true));
    }
    Outcome outcome = outcomes.poll(TICK_MILLIS, TimeUnit.MILLISECONDS);
    while (outcome != null) {
      take(outcome, model, judges);
      outcome = records.size() < MOST_A_BATCH ? outcomes.poll() : null;
    }
  }

  private void take(Outcome outcome, EvalModel model, ExecutorService judges) {
    WorkList.Work work = outcome.work();
    if (outcome.scores() != null) {
      judging--;
    } else {
      open--;
    }
    Throwable failure = outcome.failure();
    if (failure != null) {
      if (stopping && isCancelled(failure)) {
        return;
      }
      throw rethrown(failure);
    }
    EvalModel.Reply reply = outcome.reply();
    if (reply == null) {
      throw new IllegalStateException("reply: none and no failure (a defect of the model)");
    }
    if (outcome.scores() != null) {
      keep(model, work, reply, outcome.scores());
    } else if (!work.task().runsCode()) {
      keep(model, work, reply, work.task().scores(work.item(), reply.answer(), CodeRunner.NONE));
    } else if (options.predictOnly()) {
      keep(model, work, reply, new ItemScores(Map.of(), Map.of()));
    } else {
      judging++;
      judges.execute(() -> outcomes.add(judged(work, reply)));
    }
  }

  private Outcome judged(WorkList.Work work, EvalModel.Reply reply) {
    ItemScores none = new ItemScores(Map.of(), Map.of());
    try {
      return new Outcome(work, reply, work.task().scores(work.item(), reply.answer(), options.codeRunner().orElseThrow()), null);
    } catch (Throwable e) {
      return new Outcome(work, reply, none, e);
    }
  }

  private void keep(
      EvalModel model, WorkList.Work work, EvalModel.Reply reply, ItemScores scores) {
    EvalItem item = work.item();
    records.add(
        ItemRecord.of(
            work.task().name(), item, model.rendered(item), reply.answer(), scores));
    costs.add(ItemTiming.of(work.key(), reply));
  }

  private void write(RunManifest manifest) {
    if (log.manifest().isEmpty()) {
      log.begin(manifest);
    }
    if (!records.isEmpty()) {
      log.append(records, costs);
      for (int i = 0; i < records.size(); i++) {
        tally.done(records.get(i), costs.get(i), list.weight(records.get(i).key()));
      }
      records.clear();
      costs.clear();
    }
  }

  // What was answered before something failed.
  private void keepAnswers(CompletableFuture<RunManifest> manifest, RuntimeException failure) {
    try {
      if (manifest.isDone() && !manifest.isCompletedExceptionally()) {
        write(manifest.join());
      }
    } catch (RuntimeException e) {
      failure.addSuppressed(e);
    }
  }

  private static boolean isCancelled(Throwable failure) {
    return failure instanceof CancellationException
        || failure instanceof CompletionException
            && failure.getCause() instanceof CancellationException
        || failure instanceof EvalException;
  }

  private static RuntimeException rethrown(Throwable failure) {
    Throwable cause =
        failure instanceof CompletionException && failure.getCause() != null
            ? failure.getCause()
            : failure;
    if (cause instanceof RuntimeException known) {
      return known;
    }
    return new EvalException("item: " + cause + " (expected: an answer)", cause);
  }

  /** Lets go of the folder. */
  @Override
  public void close() {
    log.close();
  }
}
