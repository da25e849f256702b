package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.Set;

/**
 * Calls as the whole answer: a JSON object with the name of a tool, or several with semicolons
 * between, perhaps after a marker. Any other answer is text.
 */
final class LlamaStage implements Stage {
  private enum State {
    START,
    CALL,
    AFTER_CALL,
    TEXT
  }

  private final OutputEvents events;
  private final Set<String> names;
  private final MarkerMatcher tag = new MarkerMatcher("<|python_tag|>");
  private final StringBuilder raw = new StringBuilder();
  private CallReader call;
  private boolean tagged;
  private State state = State.START;

  LlamaStage(Set<String> names, OutputEvents events) {
    this.names = names;
    this.events = events;
    call = new CallReader(events, names);
  }

  @Override
  public void accept(char c) {
    switch (state) {
      case START -> {
        raw.append(c);
        start(c);
      }
      case CALL -> {
        raw.append(c);
        read(c);
      }
      case AFTER_CALL -> {
        raw.append(c);
        if (c == '{') {
          begin(c);
        } else if (c != ';' && c != ',' && !Character.isWhitespace(c)) {
          leave();
        }
      }
      default -> events.text(ChunkKind.ANSWER, c);
    }
  }

  private void start(char c) {
    if (!tag.isHolding() && c == '{') {
      begin(c);
    } else if (!tag.isHolding() && Character.isWhitespace(c)) {
      return;
    } else if (tagged) {
      giveUp("code, not a call"); // what follows the marker is a program
    } else if (tag.accept(c) == 0) {
      tagged = true;
    } else if (tag.released().length() > 0) {
      leave();
    }
  }

  private void begin(char c) {
    call = new CallReader(events, names);
    state = State.CALL;
    read(c);
  }

  private void read(char c) {
    switch (call.accept(c)) {
      case DONE -> {
        raw.setLength(0);
        state = State.AFTER_CALL;
      }
      // A JSON object that is no call is an answer like any other, unless a marker says otherwise.
      case BAD -> {
        if (tagged || call.hasBegun()) {
          giveUp(call.problem());
        } else {
          leave();
        }
      }
      default -> {}
    }
  }

  private void leave() {
    events.text(ChunkKind.ANSWER, raw);
    raw.setLength(0);
    state = State.TEXT;
  }

  private void giveUp(String why) {
    events.giveUp(raw, why);
    raw.setLength(0);
    state = State.TEXT;
  }

  @Override
  public void finish() {
    if (state == State.CALL && (tagged || call.hasBegun())) {
      giveUp("cut off");
    } else if (state != State.AFTER_CALL || !raw.toString().isBlank()) {
      leave();
    }
  }
}
