package ai.sluice.api;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * How tokens are chosen. Immutable and thread-safe. What is left unset comes from the checkpoint's
 * generation_config.json, else from the built-in defaults; {@link ModelInfo#sampling} says which.
 *
 * <p>Order of operations on the logits: repetition, frequency and presence penalty; bias; then
 * temperature, top-k, top-p and min-p on the softmax. Setting topK, topP or minP where neither the
 * request nor the checkpoint names a temperature means temperature 1, since greedy choice would
 * ignore them.
 */
public final class Sampling {
  private static final Sampling UNSET = new Builder().build();
  private static final Sampling GREEDY = new Builder().temperature(0).build();

  /** Entries of {@link #logitBias} that a request may have. */
  public static final int MAX_LOGIT_BIASES = 1024;

  private final @Nullable Double temperature;
  private final @Nullable Integer topK;
  private final @Nullable Double topP;
  private final @Nullable Double minP;
  private final @Nullable Double repetitionPenalty;
  private final @Nullable Double presencePenalty;
  private final @Nullable Double frequencyPenalty;
  private final Map<Integer, Float> logitBias;

  private Sampling(Builder builder) {
    temperature = builder.temperature;
    topK = builder.topK;
    topP = builder.topP;
    minP = builder.minP;
    repetitionPenalty = builder.repetitionPenalty;
    presencePenalty = builder.presencePenalty;
    frequencyPenalty = builder.frequencyPenalty;
    logitBias = Collections.unmodifiableMap(new LinkedHashMap<>(builder.logitBias));
  }

  /** Nothing set: the checkpoint's defaults are in force. */
  public static Sampling unset() {
    return UNSET;
  }

  /** Temperature 0: the largest logit wins, equal ones by the lower id. */
  public static Sampling greedy() {
    return GREEDY;
  }

  /** Starts with nothing set. */
  public static Builder builder() {
    return new Builder();
  }

  /** A builder that starts with these values. */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.temperature = temperature;
    builder.topK = topK;
    builder.topP = topP;
    builder.minP = minP;
    builder.repetitionPenalty = repetitionPenalty;
    builder.presencePenalty = presencePenalty;
    builder.frequencyPenalty = frequencyPenalty;
    builder.logitBias.putAll(logitBias);
    return builder;
  }

  /** Divides the logits; 0 is greedy choice. */
  public OptionalDouble temperature() {
    return optional(temperature);
  }

  /** Only this many likeliest tokens are drawn from; 0 is off. */
  public OptionalInt topK() {
    return topK == null ? OptionalInt.empty() : OptionalInt.of(topK);
  }

  /** Only the likeliest tokens that together reach this probability are drawn from; 1 is off. */
  public OptionalDouble topP() {
    return optional(topP);
  }

  /** Only tokens at least this share as likely as the likeliest are drawn from; 0 is off. */
  public OptionalDouble minP() {
    return optional(minP);
  }

  /** Divides positive, multiplies negative logits of tokens in prompt or output; 1 is off. */
  public OptionalDouble repetitionPenalty() {
    return optional(repetitionPenalty);
  }

  /** Subtracted from the logits of tokens in the output; 0 is off. */
  public OptionalDouble presencePenalty() {
    return optional(presencePenalty);
  }

  /** Times a token's count in the output, subtracted from its logit; 0 is off. */
  public OptionalDouble frequencyPenalty() {
    return optional(frequencyPenalty);
  }

  /** Added to the logits of these tokens; negative infinity forbids one. Unmodifiable. */
  public Map<Integer, Float> logitBias() {
    return logitBias;
  }

  private static OptionalDouble optional(@Nullable Double value) {
    return value == null ? OptionalDouble.empty() : OptionalDouble.of(value);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Sampling that
        && Objects.equals(temperature, that.temperature)
        && Objects.equals(topK, that.topK)
        && Objects.equals(topP, that.topP)
        && Objects.equals(minP, that.minP)
        && Objects.equals(repetitionPenalty, that.repetitionPenalty)
        && Objects.equals(presencePenalty, that.presencePenalty)
        && Objects.equals(frequencyPenalty, that.frequencyPenalty)
        && logitBias.equals(that.logitBias);
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty,
        logitBias);
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("Sampling[");
    append(text, "temperature", temperature);
    append(text, "topK", topK);
    append(text, "topP", topP);
    append(text, "minP", minP);
    append(text, "repetitionPenalty", repetitionPenalty);
    append(text, "presencePenalty", presencePenalty);
    append(text, "frequencyPenalty", frequencyPenalty);
    append(text, "logitBias", logitBias.isEmpty() ? null : logitBias.size() + " entries");
    return text.append(']').toString();
  }

  private static void append(StringBuilder text, String name, @Nullable Object value) {
    if (value != null) {
      text.append(text.charAt(text.length() - 1) == '[' ? "" : ", ");
      text.append(name).append('=').append(value);
    }
  }

  /** Collects sampling values; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private @Nullable Double temperature;
    private @Nullable Integer topK;
    private @Nullable Double topP;
    private @Nullable Double minP;
    private @Nullable Double repetitionPenalty;
    private @Nullable Double presencePenalty;
    private @Nullable Double frequencyPenalty;
    private final Map<Integer, Float> logitBias = new LinkedHashMap<>();

    private Builder() {}

    /**
     * Sets the temperature.
     *
     * @param value 0 to 100; 0 is greedy choice
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder temperature(double value) {
      temperature = Check.range("temperature", value, 0, 100);
      return this;
    }

    /**
     * Sets top-k.
     *
     * @param value 0 (off) or more; more than the vocabulary is the same as off
     * @throws InvalidRequestException if it is negative
     */
    public Builder topK(int value) {
      topK = Check.range("topK", value, 0, Integer.MAX_VALUE);
      return this;
    }

    /**
     * Sets top-p.
     *
     * @param value above 0, at most 1 (off)
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder topP(double value) {
      if (!(value > 0 && value <= 1)) {
        throw Check.fail("topP", value, "above 0, at most 1");
      }
      topP = value;
      return this;
    }

    /**
     * Sets min-p.
     *
     * @param value 0 (off) or more, below 1
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder minP(double value) {
      if (!(value >= 0 && value < 1)) {
        throw Check.fail("minP", value, "0 or more, below 1");
      }
      minP = value;
      return this;
    }

    /**
     * Sets the repetition penalty.
     *
     * @param value 0.01 to 100; 1 is off
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder repetitionPenalty(double value) {
      repetitionPenalty = Check.range("repetitionPenalty", value, 0.01, 100);
      return this;
    }

    /**
     * Sets the presence penalty.
     *
     * @param value -100 to 100; 0 is off
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder presencePenalty(double value) {
      presencePenalty = Check.range("presencePenalty", value, -100, 100);
      return this;
    }

    /**
     * Sets the frequency penalty.
     *
     * @param value -100 to 100; 0 is off
     * @throws InvalidRequestException if it is out of range or not a number
     */
    public Builder frequencyPenalty(double value) {
      frequencyPenalty = Check.range("frequencyPenalty", value, -100, 100);
      return this;
    }

    /**
     * Biases one token's logit.
     *
     * @param token the token's id, 0 or more; checked against the vocabulary at submit
     * @param bias a finite number, or negative infinity to forbid the token
     * @throws InvalidRequestException if either is out of range, or with more than {@link
     *     #MAX_LOGIT_BIASES} tokens
     */
    public Builder logitBias(int token, float bias) {
      Check.range("logitBias token", token, 0, Integer.MAX_VALUE);
      if (Float.isNaN(bias) || bias == Float.POSITIVE_INFINITY) {
        throw Check.fail("logitBias[" + token + "]", bias, "a finite number or -Infinity");
      }
      if (logitBias.size() >= MAX_LOGIT_BIASES && !logitBias.containsKey(token)) {
        throw Check.fail("logitBias", (MAX_LOGIT_BIASES + 1) + " entries",
            "at most " + MAX_LOGIT_BIASES);
      }
      logitBias.put(token, bias);
      return this;
    }

    /** Builds the sampling values. */
    public Sampling build() {
      return new Sampling(this);
    }
  }
}
