package ai.sluice.core;

import ai.sluice.api.ContinuationScore;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.Timings;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.TopLogprob;
import ai.sluice.api.Usage;
import ai.sluice.core.scheduler.SequenceTimes;
import ai.sluice.core.scheduler.StepOutput;
import ai.sluice.core.scheduler.TokenSink;
import ai.sluice.text.StreamingDecoder;
import ai.sluice.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Gathers the scores that the sequences of one request give into its result. When one of them ends
 * without its scores, the others are ended too. Lives on the scheduler's thread.
 */
final class ScoreJob {
  /** The likeliest tokens of a place, without texts: those are made with the result, elsewhere. */
  private record Likeliest(int[] tokens, float[] logprobs) {}

  private final WorkFuture<ScoreResult> future;
  private final @Nullable Tokenizer tokenizer;
  private final QueuePlace place;
  private final List<int[]> continuations;
  /** By continuation: log-probabilities and ranks of its tokens. */
  private final float[][] logprobs;

  private final int[][] ranks;

  /** By continuation and token: the likeliest tokens, where they were asked for. */
  private final @Nullable Likeliest[][] tops;

  private final int topN;
  private final Runnable endOthers;
  private boolean ending;
  private int open;
  private int waiting;
  private int promptTokens;
  private int cachedTokens;
  private FinishReason reason = FinishReason.STOP;
  private String detail = "";
  private @Nullable SluiceException failure;
  private long submitted;
  private long started = SequenceTimes.NEVER;

  /**
   * Creates a job without sequences.
   *
   * @param future takes the result
   * @param tokenizer names tokens, or null where there is none
   * @param place given back when the request no longer waits, and when it is over
   * @param continuations the tokens that are scored
   * @param topN likeliest tokens to report at each of their places
   * @param endOthers asks for the end of all sequences; called once at most
   */
  ScoreJob(
      WorkFuture<ScoreResult> future,
      @Nullable Tokenizer tokenizer,
      QueuePlace place,
      List<int[]> continuations,
      int topN,
      Runnable endOthers) {
    this.future = future;
    this.tokenizer = tokenizer;
    this.place = place;
    this.continuations = continuations;
    this.topN = topN;
    this.endOthers = endOthers;
    logprobs = new float[continuations.size()][];
    ranks = new int[continuations.size()][];
    tops = new Likeliest[continuations.size()][];
    for (int i = 0; i < logprobs.length; i++) {
      logprobs[i] = new float[continuations.get(i).length];
      ranks[i] = new int[logprobs[i].length];
      tops[i] = new Likeliest[logprobs[i].length];
    }
  }

  /**
   * A sink for one sequence. All are made before the scheduler knows the first sequence.
   *
   * @param first position of the first token of a continuation
   * @param promptLength tokens that the sequence is given
   * @param members continuations whose last tokens are the targets behind those, in their order;
   *     all but their last tokens are what the sequence is given from {@code first} on
   */
  TokenSink sink(int first, int promptLength, List<Integer> members) {
    open++;
    waiting++;
    return new Sink(first, promptLength, members);
  }

  private void ended() {
    if (--open > 0) {
      if (!ending && (reason != FinishReason.STOP || failure != null)) {
        ending = true;
        endOthers.run();
      }
      return;
    }
    place.leave();
    if (failure != null) {
      future.fail(failure);
    }
  }

  private ScoreResult result(long finished) {
    List<ContinuationScore> scores = new ArrayList<>();
    if (reason == FinishReason.STOP) {
      for (int i = 0; i < logprobs.length; i++) {
        scores.add(score(continuations.get(i), logprobs[i], ranks[i], tops[i]));
      }
    }
    boolean ran = started != SequenceTimes.NEVER;
    return new ScoreResult(
        scores,
        reason,
        detail,
        new Usage(promptTokens, cachedTokens, 0),
        new Timings(
            micros((ran ? started : finished) - submitted),
            ran ? micros(finished - started) : 0,
            0,
            micros(finished - submitted)));
  }

