package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What becomes of a batch whose thread is interrupted, or whose engine misbehaves. */
@Timeout(600)
class RequestBatchTest {
  private final List<Generation> submitted = new ArrayList<>();
  private int cancels;

  /** A generation that runs until it is cancelled. */
  private Generation endless() {
    Generation[] self = new Generation[1];
    self[0] =
        new Generation(
            Runnable::run,
            Runnable::run,
            1,
            1 << 20,
            detail -> {
              cancels++;
              end(self[0], FinishReason.CANCELLED);
            });
    submitted.add(self[0]);
    return self[0];
  }

  private static void end(Generation generation, FinishReason reason) {
    if (generation.outcomeNow() == null) {
      generation.finish(
          new GenerationResult(
              "", List.of(), List.of(), reason, "", 1, new Usage(1, 0, 0),
              new Timings(0, 0, 0, 0)));
    }
  }

  private static List<GenerationRequest> requests(int count) {
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      requests.add(GenerationRequest.builder().promptTokens(1).build());
    }
    return requests;
  }

  @Test
  void anInterruptCancelsWhatIsOpenAndSubmitsNothingMore() {
    Thread.currentThread().interrupt();
    List<GenerationOutcome> outcomes =
        RequestBatch.generations(requests(5), request -> endless(), 2);
    assertTrue(Thread.interrupted(), "the thread stays interrupted");
    assertEquals(2, submitted.size());
    assertEquals(5, outcomes.size());
    for (GenerationOutcome outcome : outcomes) {
      assertEquals(FinishReason.CANCELLED, outcome.result().orElseThrow().finishReason());
    }
    assertEquals(
        "interrupted before it was submitted", outcomes.get(4).result().orElseThrow().detail());
  }

  @Test
  void anInterruptEndsTheWaitForAFullQueue() {
    Thread.currentThread().interrupt();
    List<GenerationOutcome> outcomes =
        RequestBatch.generations(
            requests(3),
            request -> {
              throw new QueueFullException("full");
            },
            2);
    assertTrue(Thread.interrupted());
    outcomes.forEach(
        o -> assertEquals(FinishReason.CANCELLED, o.result().orElseThrow().finishReason()));
  }

  @Test
  void whatIsOpenIsCancelledWhenSubmittingThrowsADefect() {
    assertThrows(
        IllegalStateException.class,
        () ->
            RequestBatch.generations(
                requests(4),
                request -> {
                  if (submitted.size() == 2) {
                    throw new IllegalStateException("a defect");
                  }
                  return endless();
                },
                4));
    assertEquals(2, cancels);
  }
}
