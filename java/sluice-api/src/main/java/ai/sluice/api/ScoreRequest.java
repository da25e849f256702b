package ai.sluice.api;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What to score: how likely a model finds continuations of a prompt, or a text by itself. Immutable
 * and thread-safe; may be submitted many times.
 *
 * <p>The prompt is exactly one of: a text, token ids as they are, or chat messages. Where prompt
 * and continuation are texts, they are split into tokens as evaluation harnesses do: white space at
 * the prompt's end goes to the continuation's start; both together are tokenized, and what comes after
 * as many tokens as the prompt alone has is the continuation, even if the tokenizer joins text
 * across the boundary. An empty prompt is the token that begins a document, or that ends one where
 * the tokenizer names none that begins one. Texts of special tokens become those tokens.
 */
public final class ScoreRequest {
  /** Continuations that a request may have. */
  public static final int MAX_CONTINUATIONS = 1024;

  private final @Nullable String prompt;
  private final int @Nullable [] promptTokens;
  private final List<ChatMessage> messages;
  private final List<String> continuations;
  private final List<int[]> continuationTokens;
  private final @Nullable String text;
  private final int @Nullable [] textTokens;
  private final String cacheSalt;
  private final int priority;
  private final @Nullable Duration timeout;
  private final @Nullable Duration queueTimeout;
  private final @Nullable String head;
  private final int logprobs;

  private ScoreRequest(Builder builder) {
    prompt = builder.prompt;
    promptTokens = builder.promptTokens;
    messages = builder.messages == null ? List.of() : builder.messages;
    continuations = builder.continuations;
    continuationTokens = builder.continuationTokens;
    text = builder.text;
    textTokens = builder.textTokens;
    cacheSalt = builder.cacheSalt;
    priority = builder.priority;
    timeout = builder.timeout;
    queueTimeout = builder.queueTimeout;
    head = builder.head;
    logprobs = builder.logprobs;
    int prompts =
        (prompt == null ? 0 : 1) + (promptTokens == null ? 0 : 1) + (messages.isEmpty() ? 0 : 1);
    int texts = (text == null ? 0 : 1) + (textTokens == null ? 0 : 1);
    if (prompts + texts != 1) {
      throw new InvalidRequestException(
          "input: " + (prompts + texts) + " given (expected: exactly one of prompt, promptTokens,"
              + " messages, text, textTokens)");
    }
    int given = (continuations.isEmpty() ? 0 : 1) + (continuationTokens.isEmpty() ? 0 : 1);
    if (given != prompts) {
      throw new InvalidRequestException(
          "continuations: " + given + " lists given (expected: "
              + (prompts == 1
                  ? "either continuations or continuationTokens"
                  : "none with a text, which is scored by itself")
              + ")");
    }
  }

  /** Starts a request. */
  public static Builder builder() {
    return new Builder();
  }

  /** A request for continuations of a prompt. */
  public static ScoreRequest of(String prompt, String... continuations) {
    return builder().prompt(prompt).continuations(List.of(continuations)).build();
  }

  /**
   * A request for a text by itself: each of its tokens after those before it. The first token has
   * no score unless the tokenizer puts one before it that begins a document.
   */
  public static ScoreRequest ofText(String text) {
    return builder().text(text).build();
  }

  /** The prompt text, if that is the input; may be empty. */
  public Optional<String> prompt() {
    return Optional.ofNullable(prompt);
  }

  /** A copy of the prompt's token ids, if they are the input. */
  public Optional<int[]> promptTokens() {
    return promptTokens == null ? Optional.empty() : Optional.of(promptTokens.clone());
  }

  /** The conversation, if that is the input; else empty. */
  public List<ChatMessage> messages() {
    return messages;
  }

  /** The continuations, if they are texts; else empty. */
  public List<String> continuations() {
    return continuations;
  }

  /** Copies of the continuations, if they are token ids; else empty. */
  public List<int[]> continuationTokens() {
    return continuationTokens.stream().map(int[]::clone).toList();
  }

  /** The text to score by itself, if that is the input. */
  public Optional<String> text() {
    return Optional.ofNullable(text);
  }

