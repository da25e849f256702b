package ai.sluice.core;

import static ai.sluice.jni.SluiceAbi.SLUICE_WEIGHTS_LOAD;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.LoadListener;
import ai.sluice.api.LoadProgress;
import ai.sluice.api.LoadProgress.Phase;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.core.events.EngineEvents;
import ai.sluice.core.scheduler.RopeFrequencies;
import ai.sluice.core.scheduler.SchedulerLimits;
import ai.sluice.core.scheduler.StepMessage;
import ai.sluice.core.scheduler.StepOutput;
import ai.sluice.jni.NativeEngine;
import ai.sluice.proto.EngineInfo;
import ai.sluice.proto.FaultPoint;
import ai.sluice.proto.KvGroupSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.SystemInfo;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A checkpoint whose weights are in a native engine, ready for steps. Owns the engine. */
final class LoadedModel implements AutoCloseable {
  private static final long POLL_MICROS = 100_000;
  private static final Logger LOG = LoggerFactory.getLogger(Engine.class);
  private static final EngineEvents EVENTS = EngineEvents.create();

  private final Checkpoint checkpoint;
  private final ResolvedOptions options;
  private final NativeEngine engine;
  private volatile EngineInfo info;
  private final WeightsLoad weightsLoad;

  private LoadedModel(
      Checkpoint checkpoint,
      ResolvedOptions options,
      NativeEngine engine,
      EngineInfo info,
      WeightsLoad weightsLoad) {
    this.checkpoint = checkpoint;
    this.options = options;
    this.engine = engine;
    this.info = info;
    this.weightsLoad = weightsLoad;
  }

  /**
   * Allocates an engine and loads the weights.
   *
   * @throws EngineClosedException if the listener aborts or the thread is interrupted
   */
  static LoadedModel load(Checkpoint checkpoint, EngineOptions asked, SystemInfo system) {
    return load(checkpoint, asked, system, List.of());
  }

  /** Loads with faults asked for, which only tests do. */
  static LoadedModel load(
      Checkpoint checkpoint, EngineOptions asked, SystemInfo system, List<FaultPoint> faults) {
    Progress progress = new Progress(checkpoint, asked);
    progress.tell(Phase.ALLOCATE, 0, 0);
    EngineEvents.Phase allocation = EVENTS.load(Phase.ALLOCATE.name());
    ResolvedOptions options = OptionResolver.resolve(asked, checkpoint, system);
    int[] devices = options.devices();
    NativeEngine engine =
        NativeEngine.create(
            options.spec().toByteArray(),
            options.message().toBuilder().addAllFaults(faults).build().toByteArray(),
            devices,
            0,
            devices.length,
            null,
            0,
            0);
    allocation.end(options.memory().totalBytes());
    try {
      long begin = System.nanoTime();
      long fileBytes = loadWeights(engine, checkpoint, progress);
      EngineInfo info = EngineInfo.parseFrom(engine.info());
      WeightsLoad load =
          new WeightsLoad(
              info.getWeightBytes(),
              fileBytes,
              TimeUnit.NANOSECONDS.toMicros(System.nanoTime() - begin));
      LOG.info("weights of {}: {}", checkpoint.path(), load);
      progress.tell(Phase.READY, 0, 0);
      return new LoadedModel(checkpoint, options, engine, info, load);
    } catch (InvalidProtocolBufferException e) {
      engine.close();
      throw new IllegalStateException("EngineInfo: not readable (a defect of Sluice)", e);
    } catch (Throwable e) {
      engine.close();
      throw e;
    }
  }

  /** Returns the bytes that were read. */
  private static long loadWeights(NativeEngine engine, Checkpoint checkpoint, Progress progress) {
    engine.weightsBegin(SLUICE_WEIGHTS_LOAD);
    engine.weightsEnqueue(checkpoint.weights().toByteArray());
    EngineEvents.Phase reading = EVENTS.load(Phase.WEIGHTS.name());
    long[] counts = new long[4];
    boolean done;
    do {
      done = engine.weightsPoll(POLL_MICROS, counts);
      progress.tell(Phase.WEIGHTS, counts[2], counts[3]);
    } while (!done);
    reading.end(counts[3]);
    progress.tell(Phase.PACK, 0, 0);
    EngineEvents.Phase packing = EVENTS.load(Phase.PACK.name());
    engine.weightsFinish();
    packing.end(counts[3]);
    return counts[3];
  }

  /** Tells the listener, and ends the load when it says so or the thread was interrupted. */
  private record Progress(Checkpoint checkpoint, EngineOptions options) {
    void tell(Phase phase, long bytesDone, long bytesTotal) {
      LoadListener listener = options.loadListener().orElse(null);
      if (listener != null
          && !listener.onProgress(
              new LoadProgress(phase, checkpoint.path().toString(), bytesDone, bytesTotal))) {
        throw new EngineClosedException("load: aborted by its listener during " + phase);
      }
      if (Thread.currentThread().isInterrupted()) {
        throw new EngineClosedException("load: interrupted during " + phase);
      }
    }
  }

  Checkpoint checkpoint() {
    return checkpoint;
  }

  ResolvedOptions options() {
    return options;
  }

  NativeEngine engine() {
    return engine;
  }

  /** What the engine tells of itself now; once closed, what it told last. */
  EngineInfo info() {
    try {
      info = EngineInfo.parseFrom(engine.info());
    } catch (EngineClosedException e) {
      LOG.debug("engine info: of a closed engine, as it was told last");
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("EngineInfo: not readable (a defect of Sluice)", e);
    }
    return info;
  }

  /** How fast the weights came. */
  WeightsLoad weightsLoad() {
    return weightsLoad;
  }

  /** Sizes for a scheduler of this engine. */
  SchedulerLimits limits() {
    int[] retention =
        options.spec().getKvGroupsList().stream().mapToInt(KvGroupSpec::getRetention).toArray();
    return new SchedulerLimits(
        options.maxSequences(),
        options.maxStepTokens(),
        options.blockSize(),
        options.numBlocks(),
        retention);
  }

  /** Tokens that one sequence can ever hold the state of: the context, if the KV blocks suffice. */
  int mostTokens() {
    return Math.min(options.maxContextLength(), limits().maxPositions());
  }

  /** A writer for a slot's input area. */
  StepMessage message(int slot) {
    ModelSpec spec = options.spec();
    return new StepMessage(
        engine.input(slot),
        engine.layout(),
        spec.getPositionDims(),
        spec.getKvGroupsCount(),
        spec.getRopesCount(),
        spec.getVocabSize());
  }

  /** A reader for a slot's output area. */
  StepOutput output(int slot) {
    return new StepOutput(
        engine.output(slot),
        engine.layout(),
        options.message().getMaxDraftLen(),
        options.message().getMaxTopN(),
        new ModelHeads(options.spec()).maxValues());
  }

  /** Dynamic RoPE is fixed by the whole prompt's length; short prompts use the resident one. */
  List<RopeFrequencies> ropes(int promptLength) {
    Optional<DynamicRope> dynamic = checkpoint.dynamicRope();
    if (dynamic.isEmpty() || !dynamic.get().needsVariant(promptLength)) {
      return List.of();
    }
    DynamicRope rope = dynamic.get();
    RopeSpec spec = options.spec().getRopes(rope.ropeIndex());
    return List.of(
        new RopeFrequencies(
            rope.ropeIndex(),
            spec.getVariantsCount(),
            rope.inverseFrequencies(promptLength),
            spec.getVariants(0).getAttentionScale()));
  }

  @Override
  public void close() {
    engine.close();
  }
}
