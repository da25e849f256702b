package ai.sluice.core;

import ai.sluice.api.BatcherOptions;
import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.Backend;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.ExpertLoad;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.ScoreOutcome;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.SluiceException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.core.scheduler.EngineLoop;
import ai.sluice.core.scheduler.Scheduler;
import ai.sluice.core.scheduler.SchedulerCounters;
import ai.sluice.core.scheduler.StepMessage;
import ai.sluice.core.scheduler.StepOutput;
import ai.sluice.jni.LeakReport;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.SpecialTokens;
import ai.sluice.text.Tokenizer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A model ready for requests. Thread-safe, also from virtual threads; one engine serves any number
 * of callers, and batches what they ask for. The only object that owns native memory: close it.
 * Its threads are daemons, so a program may end without closing it.
 *
 * <pre>{@code
 * try (Engine engine = Engine.open(EngineOptions.builder().model(path).build());
 *     Generation generation = engine.submit(GenerationRequest.of("Why is the sky blue?"))) {
 *   for (Chunk chunk : generation) {
 *     System.out.print(chunk.text());
 *   }
 * }
 * }</pre>
 */
public final class Engine implements AutoCloseable {
  private static final AtomicInteger NUMBER = new AtomicInteger();
  private static final long CLOCK_ORIGIN = System.nanoTime();

  private final LoadedModel model;
  private final EngineOptions options;
  private final @Nullable Tokenizer tokenizer;
  private final PromptEncoder encoder;
  private final Submissions submissions;
  private final @Nullable ResponseFormats formats;
  private final Batchers batchers;
  private final ModelInfo modelInfo;
  private final SchedulerCounters counters;
  private final EngineLoop loop;
  private final ExecutorService pumps;
  private final ExecutorService results;
  private final AtomicBoolean closing = new AtomicBoolean();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final @Nullable LeakReport leakReport = LeakReport.watch(this, "engine");

  /**
   * Takes over a loaded model.
   *
   * @param lastStepId step that the model ran last, 0 if none
   */
  Engine(
      LoadedModel model, EngineOptions options, @Nullable Tokenizer tokenizer, long lastStepId) {
    this.model = model;
    this.options = options;
    this.tokenizer = tokenizer;
    Checkpoint checkpoint = model.checkpoint();
    counters = new SchedulerCounters(ExpertLoads.counts(options, model.options().spec()));
    int vocabSize = model.options().spec().getVocabSize();
    encoder = new PromptEncoder(checkpoint, tokenizer, vocabSize);
    SamplingResolver sampling =
        new SamplingResolver(checkpoint.sampling(), checkpoint.samplingSource(), vocabSize);
    EosTokens eosTokens =
        EosTokens.of(
            checkpoint.eosTokenIds(),
            tokenizer == null ? SpecialTokens.NONE : tokenizer.specialTokens(),
            vocabSize);
    int number = NUMBER.incrementAndGet();
    formats = tokenizer == null ? null : ResponseFormats.of(number, tokenizer, vocabSize);
    RequestPlanner planner =
        new RequestPlanner(
            model,
            encoder,
            sampling,
            eosTokens.ids(),
            tokenizer,
            formats,
            new OutputPlanner(encoder, tokenizer, options, vocabSize),
            options.prefixCache());
    modelInfo = ModelInfos.of(model, sampling.defaults(), eosTokens, tokenizer != null);
    batchers = new Batchers(number);
    pumps = EngineThreads.pumps(number);
    results = EngineThreads.results(number);
    int slots = model.engine().layout().numSlots();
    StepMessage[] messages = new StepMessage[slots];
    StepOutput[] outputs = new StepOutput[slots];
    for (int i = 0; i < slots; i++) {
      messages[i] = model.message(i);
      outputs[i] = model.output(i);
    }
    loop =
        new EngineLoop(
            "sluice-engine-" + number,
            new Scheduler(model.limits(), counters, lastStepId),
            counters,
            new NativeStepRunner(model.engine()),
            messages,
            outputs,
            model.options().maxSequences(),
            Engine::now);
    submissions =
        new Submissions(
            loop,
            planner,
            new ScoreEncoder(encoder),
            new ScorePlanner(model, planner.heads(), options.prefixCache()),
            tokenizer,
            new AdmissionQueue(options),
            counters,
            pumps,
            results,
            options.maxUnreadBytes(),
            Engine::now,
            this::requireOpen);
    try {
      loop.start();
    } catch (Throwable e) {
      Teardown.run(pumps::shutdown, results::shutdown);
      throw e;
    }
  }

