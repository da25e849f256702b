package ai.sluice.api;

import java.time.Duration;

/** How requests are gathered into batches. Immutable and thread-safe. */
public final class BatcherOptions {
  private final int maxBatchSize;
  private final Duration maxWait;
  private final int maxSequenceLength;
  private final int maxQueuedRequests;

  private BatcherOptions(Builder builder) {
    maxBatchSize = builder.maxBatchSize;
    maxWait = builder.maxWait;
    maxSequenceLength = builder.maxSequenceLength;
    maxQueuedRequests = builder.maxQueuedRequests;
  }

  /** Starts with the defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /** The defaults. */
  public static BatcherOptions defaults() {
    return builder().build();
  }

  /** A builder that starts with these options. */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.maxBatchSize = maxBatchSize;
    builder.maxWait = maxWait;
    builder.maxSequenceLength = maxSequenceLength;
    builder.maxQueuedRequests = maxQueuedRequests;
    return builder;
  }

  /** Most requests of a batch. Default 32. */
  public int maxBatchSize() {
    return maxBatchSize;
  }

  /** Longest wait of a request for others to fill its batch. Default 100 ms. */
  public Duration maxWait() {
    return maxWait;
  }

  /** Most tokens that a sequence may have; longer ones are refused. Default 4096. */
  public int maxSequenceLength() {
    return maxSequenceLength;
  }

  /** Most requests that wait to be handed on; further ones are rejected. Default 16,384. */
  public int maxQueuedRequests() {
    return maxQueuedRequests;
  }

  @Override
  public String toString() {
    return "BatcherOptions[maxBatchSize=" + maxBatchSize + ", maxWait=" + maxWait
        + ", maxSequenceLength=" + maxSequenceLength + ", maxQueuedRequests=" + maxQueuedRequests
        + "]";
  }

  /** Collects options; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private int maxBatchSize = 32;
    private Duration maxWait = Duration.ofMillis(100);
    private int maxSequenceLength = 4096;
    private int maxQueuedRequests = 1 << 14;

    private Builder() {}

    /**
     * Sets the most requests of a batch.
     *
     * @param value 1 to 65,536
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxBatchSize(int value) {
      maxBatchSize = Check.range("maxBatchSize", value, 1, 1 << 16);
      return this;
    }

    /**
     * Sets the longest wait of a request for others to fill its batch.
     *
     * @param value zero (no wait) to an hour
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxWait(Duration value) {
      if (Check.given("maxWait", value).isNegative() || value.compareTo(Duration.ofHours(1)) > 0) {
        throw Check.fail("maxWait", value, "zero to an hour");
      }
      maxWait = value;
      return this;
    }

    /**
     * Sets the most tokens that a sequence may have: a prompt, or a prompt with a continuation but
     * for its last token.
     *
     * @param value 1 or more; the engine's context bounds it as well
     * @throws InvalidRequestException if it is less than 1
     */
    public Builder maxSequenceLength(int value) {
      maxSequenceLength = Check.range("maxSequenceLength", value, 1, Integer.MAX_VALUE);
      return this;
    }

    /**
     * Sets the most requests that wait to be handed on to the engine.
     *
     * @param value 1 to 1,000,000
     * @throws InvalidRequestException if it is out of range
     */
    public Builder maxQueuedRequests(int value) {
      maxQueuedRequests = Check.range("maxQueuedRequests", value, 1, 1_000_000);
      return this;
    }

    /** Builds the options. */
    public BatcherOptions build() {
      return new BatcherOptions(this);
    }
  }
}
