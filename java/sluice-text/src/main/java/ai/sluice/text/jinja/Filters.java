package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Filters by name. Those that walk sequences are in {@link SequenceFilters}. */
final class Filters {
  /** A filter. */
  interface Function {
    @Nullable Object apply(Interpreter in, @Nullable Object value, Args args);
  }

  private static final Map<String, Function> FILTERS = new HashMap<>();

  static {
    text("upper", (in, s, a) -> s.toUpperCase(Locale.ROOT));
    text("lower", (in, s, a) -> s.toLowerCase(Locale.ROOT));
    text("capitalize", (in, s, a) -> PyStrings.capitalize(s));
    text("title", (in, s, a) -> title(s));
    text(
        "trim",
        (in, s, a) -> {
          Object chars = a.get(0, "chars", null);
          return PyStrings.strip(s, chars == null ? null : PyText.str(in, chars), true, true);
        });
    text("string", (in, s, a) -> s);
    text("safe", (in, s, a) -> s);
    text("e", (in, s, a) -> Markup.escape(s));
    text("escape", (in, s, a) -> Markup.escape(s));
    text("forceescape", (in, s, a) -> Markup.escape(s));
    text("center", (in, s, a) -> StringMethods.center(in, s, a.integer(0, "width", 80), " "));
    text(
        "replace",
        (in, s, a) -> {
          String old = PyText.str(in, a.need(0, "old"));
          String replacement = PyText.str(in, a.need(1, "new"));
          Object count = a.get(2, "count", null);
          return StringMethods.replace(
              in, s, old, replacement, count == null ? -1 : Values.toIndex(count));
        });
    text("wordcount", (in, s, a) -> words(s));
    put("indent", Filters::indent);
    put("truncate", Filters::truncate);
    put(
        "format",
        (in, v, a) -> {
          Object values = a.named().isEmpty() ? new PyTuple(a.positional()) : a.named();
          return in.made(PrintfFormat.format(in, PyText.str(in, v), values));
        });
    put("default", Filters::otherwise);
    put("d", Filters::otherwise);
    put("tojson", (in, v, a) -> PyJson.filter(in, v, a));
    put("length", Filters::length);
    put("count", Filters::length);
    put("int", Filters::toInt);
    put("float", Filters::toFloat);
    put(
        "abs",
        (in, v, a) -> {
          a.end("abs");
          if (v == null || !Values.isNumber(v)) {
            throw Values.wrongType(v, "bad operand type for abs(): '" + Values.typeName(v) + "'");
          }
          return v instanceof Double d ? Math.abs(d) : Values.fromBig(Values.toBig(v).abs());
        });
    put("round", NumberFilters::round);
    put(
        "attr",
        (in, v, a) -> {
          String name = a.string(0, "name", null);
          a.end("attr");
          return v instanceof Map || v instanceof List
              ? plainAttribute(in, v, name)
              : Attributes.attribute(in, v, name);
        });
    SequenceFilters.define(FILTERS);
  }

  /** A filter over the text of a value. */
  private interface TextFunction {
    @Nullable Object apply(Interpreter in, String text, Args args);
  }

  private Filters() {}

  private static void put(String name, Function filter) {
    FILTERS.put(name, filter);
  }

  private static void text(String name, TextFunction filter) {
    FILTERS.put(
        name,
        (in, value, args) -> {
          String text = PyText.str(in, value);
          in.walked(text.length());
          Object result = filter.apply(in, text, args);
          args.end(name);
          return result instanceof String made ? in.made(made) : result;
        });
  }

  /** The filter of a name. */
  static Function named(String name) {
    Function filter = FILTERS.get(name);
    if (filter == null) {
      throw TemplateRuntimeException.unsupported(
          "filter '"
              + name
              + "' (supported: "
              + String.join(", ", new TreeSet<>(FILTERS.keySet()))
              + ")");
    }
    return filter;
  }

  /** Whether a filter marks its result as HTML. */
  static boolean marks(String name) {
    return name.equals("safe")
        || name.equals("e")
        || name.equals("escape")
        || name.equals("forceescape");
  }

  static boolean has(String name) {
    return FILTERS.containsKey(name);
  }

  /** The attr filter knows attributes only, never keys. */
  private static @Nullable Object plainAttribute(Interpreter in, Object value, String name) {
    Object withoutKeys = value instanceof Map ? Map.of() : value;
    return Attributes.attribute(in, withoutKeys, name);
  }

