package ai.sluice.text;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolDefinition;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.text.jinja.Limits;
import ai.sluice.text.jinja.Template;
import ai.sluice.text.jinja.TemplateRuntimeException;
import ai.sluice.text.jinja.TemplateSyntaxException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns a conversation into the text that a chat model was trained on. Templates are written in
 * Jinja and come with the checkpoint; they render here as they do in Hugging Face's transformers.
 *
 * <p>Text of messages is data: it is copied into the result and never read as a template. A
 * template cannot reach files, the network, classes or the environment; its work is bounded in
 * steps, text and depth, so that a malicious one ends with an exception instead of holding the
 * machine.
 *
 * <p>Immutable and thread-safe.
 */
public final class ChatTemplate {
  private static final Logger log = LoggerFactory.getLogger(ChatTemplate.class);
  private static final Set<String> RESERVED =
      Set.of("messages", "tools", "documents", "add_generation_prompt");

  private final String source;
  private final Template template;
  private final @Nullable ChatTemplate toolUse;
  private final Clock clock;
  private volatile @Nullable MessageForm form;

  private ChatTemplate(
      String source, Template template, @Nullable ChatTemplate toolUse, Clock clock) {
    this.source = source;
    this.template = template;
    this.toolUse = toolUse;
    this.clock = clock;
  }

  /**
   * Parses a template.
   *
   * @param source the template, at most 2^20 characters
   * @throws CheckpointFormatException if it is malformed, naming the line
   */
  public static ChatTemplate parse(String source) {
    return parse(source, null, null, Clock.systemDefaultZone());
  }

  static ChatTemplate parse(
      String source, @Nullable Path file, @Nullable ChatTemplate toolUse, Clock clock) {
    try {
      return new ChatTemplate(source, Template.parse(source), toolUse, clock);
    } catch (TemplateSyntaxException e) {
      throw new CheckpointFormatException(
          file,
          "chat_template",
          "line " + e.line() + ": " + e.getMessage() + " (expected: a Jinja template)",
          e);
    }
  }

  /**
   * Finds the template of a model folder: {@code chat_template.jinja}, else the key {@code
   * chat_template} of {@code tokenizer_config.json}. Where there are several by name, "default" is
   * taken, and "tool_use" for conversations with tools.
   *
   * @param modelFolder the folder
   * @return the template, or nothing if the model has none
   * @throws CheckpointFormatException if a file or template is malformed
   */
  public static Optional<ChatTemplate> fromFolder(Path modelFolder) {
    Path jinja = modelFolder.resolve("chat_template.jinja");
    Path config = modelFolder.resolve("tokenizer_config.json");
    Clock clock = Clock.systemDefaultZone();
    try {
      if (Files.isRegularFile(jinja)) {
        return Optional.of(parse(Files.readString(jinja), jinja, null, clock));
      }
      if (!Files.isRegularFile(config)) {
        return Optional.empty();
      }
      Map<String, String> templates =
          TokenizerConfig.parse(Files.readAllBytes(config), config).chatTemplates();
      return fromTemplates(templates, config);
    } catch (IOException e) {
      throw new CheckpointFormatException(modelFolder, "chat_template", "cannot be read: " + e, e);
    }
  }

  /**
   * Makes one of the templates that a checkpoint names: "default" is taken, and "tool_use", where
   * there is one, for conversations with tools.
   *
   * @param templates sources by name
   * @param origin the checkpoint or file that they come from, for messages
   * @return the template, or nothing if none is named "default"
   * @throws CheckpointFormatException if a template is malformed
   */
  public static Optional<ChatTemplate> fromTemplates(Map<String, String> templates, Path origin) {
    String usual = templates.get("default");
    if (usual == null) {
      return Optional.empty();
    }
    Clock clock = Clock.systemDefaultZone();
    String toolUse = templates.get("tool_use");
    return Optional.of(
        parse(usual, origin, toolUse == null ? null : parse(toolUse, origin, null, clock), clock));
  }

  /** The Jinja source. */
  public String source() {
    return source;
  }

  /** The Jinja source for conversations with tools, where that is another. */
  public Optional<String> toolUseSource() {
    return Optional.ofNullable(toolUse).map(ChatTemplate::source);
  }

