package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.StreamingDecoder;
import ai.sluice.text.TokenConstraint;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.output.OutputFormat;
import ai.sluice.text.output.OutputListener;
import ai.sluice.text.output.OutputParser;
import ai.sluice.text.output.ReasoningConstraint;
import ai.sluice.text.output.ReasoningEnd;
import java.util.Set;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * How the answers to one request are read. Immutable; what it makes belongs to one alternative.
 *
 * @param tokenizer null where there is none
 * @param format nothing is told apart if it is NONE
 * @param startsInReasoning whether the prompt holds the marker before the reasoning
 * @param toolNames names of the tools that may be called
 * @param model present unless the format is NONE
 */
record OutputPlan(
    @Nullable Tokenizer tokenizer,
    OutputFormat format,
    boolean startsInReasoning,
    Set<String> toolNames,
    @Nullable Model model) {
  /**
   * What the end of reasoning depends on.
   *
   * @param vocabSize ids of the model
   * @param ends of reasoning by format, those that were needed; thread-safe
   */
  record Model(
      ChatTemplate template, int vocabSize, ConcurrentMap<ReasoningFormat, ReasoningEnd> ends) {}

  /** A decoder in which markers have text, or null where there is no tokenizer. */
  @Nullable StreamingDecoder newDecoder() {
    Tokenizer known = tokenizer;
    if (known == null) {
      return null;
    }
    return format.isNone()
        ? known.continuingDecoder(true)
        : known.continuingDecoder(format.markers());
  }

  /** A parser, or null where nothing is told apart. */
  @Nullable OutputParser newParser(OutputListener listener) {
    return format.isNone()
        ? null
        : new OutputParser(format, startsInReasoning, toolNames, listener);
  }

  /**
   * What limits the tokens of one alternative: its grammar, which begins after the reasoning, and
   * the request's bound of reasoning.
   *
   * @param stopTokens tokens that end the generation, sorted; not copied
   * @param grammar of the answer, the alternative's own, or null
   * @return null where nothing limits them
   * @throws InvalidRequestException if a grammar is to follow reasoning whose end is not one token
   */
  @Nullable TokenConstraint constraint(
      GenerationRequest request, int[] stopTokens, @Nullable TokenConstraint grammar) {
    Tokenizer known = tokenizer;
    Model about = model;
    boolean bounded = request.maxReasoningTokens().isPresent();
    if (known == null
        || about == null
        || format.reasoning() == ReasoningFormat.OFF
        || grammar == null && !bounded) {
      return grammar;
    }
    ReasoningEnd end =
        about.ends().computeIfAbsent(
            format.reasoning(),
            any -> ReasoningEnd.of(format, about.template(), known.specialTokens()));
    if (grammar != null && format.reasoningEnd().isPresent()) {
      String marker = format.reasoningEnd().get();
      if (single(known, marker) == ReasoningConstraint.NO_TOKEN && startsInReasoning) {
        throw new InvalidRequestException(
            "responseFormat: after reasoning that ends with \"" + marker + "\", which is "
                + known.encode(marker, false, true).length
                + " tokens (expected: one; set reasoningFormat to OFF, or end the prompt without"
                + " reasoning)");
      }
    }
    ReasoningConstraint.Tokens tokens =
        new ReasoningConstraint.Tokens(
            format.reasoningBegin().map(marker -> single(known, marker))
                .orElse(ReasoningConstraint.NO_TOKEN),
            inVocabulary(known, end.text(), about.vocabSize()),
            inVocabulary(known, end.gap(), about.vocabSize()),
            stopTokens,
            about.vocabSize());
    return new ReasoningConstraint(
        format,
        startsInReasoning,
        known.continuingDecoder(format.markers()),
        tokens,
        request.maxReasoningTokens().orElse(ReasoningConstraint.UNLIMITED),
        grammar);
  }

  private static int single(Tokenizer tokenizer, String marker) {
    int[] ids = tokenizer.encode(marker, false, true);
    return ids.length == 1 ? ids[0] : ReasoningConstraint.NO_TOKEN;
  }

  private static int[] inVocabulary(Tokenizer tokenizer, String text, int vocabSize) {
    int[] ids = text.isEmpty() ? new int[0] : tokenizer.encode(text, false, true);
    for (int id : ids) {
      if (id >= vocabSize) {
        throw new InvalidRequestException(
            "reasoningFormat: the end of reasoning has token " + id + " (expected: 0 to "
                + (vocabSize - 1) + ", the model's vocabulary)");
      }
    }
    return ids;
  }
}
