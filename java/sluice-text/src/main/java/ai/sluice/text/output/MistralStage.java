package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import org.jspecify.annotations.Nullable;

/**
 * Calls after {@code [TOOL_CALLS]}: a list of JSON objects, or a name, perhaps {@code [CALL_ID]}
 * and an id, {@code [ARGS]} and a JSON object.
 */
final class MistralStage implements Stage {
  private static final String OPEN = "[TOOL_CALLS]";
  private static final String ARGS = "[ARGS]";
  private static final String CALL_ID = "[CALL_ID]";
  private static final int MAX_NAME = 256;

  private enum State {
    TEXT,
    BEFORE,
    LIST,
    ITEM,
    AFTER_ITEM,
    NAME,
    ARGUMENTS_BEGIN,
    ARGUMENTS
  }

  private final OutputEvents events;
  private final MarkerMatcher open = new MarkerMatcher(OPEN);
  private final Seam seam = new Seam(false);
  private final StringBuilder raw = new StringBuilder();
  private final StringBuilder header = new StringBuilder();
  private CallReader item;
  private @Nullable ArgumentsReader arguments;
  private State state = State.TEXT;

  MistralStage(OutputEvents events) {
    this.events = events;
    item = new CallReader(events, null);
  }

  @Override
  public void accept(char c) {
    if (state != State.TEXT) {
      raw.append(c);
    }
    switch (state) {
      case TEXT -> text(c);
      case BEFORE -> {
        if (c == '[') {
          state = State.LIST;
        } else if (!Character.isWhitespace(c)) {
          header.setLength(0);
          state = State.NAME;
          name(c);
        }
      }
      case LIST -> {
        if (c == '{') {
          item = new CallReader(events, null);
          state = State.ITEM;
          item(c);
        } else if (!Character.isWhitespace(c)) {
          giveUp("malformed");
        }
      }
      case ITEM -> item(c);
      case AFTER_ITEM -> {
        if (c == ',') {
          state = State.LIST;
        } else if (c == ']') {
          done();
        } else if (!Character.isWhitespace(c)) {
          giveUp("malformed");
        }
      }
      case NAME -> name(c);
      case ARGUMENTS_BEGIN -> {
        if (c == '{') {
          beginArguments(c);
        } else if (!Character.isWhitespace(c)) {
          giveUp("malformed");
        }
      }
      default -> arguments(c);
    }
  }

  private void text(char c) {
    boolean begins = open.accept(c) == 0;
    say(open.released());
    if (begins) {
      raw.append(seam.marker()).append(OPEN);
      state = State.BEFORE;
    }
  }

  private void say(CharSequence text) {
    for (int i = 0; i < text.length(); i++) {
      events.text(ChunkKind.ANSWER, seam.accept(text.charAt(i)));
    }
  }

  private void item(char c) {
    switch (item.accept(c)) {
      case DONE -> {
        raw.setLength(0);
        state = State.AFTER_ITEM;
      }
      case BAD -> giveUp(item.problem());
      default -> {}
    }
  }

  private void name(char c) {
    if (c == '{') {
      beginArguments(c);
      return;
    }
    header.append(c);
    int length = header.length();
    if (length >= ARGS.length() && header.indexOf(ARGS, length - ARGS.length()) >= 0) {
      header.setLength(length - ARGS.length());
      state = State.ARGUMENTS_BEGIN;
    } else if (length > MAX_NAME || c == '\n') {
      giveUp("without a name");
    }
  }

  private void beginArguments(char c) {
    int at = header.indexOf(CALL_ID);
    String name = (at < 0 ? header.toString() : header.substring(0, at)).strip();
    String id = at < 0 ? null : header.substring(at + CALL_ID.length()).strip();
    if (name.isEmpty()) {
      giveUp("without a name");
      return;
    }
    arguments = new ArgumentsReader(events, id == null || id.isEmpty() ? null : id, name);
    state = State.ARGUMENTS;
    arguments(c);
  }

  private void arguments(char c) {
    ArgumentsReader reader = arguments;
    Progress progress = reader == null ? Progress.BAD : reader.accept(c);
    if (progress == Progress.DONE) {
      done();
    } else if (progress == Progress.BAD) {
      giveUp("malformed");
    }
  }

  private void done() {
    raw.setLength(0);
    state = State.TEXT;
  }

  private void giveUp(String why) {
    events.giveUp(raw, why);
    raw.setLength(0);
    seam.noMarker();
    state = State.TEXT;
  }

  @Override
  public void finish() {
    if (state == State.TEXT) {
      say(open.takeHeld());
      events.text(ChunkKind.ANSWER, seam.finish());
    } else if (state == State.AFTER_ITEM) {
      say(raw.toString().isBlank() ? "" : raw);
    } else {
      giveUp("cut off");
    }
  }
}
