package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Calls in a section of their own, each between markers: a head, a separator, and the arguments, as
 * DeepSeek and Kimi K2 write them.
 */
final class SectionStage implements Stage {
  private static final int MAX_HEAD = 512;
  private static final Pattern FENCE = Pattern.compile("(?:```(?:json)?)?");
  private static final Pattern KIMI_HEAD = Pattern.compile("(?:functions\\.)?(.+?)(?::\\d+)?");

  /** The markers of one family. */
  enum Family {
    DEEPSEEK(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>",
        "<｜tool▁sep｜>"),
    KIMI(
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
        "<|tool_call_begin|>",
        "<|tool_call_end|>",
        "<|tool_call_argument_begin|>");

    private final String sectionBegin;
    private final String sectionEnd;
    private final String callBegin;
    private final String callEnd;
    private final String separator;

    Family(
        String sectionBegin,
        String sectionEnd,
        String callBegin,
        String callEnd,
        String separator) {
      this.sectionBegin = sectionBegin;
      this.sectionEnd = sectionEnd;
      this.callBegin = callBegin;
      this.callEnd = callEnd;
      this.separator = separator;
    }

    List<String> markers() {
      return List.of(sectionBegin, sectionEnd, callBegin, callEnd, separator);
    }
  }

  private enum State {
    TEXT,
    SECTION,
    HEAD,
    BEFORE_ARGUMENTS,
    ARGUMENTS,
    AFTER_ARGUMENTS
  }

  private final Family family;
  private final OutputEvents events;
  private final MarkerMatcher begin;
  private final MarkerMatcher inSection;
  private final MarkerMatcher separator;
  private final MarkerMatcher end;
  private final Seam seam = new Seam(false);
  private final StringBuilder raw = new StringBuilder();
  private final StringBuilder head = new StringBuilder();
  private final StringBuilder fence = new StringBuilder();
  private @Nullable ArgumentsReader arguments;
  private State state = State.TEXT;

  SectionStage(Family family, OutputEvents events) {
    this.family = family;
    this.events = events;
    begin = new MarkerMatcher(family.sectionBegin, family.callBegin);
    inSection = new MarkerMatcher(family.callBegin, family.sectionEnd);
    separator = new MarkerMatcher(family.separator);
    end = new MarkerMatcher(family.callEnd, family.sectionEnd);
  }

  @Override
  public void accept(char c) {
    if (state == State.TEXT) {
      text(c);
      return;
    }
    raw.append(c);
    switch (state) {
      case SECTION -> section(c);
      case HEAD -> {
        boolean ended = separator.accept(c) == 0;
        head.append(separator.released());
        if (ended) {
          fence.setLength(0);
          state = State.BEFORE_ARGUMENTS;
        } else if (head.length() > MAX_HEAD) {
          giveUp("without a name");
        }
      }
      case BEFORE_ARGUMENTS -> {
        if (c == '{') {
          beginArguments();
          arguments(c);
        } else if (fence.length() == MAX_HEAD) {
          giveUp("malformed");
        } else {
          fence.append(c);
        }
      }
      case ARGUMENTS -> arguments(c);
      default -> afterArguments(c);
    }
  }

  private void text(char c) {
    int met = begin.accept(c);
    say(begin.released());
    if (met >= 0) {
      raw.append(seam.marker()).append(met == 0 ? family.sectionBegin : family.callBegin);
      if (met == 0) {
        state = State.SECTION;
      } else {
        beginHead();
      }
    }
  }

  private void say(CharSequence text) {
    for (int i = 0; i < text.length(); i++) {
      events.text(ChunkKind.ANSWER, seam.accept(text.charAt(i)));
    }
  }

  private void beginHead() {
    head.setLength(0);
    state = State.HEAD;
  }

  /** Between calls. */
  private void section(char c) {
    int met = inSection.accept(c);
    if (!inSection.released().toString().isBlank()) {
      leave(inSection);
    } else if (met == 0) {
      beginHead();
    } else if (met == 1) {
      raw.setLength(0);
      state = State.TEXT;
    }
  }

  /** The name is the head, or the line before a fence around the arguments. */
  private void beginArguments() {
    String name = head.toString().strip();
    String id = null;
    String before = fence.toString().strip();
    if (family == Family.KIMI) {
      id = name.isEmpty() ? null : name;
      var matcher = KIMI_HEAD.matcher(name);
      name = matcher.matches() ? matcher.group(1) : name;
    } else if (!before.isEmpty()) {
      int line = before.indexOf('\n');
      name = line < 0 ? before : before.substring(0, line).strip();
      before = line < 0 ? "" : before.substring(line).strip();
    }
    if (name.isEmpty() || !FENCE.matcher(before).matches()) {
      arguments = null;
    } else {
      arguments = new ArgumentsReader(events, id, name);
    }
    state = State.ARGUMENTS;
  }

  private void arguments(char c) {
    ArgumentsReader reader = arguments;
    Progress progress = reader == null ? Progress.BAD : reader.accept(c);
    if (progress == Progress.DONE) {
      raw.setLength(0);
      state = State.AFTER_ARGUMENTS;
    } else if (progress == Progress.BAD) {
      giveUp("malformed");
    }
  }

  private void afterArguments(char c) {
    int met = end.accept(c);
    if (!end.released().toString().replace('`', ' ').isBlank()) {
      leave(end);
    } else if (met >= 0) {
      raw.setLength(0);
      state = met == 0 ? State.SECTION : State.TEXT;
    }
  }

  /** What follows is text again; what the matcher still holds may begin the next section. */
  private void leave(MarkerMatcher matcher) {
    String held = matcher.takeHeld();
    String text = raw.substring(0, raw.length() - held.length());
    raw.setLength(0);
    seam.noMarker();
    state = State.TEXT;
    say(text);
    acceptAll(held);
  }

  private void giveUp(String why) {
    events.giveUp(raw, why);
    raw.setLength(0);
    separator.takeHeld();
    seam.noMarker();
    state = State.TEXT;
  }

  @Override
  public void finish() {
    switch (state) {
      case TEXT -> {
        say(begin.takeHeld());
        events.text(ChunkKind.ANSWER, seam.finish());
      }
      case HEAD, BEFORE_ARGUMENTS, ARGUMENTS -> giveUp("cut off");
      default -> {
        if (!raw.toString().isBlank()) {
          say(raw);
          events.text(ChunkKind.ANSWER, seam.finish());
        }
      }
    }
  }
}
