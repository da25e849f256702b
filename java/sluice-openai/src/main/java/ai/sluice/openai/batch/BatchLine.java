package ai.sluice.openai.batch;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.openai.OpenAiRequest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A line that is being answered: its requests, and what has come of them. Not thread-safe. */
final class BatchLine {
  final LineId id;
  final String customId;
  final OpenAiRequest request;
  final long bytes;
  private final List<@Nullable GenerationResult> results;
  private int missing;
  private boolean over;

  /** One of a line's requests. */
  static final class Part {
    final BatchLine line;
    final int index;
    final GenerationRequest request;
    int tries;
    @Nullable CompletableFuture<GenerationResult> future;

    private Part(BatchLine line, int index, GenerationRequest request) {
      this.line = line;
      this.index = index;
      this.request = request;
    }

    /** Sequences that the request opens. */
    int width() {
      return request.n();
    }
  }

  BatchLine(LineId id, String customId, OpenAiRequest request, long bytes) {
    this.id = id;
    this.customId = customId;
    this.request = request;
    this.bytes = bytes;
    missing = request.requests().size();
    results = new ArrayList<>(Collections.nCopies(missing, null));
  }

  List<Part> parts() {
    List<Part> parts = new ArrayList<>();
    for (GenerationRequest each : request.requests()) {
      parts.add(new Part(this, parts.size(), each));
    }
    return parts;
  }

  /** Takes a part's result; true when it was the last that was missing. */
  boolean complete(Part part, GenerationResult result) {
    results.set(part.index, result);
    return --missing == 0;
  }

  /** All results; only once none is missing. */
  List<GenerationResult> results() {
    List<GenerationResult> all = new ArrayList<>(results.size());
    for (GenerationResult result : results) {
      all.add(java.util.Objects.requireNonNull(result));
    }
    return all;
  }

  /** Whether an error has been written for it already. */
  boolean isOver() {
    return over;
  }

  void setOver() {
    over = true;
  }
}