  private ContinuationScore score(
      int[] tokens, float[] logprobs, int[] ranks, @Nullable Likeliest[] tops) {
    List<TokenLogprob> list = new ArrayList<>(tokens.length);
    double sum = 0;
    boolean greedy = true;
    for (int i = 0; i < tokens.length; i++) {
      sum += logprobs[i];
      greedy &= ranks[i] == 0;
      list.add(
          new TokenLogprob(tokens[i], text(tokens[i]), logprobs[i], ranks[i], named(tops[i])));
    }
    return new ContinuationScore(sum, greedy, list);
  }

  private List<TopLogprob> named(@Nullable Likeliest likeliest) {
    if (likeliest == null) {
      return List.of();
    }
    List<TopLogprob> list = new ArrayList<>(topN);
    for (int n = 0; n < topN; n++) {
      int token = likeliest.tokens()[n];
      list.add(new TopLogprob(token, text(token), likeliest.logprobs()[n]));
    }
    return list;
  }

  private String text(int token) {
    if (tokenizer == null) {
      return "";
    }
    StreamingDecoder alone = tokenizer.continuingDecoder(false);
    return alone.accept(token) + alone.finish();
  }

  private static long micros(long nanos) {
    return TimeUnit.NANOSECONDS.toMicros(nanos);
  }

  private final class Sink implements TokenSink {
    private final int first;
    private final int promptLength;
    private final List<Integer> members;
    private int numNext;
    private boolean over;
    private @Nullable Likeliest top;

    Sink(int first, int promptLength, List<Integer> members) {
      this.first = first;
      this.promptLength = promptLength;
      this.members = members;
      promptTokens += promptLength;
    }

    @Override
    public void admitted(int tokens) {
      cachedTokens += tokens;
      if (--waiting == 0) {
        // While one waits, the request's tokens are held against others.
        place.leaveQueue();
      }
    }

    @Override
    public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
      throw new IllegalStateException("a token for a sequence of scores (a defect of Sluice)");
    }

    @Override
    public void likeliest(StepOutput output, int row) {
      int[] tokens = new int[topN];
      float[] logprobs = new float[topN];
      for (int n = 0; n < topN; n++) {
        tokens[n] = output.topToken(row, 0, n);
        logprobs[n] = output.topLogprob(row, 0, n);
      }
      top = new Likeliest(tokens, logprobs);
    }

    @Override
    public void scored(int position, int token, float logprob, int rank) {
      int at = position - first;
      if (position < promptLength) {
        for (int member : members) {
          put(member, at, token, logprob, rank);
        }
      } else {
        put(members.get(numNext++), at, token, logprob, rank);
      }
    }

    private void put(int member, int at, int token, float logprob, int rank) {
      if (continuations.get(member)[at] != token) {
        throw new IllegalStateException(
            "score of token " + token + " (expected: of " + continuations.get(member)[at]
                + "; a defect of Sluice)");
      }
      logprobs[member][at] = logprob;
      ranks[member][at] = rank;
      tops[member][at] = top;
    }

    @Override
    public void finished(FinishReason why, String words, SequenceTimes times) {
      if (over) {
        return;
      }
      over = true;
      submitted = times.submitted();
      if (times.started() != SequenceTimes.NEVER
          && (started == SequenceTimes.NEVER || times.started() < started)) {
        started = times.started();
      }
      // The first that ends without scores says why; the others are cancelled because of it.
      if (why != FinishReason.STOP && reason == FinishReason.STOP) {
        reason = why;
        detail = words;
      } else if (why == FinishReason.STOP && numNext != members.size()) {
        failure =
            new EngineFailedException(
                "scores: " + numNext + " (expected: " + members.size() + "; a defect of Sluice)");
      }
      ended();
      if (open == 0 && failure == null) {
        long finished = times.finished();
        future.deliver(() -> result(finished));
      }
    }

    @Override
    public void failed(SluiceException cause) {
      if (over) {
        // Its end could not be told.
        future.fail(cause);
        return;
      }
      over = true;
      failure = cause;
      ended();
    }
  }
}
