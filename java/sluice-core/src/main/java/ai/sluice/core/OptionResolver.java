package ai.sluice.core;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.jni.NativeEngine;
import ai.sluice.jni.NativeLibrary;
import ai.sluice.proto.EngineInfo;
import ai.sluice.proto.Format;
import ai.sluice.proto.KvGroupInfo;
import ai.sluice.proto.LibraryInfo;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.SystemInfo;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes every automatic choice of the options: backend, dtype, threads, context length, KV blocks.
 * Memory is planned with the engine's own numbers before anything is allocated.
 */
final class OptionResolver {
  /** Most biased logits of one step; sequences with a bias beyond it wait a step. */
  private static final int MAX_STEP_BIASES = 1 << 16;

  /** Most targets of one step, and so of one position; sequences that are scored wait a step. */
  private static final int MAX_STEP_TARGETS = 1 << 14;

  /** Output rows of one step that sequences which are scored may have, though few generate. */
  private static final int MAX_SCORED_ROWS = 1024;

  /** Tokens of a step unless the options say: more would not be computed faster. */
  private static final int CPU_STEP_TOKENS = 512;

  private static final int GPU_STEP_TOKENS = 4096;

  /** Tokens of a block unless the options say. */
  private static final int CPU_BLOCK_SIZE = 16;

  private static final int GPU_BLOCK_SIZE = 64;

  /** What the engine leaves to the driver and to graphs; it refuses to take the rest too. */
  private static final long DEVICE_RESERVE_BYTES = 256L << 20;

  private static final String BFLOAT16_FEATURE = "avx512_bf16";

  private final EngineOptions options;
  private final Checkpoint checkpoint;
  private final SystemInfo system;
  private final BackendChoice choice;
  private final int blockSize;
  private final List<String> notes = new ArrayList<>();

  private OptionResolver(EngineOptions options, Checkpoint checkpoint, SystemInfo system) {
    this.checkpoint = checkpoint;
    this.system = system;
    choice = BackendChoice.of(options, withOwnLibraries(options, system));
    blockSize =
        options
            .blockSize()
            .orElse(choice.backend() == Backend.CUDA ? GPU_BLOCK_SIZE : CPU_BLOCK_SIZE);
    this.options = options;
  }

  /**
   * Resolves options for a checkpoint.
   *
   * @throws InvalidRequestException if an option contradicts the model
   * @throws UnsupportedModelException if this build lacks what is asked
   * @throws ai.sluice.api.NativeLoadException if CUDA is asked for and this machine lacks it
   * @throws ai.sluice.api.OutOfDeviceMemoryException if the model does not fit; names what is
   *     needed, what is free and what to change
   */
  static ResolvedOptions resolve(
      EngineOptions options, Checkpoint checkpoint, SystemInfo system) {
    return new OptionResolver(options, checkpoint, system).resolve();
  }

  /**
   * What the native library says of this machine; loads the library.
   *
   * @throws ai.sluice.api.NativeLoadException if it cannot be loaded
   */
  static SystemInfo systemInfo() {
    try {
      return SystemInfo.parseFrom(NativeLibrary.systemInfo());
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("SystemInfo: not readable (a defect of Sluice)", e);
    }
  }

  /** What the machine has, with the libraries that the options name in the place of those found. */
  static SystemInfo withOwnLibraries(EngineOptions options, SystemInfo system) {
    if (options.cublasLtPath().isEmpty() || options.backend() == Backend.CPU) {
      return system;
    }
    SystemInfo.Builder own = system.toBuilder().clearLibraries();
    system.getLibrariesList().stream()
        .filter(library -> !library.getName().equals(BackendChoice.CUBLAS))
        .forEach(own::addLibraries);
    try {
      own.addLibraries(
          LibraryInfo.parseFrom(
              NativeLibrary.libraryInfo(BackendChoice.CUBLAS, options.cublasLtPath().get())));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("LibraryInfo: not readable (a defect of Sluice)", e);
    }
    return own.build();
  }

