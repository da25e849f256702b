package ai.sluice.text.jinja;

import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/** Methods of str. */
final class StringMethods {
  /** A method without its object. */
  private interface Method {
    @Nullable Object call(Interpreter in, String self, Args args);
  }

  private static final Map<String, Method> METHODS = new HashMap<>();

  static {
    METHODS.put("strip", (in, s, a) -> strip(s, a, true, true));
    METHODS.put("lstrip", (in, s, a) -> strip(s, a, true, false));
    METHODS.put("rstrip", (in, s, a) -> strip(s, a, false, true));
    METHODS.put("split", (in, s, a) -> split(s, a, false));
    METHODS.put("rsplit", (in, s, a) -> split(s, a, true));
    METHODS.put("splitlines", (in, s, a) -> PyStrings.splitLines(s, a.truth(0, "keepends", false)));
    METHODS.put("startswith", (in, s, a) -> affix(s, a, true));
    METHODS.put("endswith", (in, s, a) -> affix(s, a, false));
    METHODS.put(
        "removeprefix",
        (in, s, a) -> {
          String prefix = a.string(0, "prefix", null);
          return s.startsWith(prefix) ? s.substring(prefix.length()) : s;
        });
    METHODS.put(
        "removesuffix",
        (in, s, a) -> {
          String suffix = a.string(0, "suffix", null);
          return !suffix.isEmpty() && s.endsWith(suffix)
              ? s.substring(0, s.length() - suffix.length())
              : s;
        });
    METHODS.put("upper", (in, s, a) -> s.toUpperCase(Locale.ROOT));
    METHODS.put("lower", (in, s, a) -> s.toLowerCase(Locale.ROOT));
    METHODS.put("casefold", (in, s, a) -> s.toUpperCase(Locale.ROOT).toLowerCase(Locale.ROOT));
    METHODS.put("title", (in, s, a) -> PyStrings.title(s));
    METHODS.put("capitalize", (in, s, a) -> PyStrings.capitalize(s));
    METHODS.put("swapcase", (in, s, a) -> PyStrings.swapCase(s));
    METHODS.put("replace", StringMethods::replace);
    METHODS.put("find", (in, s, a) -> find(s, a, false, false));
    METHODS.put("rfind", (in, s, a) -> find(s, a, true, false));
    METHODS.put("index", (in, s, a) -> find(s, a, false, true));
    METHODS.put("rindex", (in, s, a) -> find(s, a, true, true));
    METHODS.put("count", (in, s, a) -> PyStrings.count(s, a.string(0, "sub", null)));
    METHODS.put("join", (in, s, a) -> join(in, s, a.need(0, "iterable")));
    METHODS.put("partition", (in, s, a) -> partition(s, a.string(0, "sep", null), false));
    METHODS.put("rpartition", (in, s, a) -> partition(s, a.string(0, "sep", null), true));
    METHODS.put(
        "zfill",
        (in, s, a) -> {
          String sign = s.startsWith("-") || s.startsWith("+") ? s.substring(0, 1) : "";
          return sign + pad(in, s, a.integer(0, "width", 0), "0") + s.substring(sign.length());
        });
    METHODS.put("ljust", (in, s, a) -> s + pad(in, s, a.integer(0, "width", 0), fill(a)));
    METHODS.put("rjust", (in, s, a) -> pad(in, s, a.integer(0, "width", 0), fill(a)) + s);
    METHODS.put("center", (in, s, a) -> center(in, s, a.integer(0, "width", 0), fill(a)));
    METHODS.put("expandtabs", (in, s, a) -> expandTabs(in, s, a.integer(0, "tabsize", 8)));
    METHODS.put("format", BraceFormat::format);
    METHODS.put(
        "isdigit",
        (in, s, a) ->
            all(
                s,
                c ->
                    Character.isDigit(c)
                        || Character.getType(c) == Character.OTHER_NUMBER
                            && Character.getNumericValue(c) >= 0
                            && Character.getNumericValue(c) < 10
                            && "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉".indexOf(c) >= 0));
    METHODS.put("isdecimal", (in, s, a) -> all(s, Character::isDigit));
    METHODS.put("isnumeric", (in, s, a) -> all(s, StringMethods::isNumeric));
    METHODS.put("isalpha", (in, s, a) -> all(s, Character::isLetter));
    METHODS.put("isalnum", (in, s, a) -> all(s, c -> Character.isLetter(c) || isNumeric(c)));
    METHODS.put("isspace", (in, s, a) -> all(s, PyStrings::isSpace));
    METHODS.put("isascii", (in, s, a) -> s.chars().allMatch(c -> c < 0x80));
    METHODS.put("isupper", (in, s, a) -> PyStrings.isCase(s, true));
    METHODS.put("islower", (in, s, a) -> PyStrings.isCase(s, false));
    METHODS.put(
        "istitle",
        (in, s, a) -> s.codePoints().anyMatch(PyStrings::isCased) && PyStrings.title(s).equals(s));
  }

  private StringMethods() {}

  /** A method of a text, or null. */
  static @Nullable Callable of(String self, String name) {
    Method method = METHODS.get(name);
    if (method == null) {
      return null;
    }
    return (in, args) -> {
      in.walked(self.length());
      Object result = method.call(in, self, args);
      if (!name.equals("format")) {
        args.end(name);
      }
      if (result instanceof String text) {
        in.chars(text.length());
      } else if (result instanceof List<?> list) {
        in.steps(1 + list.size());
        in.chars(self.length() + 4L * list.size());
      }
      return result;
    };
  }

  private static String strip(String self, Args args, boolean left, boolean right) {
    Object chars = args.get(0, "chars", null);
    return PyStrings.strip(self, chars == null ? null : text(chars, "strip arg"), left, right);
  }

