package ai.sluice.api;

import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * How an engine is opened. Immutable and thread-safe. What is left unset is decided once when the
 * engine opens, logged, and told by {@link ModelInfo}.
 */
public final class EngineOptions {
  private final Path model;
  private final Backend backend;
  private final ComputeDtype dtype;
  private final Numerics numerics;
  private final @Nullable Integer threads;
  private final int tensorParallelSize;
  private final @Nullable Integer maxContextLength;
  private final @Nullable Long kvCacheBytes;
  private final int maxSequences;
  private final @Nullable Integer maxStepTokens;
  private final @Nullable Integer blockSize;
  private final int maxQueuedRequests;
  private final int maxLogprobs;
  private final int maxQueuedTokens;
  private final int maxDraftTokens;
  private final int maxUnreadBytes;
  private final ReasoningFormat reasoningFormat;
  private final ToolCallFormat toolCallFormat;
  private final boolean overlap;
  private final boolean prefixCache;
  private final boolean reportExpertCounts;
  private final @Nullable Path cublasLtPath;
  private final @Nullable LoadListener loadListener;

  private EngineOptions(Builder builder) {
    if (builder.model == null) {
      throw new InvalidRequestException(
          "model: not set (expected: a GGUF file or a folder with config.json)");
    }
    if (builder.maxStepTokens != null && builder.maxStepTokens < builder.maxSequences) {
      throw Check.fail(
          "maxStepTokens",
          builder.maxStepTokens,
          "at least maxSequences = " + builder.maxSequences + ", one token for each");
    }
    model = builder.model;
    backend = builder.backend;
    dtype = builder.dtype;
    numerics = builder.numerics;
    threads = builder.threads;
    tensorParallelSize = builder.tensorParallelSize;
    maxContextLength = builder.maxContextLength;
    kvCacheBytes = builder.kvCacheBytes;
    maxSequences = builder.maxSequences;
    maxStepTokens = builder.maxStepTokens;
    blockSize = builder.blockSize;
    maxQueuedRequests = builder.maxQueuedRequests;
    maxLogprobs = builder.maxLogprobs;
    maxQueuedTokens = builder.maxQueuedTokens;
    maxDraftTokens = builder.maxDraftTokens;
    maxUnreadBytes = builder.maxUnreadBytes;
    reasoningFormat = builder.reasoningFormat;
    toolCallFormat = builder.toolCallFormat;
    overlap = builder.overlap;
    prefixCache = builder.prefixCache;
    reportExpertCounts = builder.reportExpertCounts;
    cublasLtPath = builder.cublasLtPath;
    loadListener = builder.loadListener;
  }

  /** Starts with the defaults; only the model must be set. */
  public static Builder builder() {
    return new Builder();
  }

