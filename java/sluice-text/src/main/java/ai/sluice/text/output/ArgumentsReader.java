package ai.sluice.text.output;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads the arguments of a call whose name is known, a JSON object, by the character. */
final class ArgumentsReader {
  private final OutputEvents events;
  private final String name;
  private final JsonSpan span = new JsonSpan();
  private final StringBuilder raw = new StringBuilder();

  /** Begins a call. */
  ArgumentsReader(OutputEvents events, @Nullable String id, String name) {
    this.events = events;
    this.name = name;
    events.begin(id, name);
  }

  /** Takes one more character, the first of which is the opening bracket. */
  Progress accept(char c) {
    raw.append(c);
    Progress progress = span.accept(c);
    if (progress == Progress.BAD) {
      return Progress.BAD;
    }
    if (progress == Progress.MORE) {
      events.argument(c);
      return Progress.MORE;
    }
    Map<String, @Nullable Object> arguments = CallJson.object(raw.toString());
    if (arguments == null || !CallJson.fits(name, arguments)) {
      return Progress.BAD;
    }
    events.argument(c);
    events.done(arguments);
    return Progress.DONE;
  }
}
