package ai.sluice.text.jinja;

import ai.sluice.text.jinja.TemplateRuntimeException.Kind;
import java.time.ZonedDateTime;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Functions that every template can call: Jinja's own and those of Hugging Face's environment. */
final class Globals {
  private Globals() {}

  /** Puts the functions into a scope. */
  static void define(Scope scope) {
    function(
        scope,
        "range",
        (in, args) -> {
          long first = Values.toIndex(args.need(0, "start"));
          boolean alone = args.positional().size() == 1;
          long start = alone ? 0 : first;
          long stop = alone ? first : args.integer(1, "stop", 0);
          long step = args.integer(2, "step", 1);
          args.end("range");
          return new PyRange(start, stop, step);
        });
    function(scope, "dict", (in, args) -> dict(in, args));
    function(
        scope,
        "namespace",
        (in, args) -> {
          Namespace namespace = new Namespace();
          dict(in, args).forEach((key, value) -> namespace.attributes().put((String) key, value));
          return namespace;
        });
    function(scope, "cycler", (in, args) -> new Cycler(List.copyOf(args.positional())));
    function(
        scope,
        "joiner",
        (in, args) -> {
          String separator = args.string(0, "sep", ", ");
          args.end("joiner");
          return new Joiner(separator);
        });
    function(
        scope,
        "raise_exception",
        (in, args) -> {
          String message = PyText.str(in, args.need(0, "message"));
          throw new TemplateRuntimeException(Kind.RAISED, message);
        });
    function(
        scope,
        "strftime_now",
        (in, args) -> {
          String format = args.string(0, "format", null);
          args.end("strftime_now");
          return in.made(StrftimeFormat.format(format, ZonedDateTime.now(in.clock())));
        });
  }

  private static void function(Scope scope, String name, Callable function) {
    scope.set(name, function);
  }

  private static Map<@Nullable Object, @Nullable Object> dict(Interpreter in, Args args) {
    Map<@Nullable Object, @Nullable Object> dict = new LinkedHashMap<>();
    Object source = args.get(0, "", null);
    if (args.positional().size() > 1) {
      throw TemplateRuntimeException.type(
          "dict expected at most 1 argument, got " + args.positional().size());
    }
    if (source instanceof Map<?, ?> map) {
      in.steps(1 + map.size());
      in.chars(4L * map.size());
      dict.putAll(map);
    } else if (!args.positional().isEmpty()) {
      var pairs = Values.iterator(source);
      while (pairs.hasNext()) {
        in.step();
        in.chars(4);
        if (!(pairs.next() instanceof List<?> pair) || pair.size() != 2) {
          throw TemplateRuntimeException.type("dict needs pairs of key and value");
        }
        dict.put(Values.key(pair.get(0)), pair.get(1));
      }
    }
    dict.putAll(args.named());
    return dict;
  }

  /** Goes round through its values. */
  static final class Cycler {
    private final List<Object> items;
    private int position;

    Cycler(List<Object> items) {
      if (items.isEmpty()) {
        throw TemplateRuntimeException.type("at least one item has to be provided");
      }
      this.items = items;
    }

    @Nullable Object attribute(String name) {
      return switch (name) {
        case "current" -> items.get(position);
        case "next" ->
            (Callable)
                (in, args) -> {
                  Object item = items.get(position);
                  position = (position + 1) % items.size();
                  return item;
                };
        case "reset" ->
            (Callable)
                (in, args) -> {
                  position = 0;
                  return null;
                };
        default -> null;
      };
    }
  }

  /** Gives its separator from the second call on. */
  private static final class Joiner implements Callable {
    private final String separator;
    private boolean used;

    Joiner(String separator) {
      this.separator = separator;
    }

    @Override
    public Object call(Interpreter in, Args args) {
      args.end("joiner");
      String text = used ? separator : "";
      used = true;
      return text;
    }
  }
}
