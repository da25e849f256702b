package ai.sluice.text.output;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ToolCallFormat;
import ai.sluice.text.ChatTemplate;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * How a model marks its reasoning and its calls of tools.
 *
 * @param reasoning never AUTO
 * @param toolCalls never AUTO
 */
public record OutputFormat(ReasoningFormat reasoning, ToolCallFormat toolCalls) {
  /** Nothing is told apart. */
  public static final OutputFormat NONE =
      new OutputFormat(ReasoningFormat.OFF, ToolCallFormat.OFF);

  /** Checks that the formats go together. */
  public OutputFormat {
    if (reasoning == ReasoningFormat.AUTO || toolCalls == ToolCallFormat.AUTO) {
      throw new IllegalArgumentException("output format: AUTO (expected: a format or OFF)");
    }
    boolean channels =
        reasoning == ReasoningFormat.HARMONY || toolCalls == ToolCallFormat.HARMONY;
    if (channels
        && (reasoning != ReasoningFormat.HARMONY && reasoning != ReasoningFormat.OFF
            || toolCalls != ToolCallFormat.HARMONY && toolCalls != ToolCallFormat.OFF)) {
      throw new InvalidRequestException(
          "reasoningFormat and toolCallFormat: " + reasoning + " and " + toolCalls
              + " (expected: HARMONY with HARMONY or OFF)");
    }
  }

  /**
   * The format that a request asks for.
   *
   * @param template what AUTO goes by
   * @throws InvalidRequestException if the two do not go together
   */
  public static OutputFormat of(
      ReasoningFormat reasoning, ToolCallFormat toolCalls, ChatTemplate template) {
    return new OutputFormat(
        reasoning == ReasoningFormat.AUTO ? reasoningOf(template.source()) : reasoning,
        toolCalls == ToolCallFormat.AUTO
            ? toolCallsOf(template.toolUseSource().orElse(template.source()))
            : toolCalls);
  }

  private static ReasoningFormat reasoningOf(String template) {
    if (template.contains("<|channel|>analysis")) {
      return ReasoningFormat.HARMONY;
    } else if (template.contains("</seed:think>")) {
      return ReasoningFormat.SEED;
    } else if (template.contains("</think>")) {
      return ReasoningFormat.THINK;
    } else if (template.contains("[/THINK]")) {
      return ReasoningFormat.MISTRAL;
    }
    return ReasoningFormat.OFF;
  }

  private static ToolCallFormat toolCallsOf(String template) {
    if (template.contains("<|channel|>commentary")) {
      return ToolCallFormat.HARMONY;
    } else if (template.contains("<｜tool▁calls▁begin｜>")) {
      return ToolCallFormat.DEEPSEEK;
    } else if (template.contains("<|tool_calls_section_begin|>")) {
      return ToolCallFormat.KIMI;
    } else if (template.contains("[TOOL_CALLS]")) {
      return ToolCallFormat.MISTRAL;
    } else if (template.contains("<function=") || template.contains("<arg_key>")) {
      return ToolCallFormat.OFF; // XML, which is not read
    } else if (template.contains("<tool_call>")) {
      return ToolCallFormat.HERMES;
    } else if (template.contains("{\"name\": function name, \"parameters\":")) {
      return ToolCallFormat.LLAMA3;
    }
    // A template that does not know tools leaves it to the messages to explain them.
    return template.contains("tools") ? ToolCallFormat.OFF : ToolCallFormat.HERMES;
  }

  /** This format for a request that has no tools. */
  public OutputFormat withoutTools() {
    return toolCalls == ToolCallFormat.OFF
        ? this
        : new OutputFormat(reasoning, ToolCallFormat.OFF);
  }

  /** Whether anything is told apart. */
  public boolean isNone() {
    return reasoning == ReasoningFormat.OFF && toolCalls == ToolCallFormat.OFF;
  }

  /** Where reasoning is put between two markers: the one before it. */
  public Optional<String> reasoningBegin() {
    return switch (reasoning) {
      case THINK -> Optional.of("<think>");
      case MISTRAL -> Optional.of("[THINK]");
      case SEED -> Optional.of("<seed:think>");
      default -> Optional.empty();
    };
  }

  /** Where reasoning is put between two markers: the one after it. */
  public Optional<String> reasoningEnd() {
    return switch (reasoning) {
      case THINK -> Optional.of("</think>");
      case MISTRAL -> Optional.of("[/THINK]");
      case SEED -> Optional.of("</seed:think>");
      default -> Optional.empty();
    };
  }

  /**
   * The texts that mark something. Where a vocabulary has them as special tokens, which have no
   * text otherwise, a parser has to see them.
   */
  public Set<String> markers() {
    Set<String> markers = new LinkedHashSet<>();
    reasoningBegin().ifPresent(markers::add);
    reasoningEnd().ifPresent(markers::add);
    switch (toolCalls) {
      case HERMES -> markers.addAll(List.of("<tool_call>", "</tool_call>"));
      case MISTRAL -> markers.addAll(List.of("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"));
      case LLAMA3 -> markers.add("<|python_tag|>");
      case DEEPSEEK -> markers.addAll(SectionStage.Family.DEEPSEEK.markers());
      case KIMI -> markers.addAll(SectionStage.Family.KIMI.markers());
      default -> {}
    }
    if (reasoning == ReasoningFormat.HARMONY || toolCalls == ToolCallFormat.HARMONY) {
      markers.addAll(List.of(HarmonyStage.MARKERS));
    }
    return markers;
  }
}