  /**
   * Opens a checkpoint: reads it, allocates all memory, loads the weights. Blocks until the engine
   * is ready. An interrupt, or a {@link ai.sluice.api.LoadListener} that says so, aborts it.
   *
   * @throws ai.sluice.api.InvalidRequestException if an option contradicts the model
   * @throws ai.sluice.api.UnsupportedModelException if the model or what is asked of it is not
   *     supported
   * @throws ai.sluice.api.CheckpointFormatException if a file is missing or damaged
   * @throws ai.sluice.api.OutOfDeviceMemoryException if the model does not fit
   * @throws ai.sluice.api.NativeLoadException if the native library cannot be loaded
   * @throws EngineClosedException if the load was aborted
   */
  public static Engine open(EngineOptions options) {
    return EngineOpening.open(options);
  }

  /**
   * Works out the memory that a model needs, without loading it.
   *
   * @throws ai.sluice.api.OutOfDeviceMemoryException if it does not fit
   */
  public static MemoryPlan planMemory(EngineOptions options) {
    Checkpoint checkpoint = Checkpoint.open(options.model());
    return OptionResolver.resolve(options, checkpoint, OptionResolver.systemInfo()).memory();
  }

  /**
   * Where an engine of these options would run: automatic choice resolved.
   *
   * @throws SluiceException as {@link #open} where that backend cannot be had
   */
  public static Backend backendOf(EngineOptions options) {
    return BackendChoice.of(options, OptionResolver.systemInfo()).backend();
  }

  private static long now() {
    return System.nanoTime() - CLOCK_ORIGIN;
  }

  /**
   * Starts a generation. Returns at once; a full queue gives a generation that is over already,
   * with {@link FinishReason#REJECTED}.
   *
   * @throws ai.sluice.api.InvalidRequestException if the request does not fit the model, for
   *     example a prompt longer than the context
   * @throws ai.sluice.api.CheckpointFormatException if the request is text and the checkpoint has
   *     no tokenizer, or chat messages and it has no chat template
   * @throws EngineFailedException if the engine has failed
   * @throws EngineClosedException if the engine is closed
   */
  public Generation submit(GenerationRequest request) {
    requireOpen();
    try {
      return submissions.generate(request);
    } catch (QueueFullException e) {
      return submissions.rejected(request, e);
    }
  }

  /**
   * Starts a classification: the scores of one of the model's heads at the prompt's last position.
   * Returns at once; a full queue gives a result that says {@link FinishReason#REJECTED}.
   *
   * @return completes with the result, or exceptionally with {@link EngineFailedException};
   *     cancelling it, or completing it in any other way, ends the work
   * @throws ai.sluice.api.InvalidRequestException if the request does not fit the model
   * @throws ai.sluice.api.UnsupportedModelException if the model has no head that gives scores
   * @throws EngineFailedException if the engine has failed
   * @throws EngineClosedException if the engine is closed
   */
  public CompletableFuture<ClassificationResult> submit(ClassificationRequest request) {
    requireOpen();
    try {
      return submissions.classify(request);
    } catch (QueueFullException e) {
      submissions.countRejected();
      return CompletableFuture.completedFuture(
          Unstarted.classification(FinishReason.REJECTED, e.why()));
    }
  }

