package ai.sluice.api;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * What to generate from, and how. Immutable and thread-safe; may be submitted many times.
 *
 * <p>The input is exactly one of: a prompt text (tokenized with the special tokens that the
 * tokenizer puts around a text), token ids as they are, or chat messages (rendered by the
 * checkpoint's chat template, ready for the assistant's answer).
 */
public final class GenerationRequest {
  /** Stop strings that a request may have. */
  public static final int MAX_STOP_STRINGS = 64;

  /** Characters that a stop string may have. */
  public static final int MAX_STOP_LENGTH = 1024;

  /** Characters that {@link Builder#cacheSalt} may have. */
  public static final int MAX_CACHE_SALT_LENGTH = 1024;

  /** Alternatives that {@link Builder#logprobs} may ask for. */
  public static final int MAX_LOGPROBS = 1000;

  /** Alternatives that {@link Builder#n} may ask for. */
  public static final int MAX_N = 128;

  private final @Nullable String prompt;
  private final int @Nullable [] promptTokens;
  private final List<ChatMessage> messages;
  private final List<ToolDefinition> tools;
  private final Map<String, @Nullable Object> templateVariables;
  private final Sampling sampling;
  private final @Nullable Integer maxNewTokens;
  private final List<String> stop;
  private final List<Integer> stopTokenIds;
  private final @Nullable Long seed;
  private final String cacheSalt;
  private final int priority;
  private final @Nullable Integer logprobs;
  private final @Nullable Duration timeout;
  private final @Nullable Duration queueTimeout;
  private final @Nullable Duration firstTokenTimeout;
  private final int n;
  private final ResponseFormat responseFormat;
  private final @Nullable Integer maxReasoningTokens;
  private final @Nullable ReasoningFormat reasoningFormat;
  private final @Nullable ToolCallFormat toolCallFormat;
  private final boolean literalContent;
  private final boolean speculation;
  private final boolean ignoreEos;
  private final @Nullable String head;

  private GenerationRequest(Builder builder) {
    int inputs =
        (builder.prompt == null ? 0 : 1)
            + (builder.promptTokens == null ? 0 : 1)
            + (builder.messages == null ? 0 : 1);
    if (inputs != 1) {
      throw new InvalidRequestException(
          "input: " + inputs + " given (expected: exactly one of prompt, promptTokens, messages)");
    }
    if (builder.messages == null && !builder.tools.isEmpty()) {
      throw new InvalidRequestException(
          "tools: " + builder.tools.size()
              + " given without messages (expected: tools beside messages; a plain prompt has no"
              + " place for them)");
    }
    prompt = builder.prompt;
    promptTokens = builder.promptTokens;
    messages = builder.messages == null ? List.of() : builder.messages;
    tools = builder.tools;
    templateVariables = builder.templateVariables;
    sampling = builder.sampling;
    maxNewTokens = builder.maxNewTokens;
    stop = builder.stop;
    stopTokenIds = builder.stopTokenIds;
    seed = builder.seed;
    cacheSalt = builder.cacheSalt;
    priority = builder.priority;
    logprobs = builder.logprobs;
    timeout = builder.timeout;
    queueTimeout = builder.queueTimeout;
    firstTokenTimeout = builder.firstTokenTimeout;
    n = builder.n;
    responseFormat = builder.responseFormat;
    maxReasoningTokens = builder.maxReasoningTokens;
    reasoningFormat = builder.reasoningFormat;
    toolCallFormat = builder.toolCallFormat;
    literalContent = builder.literalContent;
    speculation = builder.speculation;
    ignoreEos = builder.ignoreEos;
    head = builder.head;
  }

  /** Starts a request. */
  public static Builder builder() {
    return new Builder();
  }

  /** A request with a plain prompt and defaults for the rest. */
  public static GenerationRequest of(String prompt) {
    return builder().prompt(prompt).build();
  }

  /** A builder that starts with this request's values. */
  public Builder toBuilder() {
    Builder builder = new Builder();
    builder.prompt = prompt;
    builder.promptTokens = promptTokens;
    builder.messages = messages.isEmpty() ? null : messages;
    builder.tools = tools;
    builder.templateVariables = templateVariables;
    builder.sampling = sampling;
    builder.maxNewTokens = maxNewTokens;
    builder.stop = stop;
    builder.stopTokenIds = stopTokenIds;
    builder.seed = seed;
    builder.cacheSalt = cacheSalt;
    builder.priority = priority;
    builder.logprobs = logprobs;
    builder.timeout = timeout;
    builder.queueTimeout = queueTimeout;
    builder.firstTokenTimeout = firstTokenTimeout;
    builder.n = n;
    builder.responseFormat = responseFormat;
    builder.maxReasoningTokens = maxReasoningTokens;
    builder.reasoningFormat = reasoningFormat;
    builder.toolCallFormat = toolCallFormat;
    builder.literalContent = literalContent;
    builder.speculation = speculation;
    builder.ignoreEos = ignoreEos;
    builder.head = head;
    return builder;
  }