  private static @Nullable Object otherwise(Interpreter in, @Nullable Object value, Args args) {
    Object otherwise = args.get(0, "default_value", "");
    boolean falsy = args.truth(1, "boolean", false);
    args.end("default");
    return value instanceof Undefined || falsy && !Values.isTrue(value) ? otherwise : value;
  }

  private static Object length(Interpreter in, @Nullable Object value, Args args) {
    args.end("length");
    scan(in, value);
    long length = Values.length(value);
    if (length < 0) {
      throw TemplateRuntimeException.type(
          "object of type '" + Values.typeName(value) + "' has no len()");
    }
    return length;
  }

  private static String title(String text) {
    StringBuilder out = new StringBuilder(text.length());
    boolean start = true;
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      String one = new String(Character.toChars(c));
      out.append(start ? one.toUpperCase(Locale.ROOT) : one.toLowerCase(Locale.ROOT));
      start = "-({[<".indexOf(c) >= 0 || PyStrings.isSpace(c);
      i += Character.charCount(c);
    }
    return out.toString();
  }

  private static long words(String text) {
    long count = 0;
    boolean within = false;
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      boolean letter = Character.isLetterOrDigit(c) || c == '_';
      count += letter && !within ? 1 : 0;
      within = letter;
      i += Character.charCount(c);
    }
    return count;
  }

  private static Object indent(Interpreter in, @Nullable Object value, Args args) {
    if (!(value instanceof String text)) {
      throw Values.wrongType(
          value,
          "indent: unsupported operand type(s) for +=: '" + Values.typeName(value) + "' and 'str'");
    }
    Object width = args.get(0, "width", 4L);
    boolean first = args.truth(1, "first", false);
    boolean blank = args.truth(2, "blank", false);
    args.end("indent");
    String unit;
    if (width instanceof String s) {
      unit = s;
    } else {
      long blanks = Math.max(0, Values.toIndex(width));
      in.chars(blanks);
      unit = " ".repeat((int) blanks);
    }
    in.made(text);
    List<Object> lines = PyStrings.splitLines(text + "\n", false);
    in.steps(1 + lines.size());
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < lines.size(); i++) {
      String line = (String) lines.get(i);
      boolean indented = i == 0 ? first : blank || !line.isEmpty();
      in.chars(line.length() + (indented ? unit.length() : 0) + 1);
      out.append(i == 0 ? "" : "\n").append(indented ? unit : "").append(line);
    }
    return out.toString();
  }

  private static Object truncate(Interpreter in, @Nullable Object value, Args args) {
    String text = PyText.str(in, value);
    long length = args.integer(0, "length", 255);
    boolean killWords = args.truth(1, "killwords", false);
    String end = args.string(2, "end", "...");
    Object leeway = args.get(3, "leeway", null);
    args.end("truncate");
    int endLength = PyStrings.length(end);
    if (length < endLength) {
      throw TemplateRuntimeException.value(
          "truncate: expected length >= " + endLength + ", got " + length);
    }
    scan(in, text);
    int size = PyStrings.length(text);
    if (size <= length + (leeway == null ? 5 : Values.toIndex(leeway))) {
      return text;
    }
    String part = PyStrings.range(text, 0, (int) length - endLength);
    if (!killWords && part.lastIndexOf(' ') >= 0) {
      part = part.substring(0, part.lastIndexOf(' '));
    }
    return in.made(part + end);
  }

  private static @Nullable Object toInt(Interpreter in, @Nullable Object value, Args args) {
    Object otherwise = args.get(0, "default", 0L);
    long base = args.integer(1, "base", 10);
    args.end("int");
    if (value instanceof Undefined u) {
      throw u.failure();
    }
    scan(in, value);
    return NumberFilters.toInt(value, otherwise, base);
  }

  private static @Nullable Object toFloat(Interpreter in, @Nullable Object value, Args args) {
    Object otherwise = args.get(0, "default", 0.0);
    args.end("float");
    if (value instanceof Undefined u) {
      throw u.failure();
    }
    scan(in, value);
    Double number = NumberFilters.toFloat(value);
    return number == null ? otherwise : number;
  }

  private static void scan(Interpreter in, @Nullable Object value) {
    if (value instanceof String text) {
      in.scanned(text.length());
    }
  }

  /** The elements of a value as a list of its own. */
  static List<@Nullable Object> list(Interpreter in, @Nullable Object value) {
    List<@Nullable Object> list = new ArrayList<>();
    Iterator<? extends @Nullable Object> elements = Values.iterator(value);
    while (elements.hasNext()) {
      in.step();
      in.chars(2);
      list.add(elements.next());
    }
    return list;
  }
}
