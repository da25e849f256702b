package ai.sluice.api;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What to classify: the scores of a classification (or value) head at the last position of a
 * prompt. Immutable and thread-safe. The input is exactly one of: a prompt text, token ids as they
 * are, or chat messages.
 */
public final class ClassificationRequest {
  private final GenerationRequest input;
  private final @Nullable String head;

  private ClassificationRequest(GenerationRequest input, @Nullable String head) {
    this.input = input;
    this.head = head;
  }

  /** Starts a request. */
  public static Builder builder() {
    return new Builder();
  }

  /** A request with a plain prompt, by the model's first head that gives scores. */
  public static ClassificationRequest of(String prompt) {
    return builder().prompt(prompt).build();
  }

  /** The input, as a request for one token. */
  public GenerationRequest input() {
    return input;
  }

  /** Name of the head; absent: the model's first one that gives scores. */
  public Optional<String> head() {
    return Optional.ofNullable(head);
  }

  /** Sizes and settings; never the prompt itself, which may be private. */
  @Override
  public String toString() {
    return "ClassificationRequest[" + input + (head == null ? "" : ", head=" + head) + "]";
  }

  /** Collects a request's values; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private final GenerationRequest.Builder input = GenerationRequest.builder().maxNewTokens(1);
    private @Nullable String head;

    private Builder() {}

    /** Sets a plain prompt, as {@link GenerationRequest.Builder#prompt}. */
    public Builder prompt(String text) {
      input.prompt(text);
      return this;
    }

    /** Sets token ids, as {@link GenerationRequest.Builder#promptTokens}. */
    public Builder promptTokens(int... tokens) {
      input.promptTokens(tokens);
      return this;
    }

    /** Sets a conversation, as {@link GenerationRequest.Builder#messages}. */
    public Builder messages(List<ChatMessage> conversation) {
      input.messages(conversation);
      return this;
    }

    /** Sets whom it may share state with, as {@link GenerationRequest.Builder#cacheSalt}. */
    public Builder cacheSalt(String value) {
      input.cacheSalt(value);
      return this;
    }

    /** Sets who goes first, as {@link GenerationRequest.Builder#priority}. */
    public Builder priority(int value) {
      input.priority(value);
      return this;
    }

    /** Sets the longest time, as {@link GenerationRequest.Builder#timeout}. */
    public Builder timeout(Duration value) {
      input.timeout(value);
      return this;
    }

    /** Sets the longest wait, as {@link GenerationRequest.Builder#queueTimeout}. */
    public Builder queueTimeout(Duration value) {
      input.queueTimeout(value);
      return this;
    }

    /**
     * Names the head, where a model has several.
     *
     * @param name as {@link ModelInfo#heads()} lists it
     */
    public Builder head(String name) {
      head = Check.given("head", name);
      return this;
    }

    /**
     * Builds the request.
     *
     * @throws InvalidRequestException unless exactly one input is given
     */
    public ClassificationRequest build() {
      return new ClassificationRequest(input.build(), head);
    }
  }
}