  /** The prompt text, if that is the input. */
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

  /** The tools that the model may call. */
  public List<ToolDefinition> tools() {
    return tools;
  }

  /** Further variables of the chat template. Unmodifiable. */
  public Map<String, @Nullable Object> templateVariables() {
    return templateVariables;
  }

  /** How tokens are chosen. */
  public Sampling sampling() {
    return sampling;
  }

  /** Most tokens to generate; absent: what the context has room for. */
  public OptionalInt maxNewTokens() {
    return maxNewTokens == null ? OptionalInt.empty() : OptionalInt.of(maxNewTokens);
  }

  /** Texts that end the generation and are not part of it. */
  public List<String> stop() {
    return stop;
  }

  /** Tokens that end the generation besides the checkpoint's end-of-sequence tokens. */
  public List<Integer> stopTokenIds() {
    return stopTokenIds;
  }

  /** Seed of the random choices; absent: drawn. */
  public OptionalLong seed() {
    return seed == null ? OptionalLong.empty() : OptionalLong.of(seed);
  }

  /** Requests of other salts do not share state with this one. Default empty. */
  public String cacheSalt() {
    return cacheSalt;
  }

  /** Who goes first: the higher number, and of equal ones who came first. Default 0. */
  public int priority() {
    return priority;
  }

  /** Likeliest tokens to report beside each token's log-probability; absent: neither. */
  public OptionalInt logprobs() {
    return logprobs == null ? OptionalInt.empty() : OptionalInt.of(logprobs);
  }

  /** Longest time from submit to the end, queue time included; absent: none. */
  public Optional<Duration> timeout() {
    return Optional.ofNullable(timeout);
  }

  /** The longest wait until the request is computed at all. */
  public Optional<Duration> queueTimeout() {
    return Optional.ofNullable(queueTimeout);
  }

  /** The longest wait for the first new token, queue time included. */
  public Optional<Duration> firstTokenTimeout() {
    return Optional.ofNullable(firstTokenTimeout);
  }

  /** How many alternatives are generated. */
  public int n() {
    return n;
  }

  /** The form that the answer must have. */
  public ResponseFormat responseFormat() {
    return responseFormat;
  }

  /** The most tokens that the model may reason with before it has to answer. */
  public OptionalInt maxReasoningTokens() {
    return maxReasoningTokens == null ? OptionalInt.empty() : OptionalInt.of(maxReasoningTokens);
  }

  /** How reasoning is marked; absent: as the engine's options say. */
  public Optional<ReasoningFormat> reasoningFormat() {
    return Optional.ofNullable(reasoningFormat);
  }

  /** How calls of tools are marked; absent: as the engine's options say. */
  public Optional<ToolCallFormat> toolCallFormat() {
    return Optional.ofNullable(toolCallFormat);
  }

  /** Whether texts of special tokens in the content of messages are plain text. */
  public boolean literalContent() {
    return literalContent;
  }

  /** Whether drafts may be used, where the engine has them on; they change no token. */
  public boolean speculation() {
    return speculation;
  }

  /** Whether the checkpoint's end-of-sequence tokens are generated over. */
  public boolean ignoreEos() {
    return ignoreEos;
  }

  /** Name of the head that chooses tokens; absent: the model's first GENERATION head. */
  public Optional<String> head() {
    return Optional.ofNullable(head);
  }

  /** Sizes and settings; never the prompt itself, which may be private. */
  @Override
  public String toString() {
    String input =
        prompt != null
            ? "prompt=" + prompt.length() + " chars"
            : promptTokens != null
                ? "promptTokens=" + promptTokens.length
                : "messages=" + messages.size();
    return "GenerationRequest[" + input + ", maxNewTokens=" + maxNewTokens + ", " + sampling + "]";
  }

