package ai.sluice.api;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * One message of a conversation, as a chat template sees it. Immutable and thread-safe.
 *
 * <p>The role is free text because templates define their own ("developer", "ipython", …); {@link
 * #system}, {@link #user}, {@link #assistant} and {@link #tool} cover the usual ones.
 */
public final class ChatMessage {
  private final String role;
  private final @Nullable String content;
  private final @Nullable String name;
  private final @Nullable String toolCallId;
  private final @Nullable String reasoning;
  private final List<ToolCall> toolCalls;
  private final Map<String, @Nullable Object> extra;

  private ChatMessage(Builder builder) {
    role = builder.role;
    content = builder.content;
    name = builder.name;
    toolCallId = builder.toolCallId;
    reasoning = builder.reasoning;
    toolCalls = List.copyOf(builder.toolCalls);
    extra = JsonValues.copyObject("messages", builder.extra);
  }

  /** A message that sets the rules of the conversation. */
  public static ChatMessage system(String content) {
    return builder("system").content(content).build();
  }

  /** A message of the user. */
  public static ChatMessage user(String content) {
    return builder("user").content(content).build();
  }

  /** An answer of the model. */
  public static ChatMessage assistant(String content) {
    return builder("assistant").content(content).build();
  }

  /** An answer of the model that calls tools and says nothing else. */
  public static ChatMessage assistant(List<ToolCall> toolCalls) {
    return builder("assistant").toolCalls(toolCalls).build();
  }

  /**
   * The result of a tool.
   *
   * @param toolCallId the id of the call that this answers
   * @param content the result, as text
   */
  public static ChatMessage tool(String toolCallId, String content) {
    return builder("tool").toolCallId(toolCallId).content(content).build();
  }

  /**
   * Starts a message.
   *
   * @param role who speaks, not empty
   * @throws InvalidRequestException if the role is empty
   */
  public static Builder builder(String role) {
    return new Builder(role);
  }

  /** A builder that starts with this message's values. */
  public Builder toBuilder() {
    Builder builder = new Builder(role);
    builder.content = content;
    builder.name = name;
    builder.toolCallId = toolCallId;
    builder.reasoning = reasoning;
    builder.toolCalls = toolCalls;
    builder.extra.putAll(extra);
    return builder;
  }

  /** Who speaks: "system", "user", "assistant", "tool" or a role of the template's own. */
  public String role() {
    return role;
  }

  /** The text; absent when an assistant only calls tools. */
  public Optional<String> content() {
    return Optional.ofNullable(content);
  }

  /** The speaker's or the tool's name, if one was given. */
  public Optional<String> name() {
    return Optional.ofNullable(name);
  }

  /** The id of the call that a tool message answers. */
  public Optional<String> toolCallId() {
    return Optional.ofNullable(toolCallId);
  }

  /** The model's reasoning before its answer, which templates know as reasoning_content. */
  public Optional<String> reasoning() {
    return Optional.ofNullable(reasoning);
  }

  /** The tools that an assistant message calls, in order; empty for every other message. */
  public List<ToolCall> toolCalls() {
    return toolCalls;
  }

  /** Further keys that the template reads from the message, unmodifiable. */
  public Map<String, @Nullable Object> extra() {
    return extra;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ChatMessage message
        && role.equals(message.role)
        && Objects.equals(content, message.content)
        && Objects.equals(name, message.name)
        && Objects.equals(toolCallId, message.toolCallId)
        && Objects.equals(reasoning, message.reasoning)
        && toolCalls.equals(message.toolCalls)
        && extra.equals(message.extra);
  }

  @Override
  public int hashCode() {
    return Objects.hash(role, content, name, toolCallId, reasoning, toolCalls, extra);
  }

  /** The role and the length of the text; never the text itself, which may be private. */
  @Override
  public String toString() {
    return "ChatMessage[" + role + ", " + (content == null ? 0 : content.length()) + " chars]";
  }

  /** Collects the values of a message. Not thread-safe. */
  public static final class Builder {
    private final String role;
    private @Nullable String content;
    private @Nullable String name;
    private @Nullable String toolCallId;
    private @Nullable String reasoning;
    private List<ToolCall> toolCalls = List.of();
    private final Map<String, @Nullable Object> extra = new LinkedHashMap<>();

    private Builder(String role) {
      this.role = Objects.requireNonNull(role, "role");
      if (role.isEmpty()) {
        throw new InvalidRequestException("messages.role: empty (expected: user, assistant, …)");
      }
    }

    /** Sets the text. */
    public Builder content(@Nullable String value) {
      content = value;
      return this;
    }

    /** Sets the speaker's or the tool's name. */
    public Builder name(@Nullable String value) {
      name = value;
      return this;
    }

    /** Sets the id of the call that a tool message answers. */
    public Builder toolCallId(@Nullable String value) {
      toolCallId = value;
      return this;
    }

    /** Sets the model's reasoning before its answer. */
    public Builder reasoning(@Nullable String value) {
      reasoning = value;
      return this;
    }

    /** Sets the tools that the message calls. */
    public Builder toolCalls(List<ToolCall> value) {
      toolCalls = List.copyOf(value);
      return this;
    }

    /**
     * Sets one further key that the template reads from the message.
     *
     * @param key the key as the template spells it
     * @param value a JSON-like value, checked and copied by {@link #build}
     */
    public Builder extra(String key, @Nullable Object value) {
      extra.put(key, value);
      return this;
    }

    /**
     * Builds the message.
     *
     * @throws InvalidRequestException if an extra value is not JSON-like
     */
    public ChatMessage build() {
      return new ChatMessage(this);
    }
  }
}