  /** A builder that starts with these options. */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.model = model;
    builder.backend = backend;
    builder.dtype = dtype;
    builder.numerics = numerics;
    builder.threads = threads;
    builder.tensorParallelSize = tensorParallelSize;
    builder.maxContextLength = maxContextLength;
    builder.kvCacheBytes = kvCacheBytes;
    builder.maxSequences = maxSequences;
    builder.maxStepTokens = maxStepTokens;
    builder.blockSize = blockSize;
    builder.maxQueuedRequests = maxQueuedRequests;
    builder.maxLogprobs = maxLogprobs;
    builder.maxQueuedTokens = maxQueuedTokens;
    builder.maxDraftTokens = maxDraftTokens;
    builder.maxUnreadBytes = maxUnreadBytes;
    builder.reasoningFormat = reasoningFormat;
    builder.toolCallFormat = toolCallFormat;
    builder.overlap = overlap;
    builder.prefixCache = prefixCache;
    builder.reportExpertCounts = reportExpertCounts;
    builder.cublasLtPath = cublasLtPath;
    builder.loadListener = loadListener;
    return builder;
  }

  /** A GGUF file, or a folder with config.json and safetensors files. */
  public Path model() {
    return model;
  }

  /** Where the model runs. Default AUTO. */
  public Backend backend() {
    return backend;
  }

  /** Number format of the arithmetic. Default AUTO. */
  public ComputeDtype dtype() {
    return dtype;
  }

  /** What results may depend on besides the request. Default FAST. */
  public Numerics numerics() {
    return numerics;
  }

  /** Threads that compute, of all ranks together; absent: one per core. */
  public OptionalInt threads() {
    return threads == null ? OptionalInt.empty() : OptionalInt.of(threads);
  }

  /** Ranks that share every layer of the model. Default 1. */
  public int tensorParallelSize() {
    return tensorParallelSize;
  }

  /** Longest sequence, prompt and new tokens together; absent: the model's, as memory allows. */
  public OptionalInt maxContextLength() {
    return maxContextLength == null ? OptionalInt.empty() : OptionalInt.of(maxContextLength);
  }

  /** Memory for keys and values of all running sequences; absent: from what is free. */
  public OptionalLong kvCacheBytes() {
    return kvCacheBytes == null ? OptionalLong.empty() : OptionalLong.of(kvCacheBytes);
  }

  /** Most sequences that run at once; others wait. Default 16. */
  public int maxSequences() {
    return maxSequences;
  }

  /**
   * Most tokens that one step computes; longer prompts are prefilled in chunks. Absent: 512 on the
   * CPU, 4096 on a GPU, which needs that many to be busy, and never less than maxSequences.
   */
  public OptionalInt maxStepTokens() {
    return maxStepTokens == null ? OptionalInt.empty() : OptionalInt.of(maxStepTokens);
  }

  /**
   * Tokens per block of the KV cache. Absent: 16 on the CPU; 64 on a GPU, whose prefill reads
   * shorter blocks up to a quarter slower.
   */
  public OptionalInt blockSize() {
    return blockSize == null ? OptionalInt.empty() : OptionalInt.of(blockSize);
  }

  /** Most requests that wait; further ones are rejected. Default 1024. */
  public int maxQueuedRequests() {
    return maxQueuedRequests;
  }

  /** Most likeliest tokens that a request may ask for per position. Default 20. */
  public int maxLogprobs() {
    return maxLogprobs;
  }

  /** Most prompt tokens of requests that wait. */
  public int maxQueuedTokens() {
    return maxQueuedTokens;
  }

  /** Most tokens in a draft; 0: no speculation. */
  public int maxDraftTokens() {
    return maxDraftTokens;
  }

  /** Most bytes of output by which a reader of chunks may lag behind. Default 262,144. */
  public int maxUnreadBytes() {
    return maxUnreadBytes;
  }

  /** How reasoning is marked, unless a request says otherwise. Default AUTO. */
  public ReasoningFormat reasoningFormat() {
    return reasoningFormat;
  }

  /** How calls of tools are marked, unless a request says otherwise. Default AUTO. */
  public ToolCallFormat toolCallFormat() {
    return toolCallFormat;
  }

  /** Whether the next step is planned while one runs. Default true; off only to compare. */
  public boolean overlap() {
    return overlap;
  }

  /** Whether a prompt's state is kept for prompts that begin with the same tokens. Default true. */
  public boolean prefixCache() {
    return prefixCache;
  }

  /** Whether tokens per expert are counted, for {@link ExpertLoad}. Default false. */
  public boolean reportExpertCounts() {
    return reportExpertCounts;
  }

  /** File or folder of cuBLASLt, for numerics FAST on a GPU; absent: where the system has it. */
  public Optional<Path> cublasLtPath() {
    return Optional.ofNullable(cublasLtPath);
  }

  /** Watches the load, if set. */
  public Optional<LoadListener> loadListener() {
    return Optional.ofNullable(loadListener);
  }

  @Override
  public String toString() {
    return "EngineOptions[model=" + model + ", backend=" + backend + ", dtype=" + dtype
        + ", numerics=" + numerics + ", threads=" + (threads == null ? "auto" : threads)
        + ", tensorParallelSize=" + tensorParallelSize
        + ", maxContextLength=" + (maxContextLength == null ? "auto" : maxContextLength)
        + ", kvCacheBytes=" + (kvCacheBytes == null ? "auto" : kvCacheBytes)
        + ", maxSequences=" + maxSequences
        + ", maxStepTokens=" + (maxStepTokens == null ? "auto" : maxStepTokens)
        + ", blockSize=" + (blockSize == null ? "auto" : blockSize)
        + ", maxQueuedRequests=" + maxQueuedRequests
        + ", maxQueuedTokens=" + maxQueuedTokens + ", maxLogprobs=" + maxLogprobs
        + ", maxDraftTokens=" + maxDraftTokens + ", maxUnreadBytes=" + maxUnreadBytes
        + ", overlap=" + overlap
        + ", prefixCache=" + prefixCache
        + ", reportExpertCounts=" + reportExpertCounts
        + (cublasLtPath == null ? "" : ", cublasLtPath=" + cublasLtPath) + "]";
  }

  /** Collects options; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private @Nullable Path model;
    private Backend backend = Backend.AUTO;
    private ComputeDtype dtype = ComputeDtype.AUTO;
    private Numerics numerics = Numerics.FAST;
    private @Nullable Integer threads;
    private int tensorParallelSize = 1;
    private @Nullable Integer maxContextLength;
    private @Nullable Long kvCacheBytes;
    private int maxSequences = 16;
    private @Nullable Integer maxStepTokens;
    private @Nullable Integer blockSize;
    private int maxQueuedRequests = 1024;
    private int maxLogprobs = 20;
    private int maxQueuedTokens = 1 << 20;
    private int maxDraftTokens;
    private int maxUnreadBytes = 256 << 10;
    private ReasoningFormat reasoningFormat = ReasoningFormat.AUTO;
    private ToolCallFormat toolCallFormat = ToolCallFormat.AUTO;
    private boolean overlap = true;
    private boolean prefixCache = true;
    private boolean reportExpertCounts;
    private @Nullable Path cublasLtPath;
    private @Nullable LoadListener loadListener;

    private Builder() {}

    /** Sets the checkpoint: a GGUF file, or a folder with config.json and safetensors files. */
    public Builder model(Path path) {
      model = Check.given("model", path);
      return this;
    }

    /** Sets where the model runs. */
    public Builder backend(Backend value) {
      backend = Check.given("backend", value);
      return this;
    }

    /** Sets the number format of the arithmetic. */
    public Builder dtype(ComputeDtype value) {
      dtype = Check.given("dtype", value);
      return this;
    }

    /** Sets what results may depend on besides the request. */
    public Builder numerics(Numerics value) {
      numerics = Check.given("numerics", value);
      return this;
    }

    /**
     * Sets the threads that compute, of all ranks together.
     *
     * @param value 1 to 1024
     * @throws InvalidRequestException if it is out of range
     */
    public Builder threads(int value) {
      threads = Check.range("threads", value, 1, 1024);
      return this;
    }

    /**
     * Sets how many ranks share every layer: each holds its part of the heads, of the feed-forward
     * and of the vocabulary, and they add their results. Sums are added in another order than by one
     * rank, so results differ by rounding. On the CPU the ranks are threads of this process.
     *
     * @param value 1 to 1024; the model's attention heads must be a multiple of it, checked at load
     * @throws InvalidRequestException if it is out of range
     */
    public Builder tensorParallelSize(int value) {
      tensorParallelSize = Check.range("tensorParallelSize", value, 1, 1024);
      return this;
    }

    /**
     * Sets the longest sequence, in tokens.
     *
     * @param value 2 to 16,777,216; at most the model's own limit, which is checked at load
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxContextLength(int value) {
      maxContextLength = Check.range("maxContextLength", value, 2, 1 << 24);
      return this;
    }

    /**
     * Sets the memory for keys and values.
     *
     * @param value 1 to 2^50 bytes; must hold one sequence of maxContextLength, checked at load
     * @throws InvalidRequestException if it is out of range
     */
    public Builder kvCacheBytes(long value) {
      kvCacheBytes = Check.range("kvCacheBytes", value, 1, 1L << 50);
      return this;
    }

    /**
     * Sets the most sequences that run at once.
     *
     * @param value 1 to 4096
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxSequences(int value) {
      maxSequences = Check.range("maxSequences", value, 1, 4096);
      return this;
    }

    /**
     * Sets the most tokens that one step computes. More makes prefill faster and needs more
     * workspace.
     *
     * @param value 1 to 65,536, at least maxSequences
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxStepTokens(int value) {
      maxStepTokens = Check.range("maxStepTokens", value, 1, 1 << 16);
      return this;
    }

    /**
     * Sets the tokens per block of the KV cache.
     *
     * @param value a power of two from 4 to 256
     * @throws InvalidRequestException if it is another number
     */
    public Builder blockSize(int value) {
      if (value < 4 || value > 256 || Integer.bitCount(value) != 1) {
        throw Check.fail("blockSize", value, "4, 8, 16, 32, 64, 128 or 256");
      }
      blockSize = value;
      return this;
    }

    /**
     * Sets the most requests that wait.
     *
     * @param value 1 to 1,000,000
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxQueuedRequests(int value) {
      maxQueuedRequests = Check.range("maxQueuedRequests", value, 1, 1_000_000);
      return this;
    }

    /**
     * Sets the most likeliest tokens that a request may ask for per position.
     *
     * @param value 0 to {@link GenerationRequest#MAX_LOGPROBS}
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxLogprobs(int value) {
      maxLogprobs = Check.range("maxLogprobs", value, 0, GenerationRequest.MAX_LOGPROBS);
      return this;
    }

    /**
     * Sets the most prompt tokens of requests that wait. A request that finds nobody waiting may be
     * longer.
     *
     * @param value 1 or more
     * @throws InvalidRequestException if it is less than 1
     */
    public Builder maxQueuedTokens(int value) {
      maxQueuedTokens = Check.range("maxQueuedTokens", value, 1, Integer.MAX_VALUE);
      return this;
    }

    /**
     * Sets the most tokens in a draft. Drafts are guessed from what the sequence said before and
     * checked in one step; they change no token, and help where answers repeat their prompts.
     *
     * @param value 0 (no speculation) to 16
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxDraftTokens(int value) {
      maxDraftTokens = Check.range("maxDraftTokens", value, 0, 16);
      return this;
    }

    /**
     * Sets by how much a reader of a generation's chunks may lag behind; one that lags more has its
     * generation cancelled. A generation that nobody reads, but by its result, is not bound by it.
     *
     * @param value 1 to 2^30 bytes of UTF-8 text, or of tokens at 4 bytes each where that is more
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxUnreadBytes(int value) {
      maxUnreadBytes = Check.range("maxUnreadBytes", value, 1, 1 << 30);
      return this;
    }

    /** Sets how the model marks its reasoning, where its chat template does not show it. */
    public Builder reasoningFormat(ReasoningFormat value) {
      reasoningFormat = Check.given("reasoningFormat", value);
      return this;
    }

    /** Sets how the model marks its calls of tools, where its chat template does not show it. */
    public Builder toolCallFormat(ToolCallFormat value) {
      toolCallFormat = Check.given("toolCallFormat", value);
      return this;
    }

    /** Sets whether the next step is planned while one runs. */
    public Builder overlap(boolean value) {
      overlap = value;
      return this;
    }

    /** Sets whether a prompt's state is kept for prompts that begin with the same tokens. */
    public Builder prefixCache(boolean value) {
      prefixCache = value;
      return this;
    }

    /** Sets whether tokens per expert are counted; the model must have experts. */
    public Builder reportExpertCounts(boolean value) {
      reportExpertCounts = value;
      return this;
    }

    /** Sets the file or folder of cuBLASLt; CUDA cannot be used where it does not open. */
    public Builder cublasLtPath(@Nullable Path value) {
      cublasLtPath = value;
      return this;
    }

    /** Sets who watches the load. */
    public Builder loadListener(@Nullable LoadListener value) {
      loadListener = value;
      return this;
    }

    /**
     * Builds the options.
     *
     * @throws InvalidRequestException if no model is set, or maxStepTokens is below maxSequences
     */
    public EngineOptions build() {
      return new EngineOptions(this);
    }
  }
}