  private ResolvedOptions resolve() {
    Backend backend = choice.backend();
    choice.note().ifPresent(notes::add);
    choice.warn();
    ComputeDtype dtype = dtype();
    int threads = options.threads().orElseGet(this::defaultThreads);
    int modelContext = checkpoint.maxPositions();
    int context = options.maxContextLength().orElse(modelContext);
    if (context > modelContext) {
      throw new InvalidRequestException(
          "maxContextLength: " + context + " (expected: at most " + modelContext
              + ", the positions that this model was made for)");
    }
    ModelSpec spec = specWithDynamicRope();
    if (options.reportExpertCounts() && ExpertLoads.mostExperts(spec) == 0) {
      throw new InvalidRequestException(
          "reportExpertCounts: true (expected: false, since this model has no experts)");
    }
    EngineInfo info = plan(spec, message(spec, backend, dtype, threads, context).build());
    long bytesPerBlock = 0;
    for (KvGroupInfo group : info.getKvGroupsList()) {
      // Of one rank; on the CPU all ranks take from the same memory, a GPU has its own.
      bytesPerBlock +=
          group.getBytesPerBlock() * (backend == Backend.CPU ? options.tensorParallelSize() : 1);
    }
    int blocks =
        new KvCacheSizer(
                options,
                blockSize,
                context,
                info.getWeightBytes(),
                info.getWorkspaceBytes(),
                sharedBytes(),
                backend == Backend.CPU ? KvCacheSizer.MACHINE_SHARE : KvCacheSizer.DEVICE_SHARE)
            .blocks(bytesPerBlock);
    int fitting = (int) Math.min(context, (long) blocks * blockSize);
    if (fitting < context) {
      notes.add(
          "maxContextLength: " + fitting + " of the model's " + context
              + ", as much as fits the memory of the KV cache");
    }
    ai.sluice.proto.EngineOptions.Builder message =
        message(spec, backend, dtype, threads, fitting);
    int[] numBlocks = new int[info.getKvGroupsCount()];
    for (int g = 0; g < numBlocks.length; g++) {
      numBlocks[g] = blocks;
      message.addNumBlocks(blocks);
    }
    MemoryPlan memory =
        new MemoryPlan(
            info.getWeightBytes(),
            blocks * bytesPerBlock,
            bytesPerBlock / blockSize,
            info.getWorkspaceBytes(),
            info.getHostBytes(),
            freeBytes(),
            fitting);
    return new ResolvedOptions(
        backend,
        choice.deviceIndices(options.tensorParallelSize()),
        dtype,
        options.numerics(),
        threads,
        fitting,
        options.maxSequences(),
        stepTokens(),
        blockSize,
        numBlocks,
        options.maxLogprobs(),
        spec,
        message.build(),
        memory,
        List.copyOf(notes));
  }

  /** Free memory that sizes may be taken from; -1 if unknown. */
  private long sharedBytes() {
    long free = freeBytes();
    return choice.backend() == Backend.CPU || free < 0
        ? free
        : Math.max(0, free - DEVICE_RESERVE_BYTES);
  }

  private ComputeDtype dtype() {
    if (options.dtype() != ComputeDtype.AUTO) {
      return options.dtype();
    }
    if (choice.backend() == Backend.CUDA) {
      notes.add("dtype: BFLOAT16, which the GPU's matrix units multiply");
      return ComputeDtype.BFLOAT16;
    }
    boolean native16 = system.getCpuFeaturesList().contains(BFLOAT16_FEATURE);
    notes.add(
        native16
            ? "dtype: BFLOAT16, which this processor multiplies natively"
            : "dtype: FLOAT32, since this processor lacks " + BFLOAT16_FEATURE);
    return native16 ? ComputeDtype.BFLOAT16 : ComputeDtype.FLOAT32;
  }

  private int stepTokens() {
    int usual = choice.backend() == Backend.CUDA ? GPU_STEP_TOKENS : CPU_STEP_TOKENS;
    return options.maxStepTokens().orElse(Math.max(usual, options.maxSequences()));
  }