  private static Object split(String self, Args args, boolean fromRight) {
    Object separator = args.get(0, "sep", null);
    long max = args.integer(1, "maxsplit", -1);
    String sep = separator == null ? null : text(separator, "separator");
    if (sep != null && sep.isEmpty()) {
      throw TemplateRuntimeException.value("empty separator");
    }
    return fromRight ? PyStrings.splitRight(self, sep, max) : PyStrings.split(self, sep, max);
  }

  private static boolean affix(String self, Args args, boolean prefix) {
    Object wanted = args.need(0, "prefix");
    long start = args.integer(1, "start", 0);
    Object end = args.get(2, "end", null);
    int length = PyStrings.length(self);
    int from = clip(start, length);
    int to = end == null ? length : clip(Values.toIndex(end), length);
    if (from > to) {
      return false;
    }
    String part = from == 0 && to == length ? self : PyStrings.range(self, from, to);
    for (Object one : wanted instanceof PyTuple tuple ? tuple : PyTuple.of(wanted)) {
      String affix = text(one, "first arg");
      if (prefix ? part.startsWith(affix) : part.endsWith(affix)) {
        return true;
      }
    }
    return false;
  }

  private static int clip(long index, int length) {
    return (int) Math.max(0, Math.min(length, index < 0 ? index + length : index));
  }

  private static String replace(Interpreter in, String self, Args args) {
    String old = args.string(0, "old", null);
    String replacement = args.string(1, "new", null);
    long count = args.integer(2, "count", -1);
    return replace(in, self, old, replacement, count);
  }

  /** Replaces after counting what that will make. */
  static String replace(Interpreter in, String self, String old, String replacement, long count) {
    long growth = (long) replacement.length() - old.length();
    if (growth > 0) {
      in.chars(Math.multiplyExact(PyStrings.count(self, old), growth));
    }
    return PyStrings.replace(self, old, replacement, count);
  }

  private static Object find(String self, Args args, boolean last, boolean must) {
    String part = args.string(0, "sub", null);
    int length = PyStrings.length(self);
    int from = clip(args.integer(1, "start", 0), length);
    Object end = args.get(2, "end", null);
    int to = end == null ? length : clip(Values.toIndex(end), length);
    int at = -1;
    if (from <= to) {
      String range = PyStrings.range(self, from, to);
      at = last ? range.lastIndexOf(part) : range.indexOf(part);
      at = at < 0 ? -1 : from + range.codePointCount(0, at);
    }
    if (at < 0 && must) {
      throw TemplateRuntimeException.value("substring not found");
    }
    return (long) at;
  }

  private static String join(Interpreter in, String self, @Nullable Object iterable) {
    StringBuilder out = new StringBuilder();
    var elements = Values.iterator(iterable);
    for (boolean first = true; elements.hasNext(); first = false) {
      Object element = elements.next();
      in.step();
      if (!(element instanceof String text)) {
        throw TemplateRuntimeException.type(
            "sequence item: expected str instance, " + Values.typeName(element) + " found");
      }
      in.chars(text.length() + self.length());
      out.append(first ? "" : self).append(text);
    }
    return out.toString();
  }

  private static Object partition(String self, String separator, boolean last) {
    if (separator.isEmpty()) {
      throw TemplateRuntimeException.value("empty separator");
    }
    int at = last ? self.lastIndexOf(separator) : self.indexOf(separator);
    if (at < 0) {
      return last ? PyTuple.of("", "", self) : PyTuple.of(self, "", "");
    }
    return PyTuple.of(self.substring(0, at), separator, self.substring(at + separator.length()));
  }

  private static String fill(Args args) {
    String fill = args.string(1, "fillchar", " ");
    if (PyStrings.length(fill) != 1) {
      throw TemplateRuntimeException.type("The fill character must be exactly one character long");
    }
    return fill;
  }

  private static String pad(Interpreter in, String self, long width, String fill) {
    long missing = Math.max(0, width - PyStrings.length(self));
    in.chars(missing);
    return fill.repeat((int) missing);
  }

  /** Python's str.center: the odd blank goes left if the width is odd. */
  static String center(Interpreter in, String self, long width, String fill) {
    int length = PyStrings.length(self);
    long missing = Math.max(0, width - length);
    in.chars(missing);
    long left = missing / 2 + (missing & width & 1);
    return fill.repeat((int) left) + self + fill.repeat((int) (missing - left));
  }

  private static String expandTabs(Interpreter in, String self, long size) {
    StringBuilder out = new StringBuilder();
    long column = 0;
    for (int i = 0; i < self.length(); i++) {
      char c = self.charAt(i);
      if (c == '\t') {
        long blanks = size <= 0 ? 0 : size - column % size;
        in.chars(blanks);
        out.append(" ".repeat((int) blanks));
        column += blanks;
      } else {
        out.append(c);
        column = c == '\n' || c == '\r' ? 0 : column + (Character.isLowSurrogate(c) ? 0 : 1);
      }
    }
    return out.toString();
  }

  private static boolean isNumeric(int c) {
    int type = Character.getType(c);
    return type == Character.DECIMAL_DIGIT_NUMBER
        || type == Character.LETTER_NUMBER
        || type == Character.OTHER_NUMBER;
  }

  private static boolean all(String text, IntPredicate test) {
    return !text.isEmpty() && text.codePoints().allMatch(test);
  }

  private static String text(@Nullable Object value, String what) {
    if (value instanceof String text) {
      return text;
    }
    throw Values.wrongType(value, what + " must be str, not " + Values.typeName(value));
  }
}
