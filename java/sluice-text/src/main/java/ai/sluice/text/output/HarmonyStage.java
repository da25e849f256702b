package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The messages of gpt-oss: a head that names a channel and perhaps a recipient, and a body. The
 * prompt ends within the first head.
 */
final class HarmonyStage implements Stage {
  private static final String START = "<|start|>";
  private static final String CHANNEL = "<|channel|>";
  private static final String CONSTRAIN = "<|constrain|>";
  private static final String MESSAGE = "<|message|>";
  private static final String END = "<|end|>";
  private static final String CALL = "<|call|>";
  private static final String RETURN = "<|return|>";
  private static final Pattern RECIPIENT = Pattern.compile("\\bto=([^\\s<]+)");
  private static final Pattern CHANNEL_NAME = Pattern.compile("<\\|channel\\|>\\s*(\\w+)");
  private static final int MAX_HEAD = 512;

  /** Markers whose text has to be seen. */
  static final String[] MARKERS = {START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN};

  private enum State {
    HEAD,
    BODY,
    CALL_BODY,
    BETWEEN,
    TEXT
  }

  private final OutputEvents events;
  private final boolean readsReasoning;
  private final boolean readsCalls;
  private final MarkerMatcher headEnd = new MarkerMatcher(MESSAGE);
  private final MarkerMatcher ends = new MarkerMatcher(END, CALL, RETURN, START, CHANNEL);
  private final StringBuilder head = new StringBuilder();
  private final StringBuilder raw = new StringBuilder();
  private @Nullable ArgumentsReader call;
  private boolean inArguments;
  private ChunkKind kind = ChunkKind.ANSWER;
  private State state = State.HEAD;

  /**
   * Starts in the head of the assistant's first message.
   *
   * @param readsReasoning whether the analysis channel is reasoning; else it is the answer
   * @param readsCalls whether messages to functions are calls; else they are the answer
   */
  HarmonyStage(boolean readsReasoning, boolean readsCalls, OutputEvents events) {
    this.readsReasoning = readsReasoning;
    this.readsCalls = readsCalls;
    this.events = events;
  }

  @Override
  public void accept(char c) {
    switch (state) {
      case HEAD -> head(c);
      case BODY -> body(c);
      case CALL_BODY -> callBody(c);
      case BETWEEN -> between(c);
      default -> events.text(ChunkKind.ANSWER, c);
    }
  }

  private void head(char c) {
    boolean ended = headEnd.accept(c) == 0;
    head.append(headEnd.released());
    if (ended) {
      beginBody();
    } else if (head.length() > MAX_HEAD) {
      // No head: the prompt ended elsewhere, or the model knows nothing of channels.
      events.text(ChunkKind.ANSWER, head);
      events.text(ChunkKind.ANSWER, headEnd.takeHeld());
      head.setLength(0);
      events.enterAnswer();
      state = State.TEXT;
    }
  }

  private void beginBody() {
    String text = head.toString();
    head.setLength(0);
    Matcher channel = CHANNEL_NAME.matcher(text);
    Matcher recipient = RECIPIENT.matcher(text);
    boolean analysis = channel.find() && channel.group(1).equals("analysis");
    if (recipient.find() && readsCalls) {
      String name = recipient.group(1);
      raw.setLength(0);
      raw.append(text).append(MESSAGE);
      call = new ArgumentsReader(
          events, null, name.startsWith("functions.") ? name.substring(10) : name);
      inArguments = false;
      state = State.CALL_BODY;
    } else {
      kind = analysis && readsReasoning ? ChunkKind.REASONING : ChunkKind.ANSWER;
      if (kind == ChunkKind.REASONING) {
        events.enterReasoning();
      } else {
        events.enterAnswer();
      }
      state = State.BODY;
    }
  }

  private void body(char c) {
    int met = ends.accept(c);
    events.text(kind, ends.released());
    if (met >= 0) {
      endMessage(met);
    }
  }

  private void endMessage(int marker) {
    events.leaveReasoning();
    events.leaveAnswer();
    state = State.BETWEEN;
    head.setLength(0);
    if (marker == 1 || marker == 2) {
      events.endTurn();
    } else if (marker == 3 || marker == 4) {
      head.append(marker == 3 ? START : CHANNEL);
      state = State.HEAD;
    }
  }

  private void callBody(char c) {
    ArgumentsReader reader = call;
    raw.append(c);
    if (reader == null || !inArguments && Character.isWhitespace(c)) {
      return;
    }
    inArguments = true;
    switch (reader.accept(c)) {
      case DONE -> {
        raw.setLength(0);
        state = State.BETWEEN;
      }
      case BAD -> {
        events.giveUp(raw, "malformed");
        raw.setLength(0);
        kind = ChunkKind.ANSWER;
        state = State.BODY;
      }
      default -> {}
    }
  }

  /** Between messages, where nothing but the next head or the end of the turn is expected. */
  private void between(char c) {
    int met = ends.accept(c);
    CharSequence more = ends.released();
    if (!more.toString().isBlank()) {
      events.text(ChunkKind.ANSWER, more);
    }
    if (met >= 0) {
      endMessage(met);
    }
  }

  @Override
  public void finish() {
    switch (state) {
      case HEAD -> events.text(ChunkKind.ANSWER, head + headEnd.takeHeld());
      case BODY -> events.text(kind, ends.takeHeld());
      case CALL_BODY -> events.giveUp(raw, "cut off");
      default -> events.text(ChunkKind.ANSWER, ends.takeHeld());
    }
  }
}