  private int defaultThreads() {
    int cores = (int) Math.min(1024, system.getNumCores());
    // A container's limit is known to the JVM.
    int available = Runtime.getRuntime().availableProcessors();
    return Math.max(1, cores == 0 ? available : Math.min(cores, available));
  }

  /** Every running sequence may need frequencies of its own. */
  private ModelSpec specWithDynamicRope() {
    ModelSpec spec = checkpoint.modelSpec();
    if (checkpoint.dynamicRope().isEmpty()) {
      return spec;
    }
    int index = checkpoint.dynamicRope().get().ropeIndex();
    RopeSpec rope = spec.getRopes(index);
    return spec.toBuilder()
        .setRopes(index, rope.toBuilder().setNumDynamicVariants(options.maxSequences()))
        .build();
  }

  private ai.sluice.proto.EngineOptions.Builder message(
      ModelSpec spec, Backend backend, ComputeDtype dtype, int threads, int context) {
    Format format = dtype == ComputeDtype.FLOAT32 ? Format.F32 : Format.BF16;
    int maxSequences = options.maxSequences();
    int stepTokens = stepTokens();
    // A step of T tokens in S sequences opens at most T / block_size + S blocks a group, and a
    // window lets go of as many. A prefix that was found is told in as few steps as that allows.
    int groups = spec.getKvGroupsCount();
    long blockUpdates = 2L * (stepTokens / blockSize + maxSequences) * groups;
    ai.sluice.proto.EngineOptions.Builder message = ai.sluice.proto.EngineOptions.newBuilder();
    if (backend == Backend.CPU) {
      message.setOnednnPath(NativeLibrary.onednnPath().toString());
    } else {
      options.cublasLtPath().ifPresent(path -> message.setCublasltPath(path.toString()));
    }
    return message
        .setOptionsVersion(1)
        .setBackend(
            backend == Backend.CPU ? ai.sluice.proto.Backend.CPU : ai.sluice.proto.Backend.CUDA)
        .setComputeFormat(format)
        .setKvFormat(format)
        .setNumerics(
            options.numerics() == Numerics.FAST
                ? ai.sluice.proto.Numerics.FAST
                : ai.sluice.proto.Numerics.BATCH_INVARIANT)
        .setNumThreads(threads)
        .setTensorParallelSize(options.tensorParallelSize())
        .setBlockSize(blockSize)
        .setMaxSequences(maxSequences)
        .setMaxContextLen(context)
        .setMaxStepTokens(stepTokens)
        .setMaxStepOutputs(Math.max(maxSequences, Math.min(stepTokens, MAX_SCORED_ROWS)))
        .setStepSlots(options.overlap() ? 2 : 1)
        .setMaxTopN(options.maxLogprobs())
        .setMaxStepTargets(MAX_STEP_TARGETS)
        .setMaxStepMasks(maxSequences)
        .setMaxDraftLen(options.maxDraftTokens())
        .setMaxStepLogitBiases(
            (int) Math.min(MAX_STEP_BIASES, (long) maxSequences * Sampling.MAX_LOGIT_BIASES))
        .setReportExpertCounts(options.reportExpertCounts())
        // Of each admission: a reset, and the copy of a block in each group.
        .setMaxStepStateOps(maxSequences * (1 + groups))
        .setMaxStepBlockUpdates((int) blockUpdates)
        .setMaxStepCountUpdates(stepTokens);
  }

  private EngineInfo plan(ModelSpec spec, ai.sluice.proto.EngineOptions message) {
    int[] devices = choice.deviceIndices(options.tensorParallelSize());
    try {
      return EngineInfo.parseFrom(
          NativeEngine.plan(
              spec.toByteArray(), message.toByteArray(), devices, 0, devices.length, 0, 0));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("EngineInfo: not readable (a defect of Sluice)", e);
    }
  }

  private long freeBytes() {
    if (choice.backend() == Backend.CUDA) {
      return choice.freeBytes();
    }
    return system.hasMemoryFreeBytes() ? system.getMemoryFreeBytes() : -1;
  }
}
