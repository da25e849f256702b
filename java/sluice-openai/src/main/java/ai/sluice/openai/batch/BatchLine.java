package ai.sluice.openai.batch;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.openai.CompletionWork;
import ai.sluice.openai.OpenAiRequest;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/** A line that is being answered: its parts, and what has come of them. Not thread-safe. */
final class BatchLine {
  final LineId id;
  final String customId;
  final OpenAiRequest request;
  final long bytes;
  private final List<CompletionWork> work;
  private final List<Part> parts = new ArrayList<>();
  private int missing;
  private boolean over;

  /** The end of a part: the result of a generation or of a score. */
  record Result(@Nullable GenerationResult generation, @Nullable ScoreResult score) {
    FinishReason reason() {
      return generation != null
          ? generation.finishReason()
          : Objects.requireNonNull(score).finishReason();
    }

    String detail() {
      return generation != null
          ? generation.detail()
          : Objects.requireNonNull(score).detail();
    }
  }

  /** What is submitted at once. */
  static final class Part {
    final BatchLine line;
    private final @Nullable GenerationRequest generation;
    private final @Nullable ScoreRequest score;
    private @Nullable Result result;
    int tries;
    @Nullable CompletableFuture<?> future;

    private Part(
        BatchLine line, @Nullable GenerationRequest generation, @Nullable ScoreRequest score) {
      this.line = line;
      this.generation = generation;
      this.score = score;
    }

    /** Sequences that it opens. */
    int width() {
      return generation == null ? 1 : generation.n();
    }

    /**
     * Submits it.
     *
     * @param end is told the result or the failure, on any thread
     */
    CompletableFuture<?> submit(
        BatchEngine engine, BiConsumer<@Nullable Result, @Nullable Throwable> end) {
      if (generation != null) {
        CompletableFuture<GenerationResult> submitted = engine.submit(generation);
        submitted.whenComplete(
            (value, failure) ->
                end.accept(value == null ? null : new Result(value, null), failure));
        return submitted;
      }
      CompletableFuture<ScoreResult> submitted =
          engine.submit(Objects.requireNonNull(score));
      submitted.whenComplete(
          (value, failure) -> end.accept(value == null ? null : new Result(null, value), failure));
      return submitted;
    }
  }

  BatchLine(
      LineId id, String customId, OpenAiRequest request, List<CompletionWork> work, long bytes) {
    this.id = id;
    this.customId = customId;
    this.request = request;
    this.work = work;
    this.bytes = bytes;
    for (CompletionWork each : work) {
      each.score().ifPresent(score -> parts.add(new Part(this, null, score)));
      each.generation().ifPresent(generation -> parts.add(new Part(this, generation, null)));
    }
    missing = parts.size();
  }

  /** What is to be submitted; nothing for prompts of one token that are only scored. */
  List<Part> parts() {
    return parts;
  }

  /** Takes a part's result; true when it was the last that was missing. */
  boolean complete(Part part, Result result) {
    part.result = result;
    return --missing == 0;
  }

  /** What has come of all; only once nothing is missing. */
  List<CompletionWork.Done> done() {
    List<CompletionWork.Done> done = new ArrayList<>(work.size());
    int next = 0;
    for (CompletionWork each : work) {
      ScoreResult score = each.score().isPresent() ? result(next++).score() : null;
      GenerationResult generated =
          each.generation().isPresent() ? result(next++).generation() : null;
      done.add(
          new CompletionWork.Done(
              each, Optional.ofNullable(generated), Optional.ofNullable(score)));
    }
    return done;
  }

  private Result result(int part) {
    return Objects.requireNonNull(parts.get(part).result);
  }

  /** Whether its answer has been written already. */
  boolean isOver() {
    return over;
  }

  void setOver() {
    over = true;
  }
}