  /** A copy of the token ids to score by themselves, if they are the input. */
  public Optional<int[]> textTokens() {
    return textTokens == null ? Optional.empty() : Optional.of(textTokens.clone());
  }

  /** Requests of other salts do not share state with this one. Default empty. */
  public String cacheSalt() {
    return cacheSalt;
  }

  /** Who goes first: the higher number, and of equal ones who came first. Default 0. */
  public int priority() {
    return priority;
  }

  /** Longest time from submit to the end, queue time included; absent: none. */
  public Optional<Duration> timeout() {
    return Optional.ofNullable(timeout);
  }

  /** The longest wait until the request is computed at all; absent: none. */
  public Optional<Duration> queueTimeout() {
    return Optional.ofNullable(queueTimeout);
  }

  /** Name of the head whose distribution counts; absent: the model's first GENERATION head. */
  public Optional<String> head() {
    return Optional.ofNullable(head);
  }

  /** Likeliest tokens to report at the place of each scored token. Default 0. */
  public int logprobs() {
    return logprobs;
  }

  /** Sizes and settings; never the texts themselves, which may be private. */
  @Override
  public String toString() {
    String input =
        prompt != null
            ? "prompt=" + prompt.length() + " chars"
            : promptTokens != null
                ? "promptTokens=" + promptTokens.length
                : text != null
                    ? "text=" + text.length() + " chars"
                    : textTokens != null
                        ? "textTokens=" + textTokens.length
                        : "messages=" + messages.size();
    return "ScoreRequest[" + input + ", continuations="
        + (continuations.size() + continuationTokens.size())
        + (head == null ? "" : ", head=" + head) + "]";
  }

  /** Collects a request's values; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private @Nullable String prompt;
    private int @Nullable [] promptTokens;
    private @Nullable List<ChatMessage> messages;
    private List<String> continuations = List.of();
    private List<int[]> continuationTokens = List.of();
    private @Nullable String text;
    private int @Nullable [] textTokens;
    private String cacheSalt = "";
    private int priority;
    private @Nullable Duration timeout;
    private @Nullable Duration queueTimeout;
    private @Nullable String head;
    private int logprobs;

    private Builder() {}

    /**
     * Sets a plain prompt.
     *
     * @param value may be empty
     * @throws InvalidRequestException if it holds half a surrogate pair
     */
    public Builder prompt(String value) {
      Check.wholeCharacters("prompt", Check.given("prompt", value));
      prompt = value;
      return this;
    }

    /**
     * Sets token ids as the prompt; nothing is prepended. Works without a tokenizer.
     *
     * @param tokens at least one id, 0 or more; checked against the vocabulary at submit; copied
     * @throws InvalidRequestException if there is none or one is negative
     */
    public Builder promptTokens(int... tokens) {
      promptTokens = ids("promptTokens", tokens);
      return this;
    }

    /**
     * Sets a conversation, rendered ready for the assistant's answer.
     *
     * @param conversation at least one message; copied
     * @throws InvalidRequestException if there is none
     */
    public Builder messages(List<ChatMessage> conversation) {
      messages = GenerationRequest.builder().messages(conversation).build().messages();
      return this;
    }

    /**
     * Sets texts that may follow the prompt. Behind a prompt of token ids each is tokenized by
     * itself.
     *
     * @param texts 1 to {@link #MAX_CONTINUATIONS}, none empty; copied
     * @throws InvalidRequestException if there are too few or too many, or one is empty or holds
     *     half a surrogate pair
     */
    public Builder continuations(List<String> texts) {
      Check.range("continuations", Check.given("continuations", texts).size(), 1,
          MAX_CONTINUATIONS);
      for (int i = 0; i < texts.size(); i++) {
        String name = "continuations[" + i + "]";
        if (Check.given(name, texts.get(i)).isEmpty()) {
          throw new InvalidRequestException(name + ": empty (expected: at least one character)");
        }
        Check.wholeCharacters(name, texts.get(i));
      }
      continuations = List.copyOf(texts);
      return this;
    }