  /**
   * Renders a conversation. The result contains the texts of special tokens where the template puts
   * them, so it is to be encoded without adding them again.
   *
   * @param messages the conversation, not empty
   * @param tools the tools that the model may call, often none
   * @param extra further variables that the template reads, such as {@code enable_thinking}:
   *     JSON-like values
   * @param addGenerationPrompt whether to end with what begins an answer of the model
   * @param specialTokens the tokens that the template may name
   * @return the text
   * @throws InvalidRequestException if there is no message, if an extra variable is not JSON-like
   *     or has a name of the template's own, if the template refuses the conversation (with its
   *     words), cannot deal with it, or exceeds the bounds on its work
   * @throws UnsupportedModelException if the template uses a filter or test that does not exist
   */
  public String render(
      List<ChatMessage> messages,
      List<ToolDefinition> tools,
      Map<String, ? extends @Nullable Object> extra,
      boolean addGenerationPrompt,
      SpecialTokens specialTokens) {
    if (toolUse != null && !tools.isEmpty()) {
      return toolUse.render(messages, tools, extra, addGenerationPrompt, specialTokens);
    }
    if (messages.isEmpty()) {
      throw new InvalidRequestException("messages: empty (expected: at least one message)");
    }
    TemplateValues values = new TemplateValues();
    Map<String, @Nullable Object> variables = new LinkedHashMap<>();
    variables.put("messages", values.messages(messages, form(messages)));
    variables.put("tools", tools.isEmpty() ? null : values.tools(tools));
    variables.put("documents", null);
    variables.put("add_generation_prompt", addGenerationPrompt);
    variables.putAll(specialTokens.templateVariables());
    for (Map.Entry<String, ? extends @Nullable Object> entry : extra.entrySet()) {
      if (RESERVED.contains(entry.getKey())) {
        throw new InvalidRequestException(
            "chat template variable: "
                + entry.getKey()
                + " (expected: a name other than "
                + RESERVED
                + ")");
      }
      variables.put(entry.getKey(), values.copy(entry.getKey(), entry.getValue()));
    }
    try {
      return template.render(variables, values.limits(), clock);
    } catch (TemplateRuntimeException e) {
      throw translate(e);
    }
  }

  private static RuntimeException translate(TemplateRuntimeException e) {
    String where = e.line() > 0 ? "line " + e.line() + ": " : "";
    return switch (e.kind()) {
      case RAISED ->
          new InvalidRequestException(
              "messages: refused by the chat template: " + e.getMessage(), e);
      case UNSUPPORTED ->
          new UnsupportedModelException("chat_template: " + where + e.getMessage(), e);
      case LIMIT -> new InvalidRequestException("chat template: " + where + e.getMessage(), e);
      default ->
          new InvalidRequestException(
              "messages: the chat template cannot render them: "
                  + where
                  + e.getMessage()
                  + " (expected: roles and values that the template knows)",
              e);
    };
  }

  /** How tool calls have to be presented, which templates do not agree on. */
  MessageForm form(List<ChatMessage> messages) {
    if (messages.stream().allMatch(message -> message.toolCalls().isEmpty())) {
      return MessageForm.USUAL;
    }
    MessageForm known = form;
    if (known == null) {
      known = findForm();
      form = known;
      log.debug("chat template: tool calls are presented as {}", known);
    }
    return known;
  }

  /**
   * Renders a call in each form until one shows its argument as JSON. A template that shows none in
   * any form gets the usual one.
   */
  private MessageForm findForm() {
    String marker = "sluice_probe";
    List<ChatMessage> probe =
        List.of(
            ChatMessage.user("x"),
            ChatMessage.builder("assistant")
                .toolCalls(List.of(ToolCall.of("call00001", "f", Map.of(marker, "y"))))
                .build(),
            ChatMessage.builder("tool").toolCallId("call00001").name("f").content("z").build());
    for (MessageForm candidate : MessageForm.values()) {
      TemplateValues values = new TemplateValues();
      Map<String, @Nullable Object> variables = new LinkedHashMap<>();
      variables.put("messages", values.messages(probe, candidate));
      variables.put("tools", null);
      variables.put("documents", null);
      variables.put("add_generation_prompt", false);
      for (String token : List.of("bos_token", "eos_token", "unk_token", "pad_token")) {
        variables.put(token, "");
      }
      try {
        String text = template.render(variables, Limits.forInput(100, 1000), clock);
        // Python's notation of a dict, or JSON escaped once more, means that the form was wrong.
        if (text.contains(marker)
            && !text.contains("'" + marker + "'")
            && !text.contains("\\\"" + marker)) {
          return candidate;
        }
      } catch (TemplateRuntimeException e) {
        log.trace("chat template: {} does not fit: {}", candidate, e.getMessage());
      }
    }
    return MessageForm.USUAL;
  }

  /** How a message with tool calls looks to the template. */
  enum MessageForm {
    /** Arguments are an object, absent text is None. */
    USUAL(false, false),
    /** Arguments are JSON text, absent text is None. */
    ARGUMENTS_AS_TEXT(true, false),
    /** Arguments are an object, absent text is empty. */
    EMPTY_CONTENT(false, true),
    /** Arguments are JSON text, absent text is empty. */
    ARGUMENTS_AS_TEXT_EMPTY_CONTENT(true, true);

    final boolean argumentsAsText;
    final boolean emptyContent;

    MessageForm(boolean argumentsAsText, boolean emptyContent) {
      this.argumentsAsText = argumentsAsText;
      this.emptyContent = emptyContent;
    }
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ChatTemplate t
        && source.equals(t.source)
        && Objects.equals(toolUse, t.toolUse);
  }

  @Override
  public int hashCode() {
    return source.hashCode();
  }

  @Override
  public String toString() {
    return "ChatTemplate[" + source.length() + " chars]";
  }
}
