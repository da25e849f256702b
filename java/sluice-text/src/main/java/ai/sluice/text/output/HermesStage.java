package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;

/** Calls as JSON objects, or lists of them, between two markers in the answer. */
final class HermesStage implements Stage {
  private static final String OPEN = "<tool_call>";

  private enum State {
    TEXT,
    BEFORE,
    CALL,
    AFTER_ITEM,
    AFTER_CALL
  }

  private final OutputEvents events;
  private final MarkerMatcher open = new MarkerMatcher(OPEN);
  private final MarkerMatcher close = new MarkerMatcher("</tool_call>");
  private final Seam seam = new Seam(false);
  /** What is no answer only if it becomes a call. */
  private final StringBuilder raw = new StringBuilder();

  private CallReader call;
  private boolean inList;
  private State state = State.TEXT;

  HermesStage(OutputEvents events) {
    this.events = events;
    call = new CallReader(events, null);
  }

  @Override
  public void accept(char c) {
    switch (state) {
      case TEXT -> {
        boolean begins = open.accept(c) == 0;
        say(open.released());
        if (begins) {
          raw.append(seam.marker()).append(OPEN);
          inList = false;
          state = State.BEFORE;
        }
      }
      case BEFORE -> {
        raw.append(c);
        if (c == '[' && !inList) {
          inList = true;
        } else if (c == '{') {
          read(c);
        } else if (!Character.isWhitespace(c)) {
          giveUp("malformed");
        }
      }
      case CALL -> {
        raw.append(c);
        read(c);
      }
      case AFTER_ITEM -> {
        raw.append(c);
        if (c == ',') {
          state = State.BEFORE;
        } else if (c == ']') {
          raw.setLength(0);
          state = State.AFTER_CALL;
        } else if (!Character.isWhitespace(c)) {
          giveUp("malformed");
        }
      }
      default -> afterCall(c);
    }
  }

  private void say(CharSequence text) {
    for (int i = 0; i < text.length(); i++) {
      events.text(ChunkKind.ANSWER, seam.accept(text.charAt(i)));
    }
  }

  private void read(char c) {
    if (state == State.BEFORE) {
      call = new CallReader(events, null);
      state = State.CALL;
    }
    switch (call.accept(c)) {
      case DONE -> {
        raw.setLength(0);
        state = inList ? State.AFTER_ITEM : State.AFTER_CALL;
      }
      case BAD -> giveUp(call.problem());
      default -> {}
    }
  }

  /** The closing marker, which models forget at times. */
  private void afterCall(char c) {
    if (!close.isHolding() && Character.isWhitespace(c)) {
      raw.append(c);
    } else if (close.accept(c) == 0) {
      raw.setLength(0);
      state = State.TEXT;
    } else if (close.released().length() > 0) {
      String text = raw.toString() + close.released() + close.takeHeld();
      raw.setLength(0);
      state = State.TEXT;
      acceptAll(text);
    }
  }

  private void giveUp(String why) {
    events.giveUp(raw, why);
    raw.setLength(0);
    seam.noMarker();
    state = State.TEXT;
  }

  @Override
  public void finish() {
    switch (state) {
      case TEXT -> {
        say(open.takeHeld());
        events.text(ChunkKind.ANSWER, seam.finish());
      }
      case BEFORE, CALL -> giveUp("cut off");
      default -> {
        String rest = raw + close.takeHeld();
        if (!rest.isBlank()) {
          say(rest);
          events.text(ChunkKind.ANSWER, seam.finish());
        }
      }
    }
  }
}
