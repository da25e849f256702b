package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ToolCallFormat;
import ai.sluice.api.ToolDefinition;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.output.OutputFormat;
import ai.sluice.text.output.ReasoningEnd;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** Decides how the answers to a request are read. Thread-safe. */
final class OutputPlanner {
  /** Tokens at the end of a prompt that are looked at; more than any marker has. */
  private static final int PROMPT_END = 32;

  private final PromptEncoder encoder;
  private final @Nullable Tokenizer tokenizer;
  private final ReasoningFormat reasoningFormat;
  private final ToolCallFormat toolCallFormat;
  private final int vocabSize;
  private final ConcurrentMap<ReasoningFormat, ReasoningEnd> ends = new ConcurrentHashMap<>();

  /**
   * Creates a planner for one model.
   *
   * @param tokenizer null where there is none
   * @param options name the formats in force
   * @param vocabSize ids of the model
   */
  OutputPlanner(
      PromptEncoder encoder, @Nullable Tokenizer tokenizer, EngineOptions options, int vocabSize) {
    this.encoder = encoder;
    this.tokenizer = tokenizer;
    this.reasoningFormat = options.reasoningFormat();
    this.toolCallFormat = options.toolCallFormat();
    this.vocabSize = vocabSize;
  }

  /**
   * Plans how the answers to a request are read.
   *
   * @param prompt what is generated after
   * @throws InvalidRequestException if the request bounds reasoning and the model has none, or its
   *     formats do not go together
   */
  OutputPlan plan(GenerationRequest request, int[] prompt) {
    Tokenizer known = tokenizer;
    OutputFormat format = OutputFormat.NONE;
    if (known != null && !request.messages().isEmpty()) {
      format =
          OutputFormat.of(
              request.reasoningFormat().orElse(reasoningFormat),
              request.toolCallFormat().orElse(toolCallFormat),
              encoder.requireTemplate());
      if (request.tools().isEmpty()) {
        format = format.withoutTools();
      }
    }
    if (request.maxReasoningTokens().isPresent() && format.reasoning() == ReasoningFormat.OFF) {
      throw new InvalidRequestException(
          "maxReasoningTokens: " + request.maxReasoningTokens().getAsInt() + " (expected: unset; "
              + (request.messages().isEmpty()
                  ? "reasoning is told apart in answers to messages only)"
                  : "the model's chat template shows no reasoning, and no reasoningFormat is"
                      + " named)"));
    }
    if (known == null || format.isNone()) {
      return new OutputPlan(known, OutputFormat.NONE, false, Set.of(), null);
    }
    return new OutputPlan(
        known,
        format,
        startsInReasoning(known, format, prompt),
        names(request),
        new OutputPlan.Model(encoder.requireTemplate(), vocabSize, ends));
  }

  private static boolean startsInReasoning(Tokenizer tokenizer, OutputFormat format, int[] prompt) {
    if (format.reasoningBegin().isEmpty()) {
      return false;
    }
    int[] end = Arrays.copyOfRange(prompt, Math.max(0, prompt.length - PROMPT_END), prompt.length);
    return tokenizer.decode(end, false).stripTrailing().endsWith(format.reasoningBegin().get());
  }

  private static Set<String> names(GenerationRequest request) {
    Set<String> names = new HashSet<>();
    for (ToolDefinition tool : request.tools()) {
      Object function = tool.json().get("function");
      Object name =
          function instanceof Map<?, ?> map ? map.get("name") : tool.json().get("name");
      if (name instanceof String text) {
        names.add(text);
      }
    }
    return names;
  }
}
