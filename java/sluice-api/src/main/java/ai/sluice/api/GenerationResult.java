package ai.sluice.api;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * What a generation came to. A generation that was cancelled, timed out or was rejected has a
 * result too, with what there was until then.
 *
 * <p>A request for several alternatives gives the first one, with the others inside it.
 *
 * @param text the answer, without reasoning, tool calls, stop strings and stop tokens; empty when
 *     the engine has no tokenizer
 * @param reasoning what the model reasoned with before its answer; empty where it did not, or where
 *     the output was not parsed
 * @param toolCalls the tools that the model calls, in order
 * @param tokens ids of all generated tokens, the one that stopped it included
 * @param logprobs one entry per token when the request asked for log-probabilities, else empty
 * @param finishReason why it ended
 * @param detail what the reason alone does not say, in words; often empty
 * @param seed the seed in force, given or drawn; with it the same request gives the same tokens
 * @param usage tokens taken by this alternative; each counts the prompt, which was computed once
 * @param timings time taken by this alternative
 * @param alternatives the further alternatives of a request for several, in order; empty inside
 *     them
 */
public record GenerationResult(
    String text,
    String reasoning,
    List<ToolCall> toolCalls,
    List<Integer> tokens,
    List<TokenLogprob> logprobs,
    FinishReason finishReason,
    String detail,
    long seed,
    Usage usage,
    Timings timings,
    List<GenerationResult> alternatives) {
  /** Copies the lists. */
  public GenerationResult {
    Objects.requireNonNull(text, "text");
    Objects.requireNonNull(reasoning, "reasoning");
    toolCalls = List.copyOf(toolCalls);
    tokens = List.copyOf(tokens);
    logprobs = List.copyOf(logprobs);
    alternatives = List.copyOf(alternatives);
  }

  /** A result of text alone, without alternatives. */
  public GenerationResult(
      String text,
      List<Integer> tokens,
      List<TokenLogprob> logprobs,
      FinishReason finishReason,
      String detail,
      long seed,
      Usage usage,
      Timings timings) {
    this(
        text, "", List.of(), tokens, logprobs, finishReason, detail, seed, usage, timings,
        List.of());
  }

  /** This result with others as its alternatives. */
  public GenerationResult withAlternatives(List<GenerationResult> others) {
    return new GenerationResult(
        text, reasoning, toolCalls, tokens, logprobs, finishReason, detail, seed, usage, timings,
        others);
  }

  /** All alternatives, this one first. Unmodifiable. */
  public List<GenerationResult> all() {
    List<GenerationResult> all = new ArrayList<>(1 + alternatives.size());
    all.add(alternatives.isEmpty() ? this : withAlternatives(List.of()));
    all.addAll(alternatives);
    return Collections.unmodifiableList(all);
  }
}
