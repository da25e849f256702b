package ai.sluice.core;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.core.scheduler.SamplingParams;
import ai.sluice.core.scheduler.Sequence;
import ai.sluice.core.scheduler.TokenSink;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Turns what is scored into sequences that share their work: continuations that differ in their
 * last token alone are targets of one row, and what all begin with is computed once.
 */
final class ScorePlanner {
  /** Most continuations of one row: rows must leave room for those of others in a step. */
  private static final int MAX_ROW_TARGETS = 256;

  private static final AtomicLong NUMBER = new AtomicLong();

  private final LoadedModel model;
  private final ModelHeads heads;
  private final boolean prefixCache;
  private final int maxTargets;

  ScorePlanner(LoadedModel model, ModelHeads heads, boolean prefixCache) {
    this.model = model;
    this.heads = heads;
    this.prefixCache = prefixCache;
    maxTargets = Math.min(MAX_ROW_TARGETS, model.options().message().getMaxStepTargets());
  }

  /** Continuations that stand behind the same tokens but for their last ones. */
  private record Row(int[] prompt, List<Integer> members) {}

  /** Makes the sink of a sequence; see {@link ScoreJob#sink}. */
  interface Sinks {
    TokenSink make(int first, int promptLength, List<Integer> members);
  }

  /**
   * Plans a request.
   *
   * @param submitted now, in nanoseconds of the engine's clock
   * @return at least one sequence, in the order in which they are to be added
   * @throws InvalidRequestException if the request does not fit the model or the engine
   */
  List<Sequence> plan(
      ScoreRequest request, ScoreEncoder.Encoded encoded, long submitted, Sinks sinks) {
    HeadChoice head = heads.forTokens(request.head());
    int topN = request.logprobs();
    if (topN > model.options().maxTopN()) {
      throw new InvalidRequestException(
          "logprobs: " + topN + " (expected: at most " + model.options().maxTopN()
              + ", the engine's maxLogprobs)");
    }
    int context = encoded.context().length;
    List<int[]> continuations = encoded.continuations();
    requireFit(context, continuations);
    // Without a cache what one request's continuations share is still computed once.
    boolean shares = prefixCache || continuations.size() > 1;
    String salt = prefixCache ? request.cacheSalt() : "score " + NUMBER.incrementAndGet();
    List<Sequence> sequences = new ArrayList<>();
    for (Row row : rows(encoded)) {
      int[] prompt = row.prompt();
      int[] next =
          row.members().stream().mapToInt(i -> last(continuations.get(i))).toArray();
      Sequence sequence =
          new Sequence(
              prompt,
              1,
              head,
              SamplingParams.GREEDY,
              0,
              topN == 0 ? Sequence.NO_LOGPROBS : topN,
              new int[0],
              model.ropes(prompt.length),
              submitted,
              Deadlines.of(submitted, request.timeout()),
              sinks.make(context, prompt.length, row.members()));
      sequence.score(context, next);
      sequence.prioritize(request.priority());
      sequence.expire(Deadlines.of(submitted, request.queueTimeout()), Sequence.NO_DEADLINE);
      if (shares) {
        sequence.cachePrefix(salt, model.options().blockSize());
      }
      if (!sequences.isEmpty()) {
        sequence.queueWith(sequences.get(0));
      }
      sequences.add(sequence);
    }
    return sequences;
  }

  private List<Row> rows(ScoreEncoder.Encoded encoded) {
    int[] context = encoded.context();
    Map<IntBuffer, Row> open = new LinkedHashMap<>();
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < encoded.continuations().size(); i++) {
      int[] tokens = encoded.continuations().get(i);
      IntBuffer given = IntBuffer.wrap(tokens, 0, tokens.length - 1);
      Row row = open.get(given);
      if (row == null || row.members().size() >= maxTargets) {
        int[] prompt = Arrays.copyOf(context, context.length + tokens.length - 1);
        System.arraycopy(tokens, 0, prompt, context.length, tokens.length - 1);
        row = new Row(prompt, new ArrayList<>());
        open.put(given, row);
        rows.add(row);
      }
      row.members().add(i);
    }
    return rows;
  }

  private void requireFit(int context, List<int[]> continuations) {
    int most = model.mostTokens();
    for (int i = 0; i < continuations.size(); i++) {
      // The last token is a target and no input.
      long inputs = (long) context + continuations.get(i).length - 1;
      if (inputs > most) {
        throw new InvalidRequestException(
            "continuations[" + i + "]: " + continuations.get(i).length + " tokens behind "
                + context + " of the prompt (expected: together at most " + (most + 1)
                + ", the context and one token behind it)");
      }
    }
  }

  private static int last(int[] tokens) {
    return tokens[tokens.length - 1];
  }
}
