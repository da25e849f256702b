package ai.sluice.core;

import ai.sluice.api.ChunkKind;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import ai.sluice.api.TopLogprob;
import ai.sluice.api.Usage;
import ai.sluice.core.scheduler.SequenceTimes;
import ai.sluice.core.scheduler.StepOutput;
import ai.sluice.core.scheduler.TokenSink;
import ai.sluice.text.StreamingDecoder;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.output.OutputListener;
import ai.sluice.text.output.OutputParser;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Turns a sequence's tokens into its generation: text without half characters, stop strings,
 * reasoning and calls of tools, log-probabilities, the result. Lives on the scheduler's thread.
 */
final class GenerationSink implements TokenSink, OutputListener {
  private final Generation generation;
  private final int alternative;
  private final @Nullable Tokenizer tokenizer;
  private final @Nullable StreamingDecoder decoder;
  private final @Nullable OutputParser parser;
  private final StopMatcher stops;
  private final int topN;
  private final int promptTokens;
  private final long seed;
  private final QueuePlace place;
  private String callId = "";
  private String callName = "";
  private int numCalls;
  private int cachedTokens;

  /**
   * Creates a sink.
   *
   * @param generation receives the output
   * @param alternative which of the generation's alternatives it is, from 0
   * @param plan how the output is read
   * @param stopStrings texts that end the generation, wherever they are said
   * @param topN likeliest tokens to report, below 0 for no log-probabilities
   * @param promptTokens tokens of the prompt
   * @param seed in force
   * @param place given back when the request no longer waits, and when it is over
   */
  GenerationSink(
      Generation generation,
      int alternative,
      OutputPlan plan,
      List<String> stopStrings,
      int topN,
      int promptTokens,
      long seed,
      QueuePlace place) {
    this.generation = generation;
    this.alternative = alternative;
    this.tokenizer = plan.tokenizer();
    this.decoder = plan.newDecoder();
    this.parser = plan.newParser(this);
    this.stops = new StopMatcher(stopStrings);
    this.topN = topN;
    this.promptTokens = promptTokens;
    this.seed = seed;
    this.place = place;
  }

  @Override
  public void admitted(int tokens) {
    cachedTokens = tokens;
    place.leaveQueue();
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
    generation.add(alternative, token, topN < 0 ? null : logprob(token, output, row, index));
    if (decoder == null) {
      generation.publish(alternative, ChunkKind.ANSWER, "");
    } else if (!stopsHere) {
      read(stops.accept(decoder.accept(token)));
    }
    return stops.matched() || parser != null && parser.isOver();
  }

  private void read(String text) {
    if (text.isEmpty()) {
      return;
    }
    if (parser == null) {
      text(ChunkKind.ANSWER, text);
    } else {
      parser.accept(text);
    }
  }

  @Override
  public void text(ChunkKind kind, String text) {
    generation.publish(alternative, kind, text);
  }

  @Override
  public void callBegun(int call, @Nullable String id, String name) {
    callId = id == null ? CallIds.of(seed, promptTokens, call) : id;
    callName = name;
    generation.beginCall(alternative, call, callId, name);
  }

  @Override
  public void callArguments(int call, String text) {
    generation.continueCall(alternative, call, text);
  }

  @Override
  public void callDone(int call, Map<String, @Nullable Object> arguments) {
    numCalls++;
    generation.completeCall(alternative, ToolCall.of(callId, callName, arguments));
  }

  private TokenLogprob logprob(int token, StepOutput output, int row, int index) {
    List<TopLogprob> top = new ArrayList<>(topN);
    for (int n = 0; n < topN; n++) {
      int id = output.topToken(row, index, n);
      top.add(new TopLogprob(id, text(id), output.topLogprob(row, index, n)));
    }
    return new TokenLogprob(
        token, text(token), output.logprob(row, index), output.rank(row, index), top);
  }

  private String text(int token) {
    if (tokenizer == null) {
      return "";
    }
    StreamingDecoder alone = tokenizer.continuingDecoder(false);
    return alone.accept(token) + alone.finish();
  }

  @Override
  public void finished(FinishReason reason, String detail, SequenceTimes times) {
    place.leave();
    read(decoder == null ? "" : stops.accept(decoder.finish()) + stops.finish());
    if (parser != null) {
      parser.finish();
    }
    generation.publish(alternative, ChunkKind.ANSWER, ""); // the tokens that have no text
    FinishReason ended =
        reason == FinishReason.STOP && numCalls > 0 ? FinishReason.TOOL_CALLS : reason;
    String problems = parser == null ? "" : parser.problems();
    String why = detail + (detail.isEmpty() || problems.isEmpty() ? "" : "; ") + problems;
    generation.finish(
        alternative,
        said ->
            new GenerationResult(
                said.answer.toString(),
                said.reasoning.toString(),
                said.toolCalls,
                said.tokens,
                said.logprobs,
                ended,
                why,
                seed,
                new Usage(promptTokens, cachedTokens, said.tokens.size()),
                times.timings(),
                List.of()));
  }

  @Override
  public void failed(SluiceException cause) {
    try {
      place.leave();
    } finally {
      generation.fail(cause);
    }
  }
}
