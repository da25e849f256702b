package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The variable {@code loop}: where a for loop stands. */
final class LoopInfo implements Callable {
  /** Says that there is no such attribute. */
  static final Object NO_ATTRIBUTE = new Object();

  private final Interpreter in;
  private final int depth;
  private final @Nullable Callable recursion;
  private Iterator<? extends @Nullable Object> source;
  private long length;
  private long index = -1;
  private @Nullable Object previous;
  private @Nullable Object current;
  private @Nullable Object ahead;
  private boolean hasAhead;
  private @Nullable List<@Nullable Object> lastChanged;

  /**
   * Starts before the first element.
   *
   * @param length the count of elements, or -1 if it must be found by walking ahead
   * @param recursion what calling the loop does, or null
   */
  LoopInfo(
      Iterator<? extends @Nullable Object> source,
      Interpreter in,
      int depth,
      long length,
      @Nullable Callable recursion) {
    this.source = source;
    this.in = in;
    this.depth = depth;
    this.length = length;
    this.recursion = recursion;
  }

  /** Moves to the next element; false after the last. */
  boolean advance() {
    if (!peek()) {
      return false;
    }
    previous = current;
    current = ahead;
    ahead = null;
    hasAhead = false;
    index++;
    return true;
  }

  private boolean peek() {
    if (!hasAhead && source.hasNext()) {
      ahead = source.next();
      hasAhead = true;
    }
    return hasAhead;
  }

  @Nullable Object current() {
    return current;
  }

  private long length() {
    if (length < 0) {
      List<@Nullable Object> rest = new ArrayList<>();
      while (source.hasNext()) {
        in.step();
        rest.add(source.next());
      }
      length = index + 1 + (hasAhead ? 1 : 0) + rest.size();
      source = rest.iterator();
    }
    return length;
  }

  @Nullable Object attribute(String name) {
    return switch (name) {
      case "index" -> index + 1;
      case "index0" -> index;
      case "revindex" -> length() - index;
      case "revindex0" -> length() - index - 1;
      case "first" -> index == 0;
      case "last" -> !peek();
      case "length" -> length();
      case "depth" -> (long) depth;
      case "depth0" -> depth - 1L;
      case "previtem" -> index == 0 ? Undefined.because("there is no previous item") : previous;
      case "nextitem" -> peek() ? ahead : Undefined.because("there is no next item");
      case "cycle" ->
          (Callable)
              (interpreter, args) -> {
                if (args.positional().isEmpty()) {
                  throw TemplateRuntimeException.type("no items for cycling given");
                }
                return args.positional().get((int) (index % args.positional().size()));
              };
      case "changed" ->
          (Callable)
              (interpreter, args) -> {
                boolean changed =
                    lastChanged == null
                        || !Values.equal(interpreter, lastChanged, args.positional());
                lastChanged = new ArrayList<>(args.positional());
                return changed;
              };
      default -> NO_ATTRIBUTE;
    };
  }

  @Override
  public @Nullable Object call(Interpreter interpreter, Args args) {
    if (recursion == null) {
      throw TemplateRuntimeException.type("the loop must have the 'recursive' marker to be called");
    }
    return recursion.call(interpreter, args);
  }
}