  /** Collects a request's values; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private @Nullable String prompt;
    private int @Nullable [] promptTokens;
    private @Nullable List<ChatMessage> messages;
    private List<ToolDefinition> tools = List.of();
    private Map<String, @Nullable Object> templateVariables = Map.of();
    private Sampling sampling = Sampling.unset();
    private @Nullable Integer maxNewTokens;
    private List<String> stop = List.of();
    private List<Integer> stopTokenIds = List.of();
    private @Nullable Long seed;
    private String cacheSalt = "";
    private int priority;
    private @Nullable Integer logprobs;
    private @Nullable Duration timeout;
    private @Nullable Duration queueTimeout;
    private @Nullable Duration firstTokenTimeout;
    private int n = 1;
    private ResponseFormat responseFormat = ResponseFormat.text();
    private @Nullable Integer maxReasoningTokens;
    private @Nullable ReasoningFormat reasoningFormat;
    private @Nullable ToolCallFormat toolCallFormat;
    private boolean literalContent;
    private boolean speculation = true;
    private boolean ignoreEos;
    private @Nullable String head;

    private Builder() {}

    /**
     * Sets a plain prompt. The texts of special tokens in it become those tokens.
     *
     * @param text not empty
     * @throws InvalidRequestException if it is empty or holds half a surrogate pair
     */
    public Builder prompt(String text) {
      Check.given("prompt", text);
      if (text.isEmpty()) {
        throw new InvalidRequestException("prompt: empty (expected: at least one character)");
      }
      Check.wholeCharacters("prompt", text);
      prompt = text;
      return this;
    }

    /**
     * Sets token ids as the prompt; nothing is prepended. Works without a tokenizer.
     *
     * @param tokens at least one id, 0 or more; checked against the vocabulary at submit; copied
     * @throws InvalidRequestException if there is none or one is negative
     */
    public Builder promptTokens(int... tokens) {
      Check.given("promptTokens", tokens);
      if (tokens.length == 0) {
        throw new InvalidRequestException("promptTokens: empty (expected: at least one token id)");
      }
      for (int i = 0; i < tokens.length; i++) {
        Check.range("promptTokens[" + i + "]", tokens[i], 0, Integer.MAX_VALUE);
      }
      promptTokens = tokens.clone();
      return this;
    }

    /**
     * Sets a conversation.
     *
     * @param conversation at least one message; copied
     * @throws InvalidRequestException if there is none
     */
    public Builder messages(List<ChatMessage> conversation) {
      Check.given("messages", conversation);
      if (conversation.isEmpty()) {
        throw new InvalidRequestException("messages: empty (expected: at least one message)");
      }
      for (ChatMessage message : conversation) {
        Check.given("messages", message);
        message.content().ifPresent(text -> Check.wholeCharacters("messages.content", text));
      }
      messages = List.copyOf(conversation);
      return this;
    }

    /** Sets the tools that the model may call; copied. */
    public Builder tools(List<ToolDefinition> definitions) {
      tools = List.copyOf(Check.given("tools", definitions));
      return this;
    }

    /**
     * Sets further variables of the chat template, for example {@code enable_thinking}.
     *
     * @param variables JSON-like values by name; copied
     * @throws InvalidRequestException if a value is not JSON-like
     */
    public Builder templateVariables(Map<String, ? extends @Nullable Object> variables) {
      templateVariables =
          JsonValues.copyObject("templateVariables", Check.given("templateVariables", variables));
      return this;
    }

    /** Sets how tokens are chosen. */
    public Builder sampling(Sampling value) {
      sampling = Check.given("sampling", value);
      return this;
    }

    /**
     * Sets the most tokens to generate; the prompt does not count.
     *
     * @param value 1 or more; the context length bounds it as well
     * @throws InvalidRequestException if it is less than 1
     */
    public Builder maxNewTokens(int value) {
      maxNewTokens = Check.range("maxNewTokens", value, 1, Integer.MAX_VALUE);
      return this;
    }

    /**
     * Sets texts that end the generation; they and what follows are not part of its text. They are
     * looked for in everything that the model says, reasoning and calls of tools included.
     *
     * @param texts at most {@link #MAX_STOP_STRINGS}, each 1 to {@link #MAX_STOP_LENGTH} characters
     * @throws InvalidRequestException if there are too many, or one is empty or too long
     */
    public Builder stop(List<String> texts) {
      Check.size("stop", Check.given("stop", texts), MAX_STOP_STRINGS);
      for (String text : texts) {
        int length = Check.given("stop", text).length();
        Check.range("stop: length", length, 1, MAX_STOP_LENGTH);
        Check.wholeCharacters("stop", text);
      }
      stop = List.copyOf(texts);
      return this;
    }

    /** The same as {@link #stop(List)}. */
    public Builder stop(String... texts) {
      return stop(List.of(texts));
    }

    /**
     * Sets tokens that end the generation; they are not part of its text.
     *
     * @param ids 0 or more each, at most 1024
     * @throws InvalidRequestException if one is negative or there are too many
     */
    public Builder stopTokenIds(int... ids) {
      List<Integer> list = new ArrayList<>(ids.length);
      for (int id : ids) {
        list.add(Check.range("stopTokenIds", id, 0, Integer.MAX_VALUE));
      }
      Check.size("stopTokenIds", list, 1024);
      stopTokenIds = List.copyOf(list);
      return this;
    }

