package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;

/**
 * Reasoning between two markers, before anything else is said; the rest goes to the next stage. A
 * marker anywhere else is text.
 */
final class ThinkStage implements Stage {
  private enum State {
    START,
    REASONING,
    ANSWER
  }

  private final Stage next;
  private final OutputEvents events;
  private final MarkerMatcher open;
  private final MarkerMatcher close;
  private final StringBuilder blank = new StringBuilder();
  private final Seam seam = new Seam(true);
  private boolean skipsLineEnds;
  private State state;

  /**
   * Starts.
   *
   * @param startsInside whether the prompt holds the opening marker already
   * @param next takes the answer
   */
  ThinkStage(
      String open, String close, boolean startsInside, Stage next, OutputEvents events) {
    this.open = new MarkerMatcher(open);
    this.close = new MarkerMatcher(close);
    this.next = next;
    this.events = events;
    state = startsInside ? State.REASONING : State.START;
    if (startsInside) {
      events.enterReasoning();
    }
  }

  @Override
  public void accept(char c) {
    switch (state) {
      case START -> start(c);
      case REASONING -> reason(c);
      default -> answer(c);
    }
  }

  private void start(char c) {
    if (!open.isHolding() && Character.isWhitespace(c)) {
      blank.append(c);
    } else if (open.accept(c) == 0) {
      state = State.REASONING;
      events.enterReasoning();
    } else if (open.released().length() > 0) {
      beginAnswer(blank + open.released().toString() + open.takeHeld());
    }
  }

  private void beginAnswer(String text) {
    state = State.ANSWER;
    events.enterAnswer();
    next.acceptAll(text);
  }

  private void reason(char c) {
    boolean closed = close.accept(c) == 0;
    CharSequence text = close.released();
    for (int i = 0; i < text.length(); i++) {
      events.text(ChunkKind.REASONING, seam.accept(text.charAt(i)));
    }
    if (closed) {
      seam.marker();
      events.leaveReasoning();
      skipsLineEnds = true;
      state = State.ANSWER;
      events.enterAnswer();
    }
  }

  private void answer(char c) {
    if (skipsLineEnds && c == '\n') {
      return;
    }
    skipsLineEnds = false;
    next.accept(c);
  }

  @Override
  public void finish() {
    if (state == State.START) {
      next.acceptAll(blank + open.takeHeld());
    } else if (state == State.REASONING) {
      String rest = close.takeHeld();
      for (int i = 0; i < rest.length(); i++) {
        events.text(ChunkKind.REASONING, seam.accept(rest.charAt(i)));
      }
      events.text(ChunkKind.REASONING, seam.finish());
    }
    next.finish();
  }
}