    /** The same as {@link #continuations(List)}. */
    public Builder continuations(String... texts) {
      return continuations(List.of(texts));
    }

    /**
     * Sets token ids that may follow the prompt.
     *
     * @param tokens 1 to {@link #MAX_CONTINUATIONS} arrays, each of at least one id, 0 or more;
     *     checked against the vocabulary at submit; copied
     * @throws InvalidRequestException if there are too few or too many, or one is empty or holds a
     *     negative id
     */
    public Builder continuationTokens(List<int[]> tokens) {
      Check.range("continuationTokens", Check.given("continuationTokens", tokens).size(), 1,
          MAX_CONTINUATIONS);
      List<int[]> copies = new ArrayList<>(tokens.size());
      for (int i = 0; i < tokens.size(); i++) {
        copies.add(ids("continuationTokens[" + i + "]", tokens.get(i)));
      }
      continuationTokens = List.copyOf(copies);
      return this;
    }

    /**
     * Sets a text that is scored by itself, as {@link ScoreRequest#ofText}.
     *
     * @param value not empty
     * @throws InvalidRequestException if it is empty or holds half a surrogate pair
     */
    public Builder text(String value) {
      if (Check.given("text", value).isEmpty()) {
        throw new InvalidRequestException("text: empty (expected: at least one character)");
      }
      Check.wholeCharacters("text", value);
      text = value;
      return this;
    }

    /**
     * Sets token ids that are scored by themselves: each after those before it, the first not.
     *
     * @param tokens at least two ids, 0 or more; checked against the vocabulary at submit; copied
     * @throws InvalidRequestException if there are fewer or one is negative
     */
    public Builder textTokens(int... tokens) {
      int[] copy = ids("textTokens", tokens);
      if (copy.length < 2) {
        throw new InvalidRequestException(
            "textTokens: 1 (expected: at least 2; the first token has no score)");
      }
      textTokens = copy;
      return this;
    }

    /** Sets whom it may share state with, as {@link GenerationRequest.Builder#cacheSalt}. */
    public Builder cacheSalt(String value) {
      Check.cacheSalt(value);
      cacheSalt = value;
      return this;
    }

    /** Sets who goes first, as {@link GenerationRequest.Builder#priority}. */
    public Builder priority(int value) {
      priority = value;
      return this;
    }

    /** Sets the longest time, as {@link GenerationRequest.Builder#timeout}. */
    public Builder timeout(Duration value) {
      timeout = Check.aboveZero("timeout", value);
      return this;
    }

    /** Sets the longest wait, as {@link GenerationRequest.Builder#queueTimeout}. */
    public Builder queueTimeout(Duration value) {
      queueTimeout = Check.aboveZero("queueTimeout", value);
      return this;
    }

    /**
     * Names the head whose distribution counts, where a model has several.
     *
     * @param name as {@link ModelInfo#heads()} lists it; checked at submit
     */
    public Builder head(String name) {
      head = Check.given("head", name);
      return this;
    }

    /**
     * Sets how many of the likeliest tokens to report at the place of each scored token.
     *
     * @param top 0 to {@link GenerationRequest#MAX_LOGPROBS}; the engine's {@code maxLogprobs}
     *     bounds it as well
     * @throws InvalidRequestException if it is out of range
     */
    public Builder logprobs(int top) {
      logprobs = Check.range("logprobs", top, 0, GenerationRequest.MAX_LOGPROBS);
      return this;
    }

    /**
     * Builds the request.
     *
     * @throws InvalidRequestException unless exactly one input is given, with continuations if it
     *     is a prompt and without if it is a text
     */
    public ScoreRequest build() {
      return new ScoreRequest(this);
    }

    private static int[] ids(String name, int[] tokens) {
      if (Check.given(name, tokens).length == 0) {
        throw new InvalidRequestException(name + ": empty (expected: at least one token id)");
      }
      for (int i = 0; i < tokens.length; i++) {
        Check.range(name + "[" + i + "]", tokens[i], 0, Integer.MAX_VALUE);
      }
      return tokens.clone();
    }
  }
}