    /** Sets the seed; every value is allowed. */
    public Builder seed(long value) {
      seed = value;
      return this;
    }

    /**
     * Sets whom the request may share the state of prompts with: requests of the same salt. From
     * the time to the first token it can be told whether a prompt was seen before, so tenants who
     * must not learn that of each other need different salts.
     *
     * @param value up to {@link #MAX_CACHE_SALT_LENGTH} characters
     * @throws InvalidRequestException if it is longer
     */
    public Builder cacheSalt(String value) {
      Check.cacheSalt(value);
      cacheSalt = value;
      return this;
    }

    /**
     * Sets who goes first: the higher number, and of equal ones who came first. A request that runs
     * is not stopped for another, but gives its memory to it when that runs out. Every value is
     * allowed.
     */
    public Builder priority(int value) {
      priority = value;
      return this;
    }

    /**
     * Asks for the log-probability of each generated token and of the likeliest ones.
     *
     * @param top how many of the likeliest to report, 0 to {@link #MAX_LOGPROBS}; the engine's
     *     {@code maxLogprobs} bounds it as well
     * @throws InvalidRequestException if it is out of range
     */
    public Builder logprobs(int top) {
      logprobs = Check.range("logprobs", top, 0, MAX_LOGPROBS);
      return this;
    }

    /**
     * Sets the longest time from submit to the end.
     *
     * @param value above zero; more than a century is the same as none
     * @throws InvalidRequestException if it is zero or negative
     */
    public Builder timeout(Duration value) {
      timeout = Check.aboveZero("timeout", value);
      return this;
    }

    /**
     * Sets the longest wait until the request is computed at all.
     *
     * @throws InvalidRequestException if it is not above zero
     */
    public Builder queueTimeout(Duration value) {
      queueTimeout = Check.aboveZero("queueTimeout", value);
      return this;
    }

    /**
     * Sets the longest wait for the first new token, queue time included.
     *
     * @throws InvalidRequestException if it is not above zero
     */
    public Builder firstTokenTimeout(Duration value) {
      firstTokenTimeout = Check.aboveZero("firstTokenTimeout", value);
      return this;
    }

    /**
     * Sets how many alternatives are generated from the one prompt, which is computed once. The
     * first has the request's seed, each further one the next number.
     *
     * @param value 1 to {@link #MAX_N}
     * @throws InvalidRequestException if it is out of range
     */
    public Builder n(int value) {
      n = Check.range("n", value, 1, MAX_N);
      return this;
    }

    /** Sets the form that the answer must have; reasoning before it is free. */
    public Builder responseFormat(ResponseFormat value) {
      responseFormat = Check.given("responseFormat", value);
      return this;
    }

    /**
     * Sets the most tokens that the model may reason with; then its reasoning is ended, with the
     * text that its chat template puts there, and it has to answer. A model without a format of
     * reasoning is refused at submit.
     *
     * @param value 0 or more; 0: reasoning is ended where it begins
     * @throws InvalidRequestException if it is negative
     */
    public Builder maxReasoningTokens(int value) {
      maxReasoningTokens = Check.range("maxReasoningTokens", value, 0, Integer.MAX_VALUE);
      return this;
    }

    /** Sets how the answer marks reasoning; it is told apart in answers to messages only. */
    public Builder reasoningFormat(ReasoningFormat value) {
      reasoningFormat = Check.given("reasoningFormat", value);
      return this;
    }

    /** Sets how the answer marks calls; they are told apart only where the request has tools. */
    public Builder toolCallFormat(ToolCallFormat value) {
      toolCallFormat = Check.given("toolCallFormat", value);
      return this;
    }

    /**
     * Sets whether texts of special tokens in the content of messages are plain text. Without it
     * they become those tokens, as in Hugging Face's transformers, so that a user who writes the
     * text that ends a turn ends the turn. Default false.
     */
    public Builder literalContent(boolean value) {
      literalContent = value;
      return this;
    }

    /** Sets whether drafts may be used, where the engine has them on; they change no token. */
    public Builder speculation(boolean value) {
      speculation = value;
      return this;
    }

    /** Generates over the checkpoint's end-of-sequence tokens; meant for measuring. */
    public Builder ignoreEos(boolean value) {
      ignoreEos = value;
      return this;
    }

    /**
     * Names the head that chooses tokens, where a model has several, for example {@code reasoning}.
     *
     * @param name as {@link ModelInfo#heads()} lists it; checked at submit
     */
    public Builder head(String name) {
      head = Check.given("head", name);
      return this;
    }

    /**
     * Builds the request.
     *
     * @throws InvalidRequestException unless exactly one input is given, or with tools but no
     *     messages
     */
    public GenerationRequest build() {
      return new GenerationRequest(this);
    }
  }
}