  /**
   * Classifies and waits for the scores. An interrupt cancels: the result then says {@link
   * FinishReason#CANCELLED}, and the thread stays interrupted.
   *
   * @throws SluiceException as {@link #submit(ClassificationRequest)}, and {@link
   *     EngineFailedException} if the engine fails meanwhile
   */
  public ClassificationResult classify(ClassificationRequest request) {
    return await(
        submit(request),
        () -> Unstarted.classification(FinishReason.CANCELLED, "interrupted"));
  }

  /** Classifies a plain prompt by the model's first head that gives scores. */
  public ClassificationResult classify(String prompt) {
    return classify(ClassificationRequest.of(prompt));
  }

  /**
   * Starts to score: how likely continuations of a prompt are, or a text by itself. What the
   * continuations share is computed once. Returns at once; a full queue gives a result that says
   * {@link FinishReason#REJECTED}.
   *
   * @return completes with the result, or exceptionally with {@link EngineFailedException};
   *     cancelling it, or completing it in any other way, ends the work
   * @throws ai.sluice.api.InvalidRequestException if the request does not fit the model, for
   *     example a continuation that ends beyond the context
   * @throws ai.sluice.api.CheckpointFormatException if an input is text and the checkpoint has no
   *     tokenizer, or chat messages and it has no chat template
   * @throws EngineFailedException if the engine has failed
   * @throws EngineClosedException if the engine is closed
   */
  public CompletableFuture<ScoreResult> submit(ScoreRequest request) {
    requireOpen();
    try {
      return submissions.score(request);
    } catch (QueueFullException e) {
      submissions.countRejected();
      return CompletableFuture.completedFuture(
          Unstarted.score(FinishReason.REJECTED, e.why()));
    }
  }

  /**
   * Scores and waits. An interrupt cancels: the result then says {@link FinishReason#CANCELLED},
   * and the thread stays interrupted.
   *
   * @throws SluiceException as {@link #submit(ScoreRequest)}, and {@link EngineFailedException} if
   *     the engine fails meanwhile
   */
  public ScoreResult score(ScoreRequest request) {
    return await(
        submit(request), () -> Unstarted.score(FinishReason.CANCELLED, "interrupted"));
  }

  /** The tokens of a request, as {@link #submit(ScoreRequest)} takes them, and throwing as that. */
  public ScoreTokens tokens(ScoreRequest request) {
    ScoreEncoder.Encoded encoded = submissions.encode(request);
    return new ScoreTokens(encoded.context(), encoded.continuations());
  }

  /**
   * Scores many requests, however many the queue takes, and waits for all. An interrupt cancels
   * what is not over; the thread stays interrupted.
   *
   * @return an outcome for each request, in their order: one that is refused does not end the
   *     others
   * @throws EngineClosedException if the engine is closed already
   */
  public List<ScoreOutcome> scoreAll(List<ScoreRequest> requests) {
    requireOpen();
    return RequestBatch.scores(
        requests,
        request -> {
          requireOpen();
          return submissions.score(request);
        },
        window());
  }

  /**
   * Gathers classifications and scores into batches; meant for many callers with one small request
   * each. Closing the engine fails what a batcher has not handed on.
   *
   * @return to be closed by the caller
   * @throws EngineFailedException if the engine has failed
   * @throws EngineClosedException if the engine is closed
   */
  public Batcher batcher(BatcherOptions batcherOptions) {
    requireOpen();
    return batchers.open(batcherOptions, submissions, results);
  }

