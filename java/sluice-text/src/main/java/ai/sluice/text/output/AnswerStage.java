package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;

/** Everything is the answer. */
final class AnswerStage implements Stage {
  private final OutputEvents events;

  AnswerStage(OutputEvents events) {
    this.events = events;
  }

  @Override
  public void accept(char c) {
    events.text(ChunkKind.ANSWER, c);
  }

  @Override
  public void finish() {}
}
