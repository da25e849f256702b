package ai.sluice.text.output;

import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads one call, {@code {"name": …, "arguments": {…}}} with its keys in any order, by the
 * character. The arguments are handed on as they come once the name is known.
 */
final class CallReader {
  private static final Set<String> NAME_KEYS = Set.of("name", "function");
  private static final Set<String> ARGUMENT_KEYS = Set.of("arguments", "parameters");
  private static final Set<String> OTHER_KEYS = Set.of("type", "id");

  private enum State {
    KEY,
    IN_KEY,
    COLON,
    VALUE,
    IN_VALUE,
    AFTER_VALUE
  }

  private final OutputEvents events;
  private final @Nullable Set<String> names;
  private final StringBuilder raw = new StringBuilder();
  private final StringBuilder heldArguments = new StringBuilder();
  private final JsonSpan span = new JsonSpan();
  private State state = State.KEY;
  private String key = "";
  private int begin;
  private boolean hasArguments;
  private boolean streams;
  private boolean begun;
  private String name = "";
  private String problem = "malformed";

  /**
   * Starts.
   *
   * @param names names of tools, where an object without one of them is no call; null: any
   */
  CallReader(OutputEvents events, @Nullable Set<String> names) {
    this.events = events;
    this.names = names;
  }

  /** Whether the listener was told of the call. */
  boolean hasBegun() {
    return begun;
  }

  /** What is wrong, after BAD. */
  String problem() {
    return problem;
  }

  /** Takes one more character, the first of which is the opening bracket. */
  Progress accept(char c) {
    int depth = span.depth();
    boolean inString = span.isInString();
    raw.append(c);
    Progress progress = span.accept(c);
    if (progress == Progress.BAD || depth == 0) {
      return progress;
    }
    if (!member(c, depth, inString)) {
      return Progress.BAD;
    }
    return progress == Progress.DONE ? end() : Progress.MORE;
  }

  /** One character of the object's own members; {@code depth} and {@code inString} before it. */
  private boolean member(char c, int depth, boolean inString) {
    boolean blank = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    switch (state) {
      case KEY -> {
        if (c == '"') {
          begin = raw.length() - 1;
          state = State.IN_KEY;
        } else {
          return blank || c == '}';
        }
      }
      case IN_KEY -> {
        if (!span.isInString()) {
          return beginValue();
        }
      }
      case COLON -> {
        if (c == ':') {
          state = State.VALUE;
        } else {
          return blank;
        }
      }
      case VALUE -> {
        if (!blank) {
          begin = raw.length() - 1;
          state = State.IN_VALUE;
          boolean isArguments = ARGUMENT_KEYS.contains(key);
          if (isArguments && hasArguments || c == ',' || c == '}') {
            return false;
          }
          hasArguments |= isArguments;
          streams = isArguments && c == '{';
          stream(c);
        }
      }
      case IN_VALUE -> {
        return value(c, depth, inString, blank);
      }
      default -> {
        if (c == ',') {
          state = State.KEY;
        } else {
          return blank || c == '}';
        }
      }
    }
    return true;
  }

  private boolean beginValue() {
    String read = CallJson.string(raw.substring(begin));
    state = State.COLON;
    if (read == null) {
      return false;
    }
    key = read;
    return names == null
        || NAME_KEYS.contains(key)
        || ARGUMENT_KEYS.contains(key)
        || OTHER_KEYS.contains(key);
  }

  private boolean value(char c, int depth, boolean inString, boolean blank) {
    boolean ends = depth == 1 && !inString && (c == ',' || c == '}' || blank);
    if (ends) {
      return endValue(raw.length() - 1, c);
    }
    stream(c);
    boolean closed =
        span.depth() == 1 && !span.isInString() && (c == '"' || c == '}' || c == ']');
    return !closed || endValue(raw.length(), ' ');
  }

  private void stream(char c) {
    if (streams) {
      heldArguments.append(c);
      handArgumentsOn();
    }
  }

  private void handArgumentsOn() {
    if (begun && heldArguments.length() > 0) {
      events.arguments(heldArguments);
      heldArguments.setLength(0);
    }
  }

  private boolean endValue(int end, char next) {
    state = next == ',' ? State.KEY : State.AFTER_VALUE;
    if (!NAME_KEYS.contains(key) || !name.isEmpty() || raw.charAt(begin) != '"') {
      return true;
    }
    String read = CallJson.string(raw.substring(begin, end));
    if (read == null || read.isEmpty() || names != null && !names.contains(read)) {
      problem = "not the name of a tool";
      return false;
    }
    name = read;
    events.begin(null, name);
    begun = true;
    handArgumentsOn();
    return true;
  }

  private Progress end() {
    Map<String, @Nullable Object> call = CallJson.object(raw.toString());
    if (call == null) {
      return Progress.BAD;
    }
    if (name.isEmpty()) {
      problem = "without a name";
      return Progress.BAD;
    }
    Object given =
        call.containsKey("arguments") ? call.get("arguments") : call.get("parameters");
    Map<String, @Nullable Object> arguments = Map.of();
    String text = "{}";
    if (given instanceof Map<?, ?>) {
      @SuppressWarnings("unchecked") // Jackson's objects have strings as keys
      Map<String, @Nullable Object> object = (Map<String, @Nullable Object>) given;
      arguments = object;
      text = "";
    } else if (given instanceof String encoded && !encoded.isBlank()) {
      Map<String, @Nullable Object> object = CallJson.object(encoded);
      if (object == null) {
        problem = "its arguments are no object";
        return Progress.BAD;
      }
      arguments = object;
      text = encoded;
    } else if (given != null && !(given instanceof String)) {
      problem = "its arguments are no object";
      return Progress.BAD;
    }
    if (!CallJson.fits(name, arguments)) {
      return Progress.BAD;
    }
    events.arguments(text);
    events.done(arguments);
    return Progress.DONE;
  }
}