  private static <T> T await(CompletableFuture<T> future, Supplier<T> interrupted) {
    try {
      return future.get();
    } catch (InterruptedException e) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      return interrupted.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof SluiceException cause) {
        throw cause;
      }
      throw new IllegalStateException("result: none (a defect of Sluice)", e);
    }
  }

  /**
   * Generates and waits for the end. An interrupt cancels: the result then says {@link
   * FinishReason#CANCELLED}, and the thread stays interrupted.
   *
   * @throws SluiceException as {@link #submit}, and {@link EngineFailedException} if
   *     the engine fails meanwhile
   */
  public GenerationResult generate(GenerationRequest request) {
    boolean interrupted = false;
    try (Generation generation = submit(request)) {
      while (true) {
        try {
          return generation.result().get();
        } catch (InterruptedException e) {
          interrupted = true;
          generation.cancel();
        } catch (ExecutionException e) {
          if (e.getCause() instanceof SluiceException cause) {
            throw cause;
          }
          throw new IllegalStateException("generation: failed (a defect of Sluice)", e);
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /**
   * Generates for many requests, however many the queue takes, and waits for all. An interrupt
   * cancels what is not over; the thread stays interrupted.
   *
   * @return an outcome for each request, in their order: one that is refused does not end the
   *     others
   * @throws EngineClosedException if the engine is closed already
   */
  public List<GenerationOutcome> generateAll(List<GenerationRequest> requests) {
    requireOpen();
    return RequestBatch.generations(
        requests,
        request -> {
          requireOpen();
          return submissions.generate(request);
        },
        window());
  }

  /** Requests of a batch that are open at once: half of the queue is left to others. */
  private int window() {
    return options.maxSequences() + (options.maxQueuedRequests() + 1) / 2;
  }

  /**
   * The model's tokenizer; it lives as long as the engine.
   *
   * @throws ai.sluice.api.CheckpointFormatException if the checkpoint has none
   */
  public Tokenizer tokenizer() {
    return encoder.requireTokenizer();
  }

  /**
   * The model's chat template.
   *
   * @throws ai.sluice.api.CheckpointFormatException if the checkpoint has none, or it is malformed
   */
  public ChatTemplate chatTemplate() {
    return encoder.requireTemplate();
  }

  /** How long the weights took, and how fast that was. */
  public WeightsLoad weightsLoad() {
    return model.weightsLoad();
  }

  /** What this engine runs, with every automatic choice resolved. On a GPU as things stand now. */
  public ModelInfo modelInfo() {
    return modelInfo.backend() == Backend.CUDA ? ModelInfos.now(modelInfo, model.info()) : modelInfo;
  }

  /** A snapshot of the counters; works on a closed engine too. */
  public EngineMetrics metrics() {
    return counters.snapshot(submissions.queue().waiting(), modelInfo.kvBlocks());
  }

  /**
   * How many tokens each expert has computed; works on a closed engine too.
   *
   * @throws ai.sluice.api.InvalidRequestException unless {@link EngineOptions#reportExpertCounts}
   */
  public ExpertLoad expertLoad() {
    return ExpertLoads.of(counters.expertCounts, model.options().spec());
  }

  private void requireOpen() {
    if (closing.get()) {
      throw new EngineClosedException("engine: closed (expected: open; open another)");
    }
    SluiceException failure = loop.failure();
    if (failure != null) {
      // Wrapped, because one exception thrown on many threads would show the wrong stack.
      throw new EngineFailedException(String.valueOf(failure.getMessage()), failure);
    }
  }

  /**
   * Ends open generations as cancelled, waits for the step in flight, frees everything. Harmless
   * when repeated, concurrent, during a stream, or from a consumer of chunks; every caller returns
   * after the memory is freed.
   */
  @Override
  public void close() {
    if (closing.compareAndSet(false, true)) {
      Teardown.run(
          loop::stop,
          batchers::engineClosed,
          () -> {
            if (formats != null) {
              formats.close();
            }
          },
          loop::join,
          model::close,
          () -> {
            if (tokenizer != null) {
              tokenizer.close();
            }
          },
          pumps::shutdown,
          results::shutdown,
          () -> {
            if (leakReport != null) {
              leakReport.closed();
            }
          },
          closed::countDown);
      return;
    }
    boolean interrupted = false;
    while (true) {
      try {
        closed.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
