package ai.sluice.text.jinja;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Tests by name: what may follow {@code is}. */
final class TestFunctions {
  /** A test. */
  interface Function {
    boolean test(Interpreter in, @Nullable Object value, Args args);
  }

  private static final Map<String, Function> TESTS = new HashMap<>();

  static {
    simple("defined", v -> !(v instanceof Undefined));
    simple("undefined", v -> v instanceof Undefined);
    simple("none", v -> v == null);
    simple("boolean", v -> v instanceof Boolean);
    simple("true", v -> Boolean.TRUE.equals(v));
    simple("false", v -> Boolean.FALSE.equals(v));
    simple("integer", v -> Values.isInteger(v) && !(v instanceof Boolean));
    simple("float", v -> v instanceof Double);
    simple("number", Values::isNumber);
    simple("string", v -> v instanceof String);
    simple("mapping", v -> v instanceof Map);
    simple("iterable", v -> Values.iteratorOrNull(v) != null);
    simple(
        "sequence",
        v ->
            v instanceof String || v instanceof List || v instanceof Map || v instanceof Undefined);
    simple("callable", v -> v instanceof Callable || v instanceof Undefined);
    simple("escaped", v -> false);
    put("odd", (in, v, a) -> remainder(in, v, 2L) == 1);
    put("even", (in, v, a) -> remainder(in, v, 2L) == 0);
    put("divisibleby", (in, v, a) -> remainder(in, v, a.need(0, "num")) == 0);
    put("upper", (in, v, a) -> isCase(in, v, true));
    put("lower", (in, v, a) -> isCase(in, v, false));
    put("in", (in, v, a) -> Values.contains(in, a.need(0, "seq"), v));
    put("sameas", (in, v, a) -> isSame(v, a.need(0, "other")));
    put("filter", (in, v, a) -> v instanceof String name && Filters.has(name));
    put("test", (in, v, a) -> v instanceof String name && TESTS.containsKey(name));
    for (String name : List.of("==", "eq", "equalto")) {
      put(name, (in, v, a) -> Values.equal(in, v, a.need(0, "other")));
    }
    for (String name : List.of("!=", "ne")) {
      put(name, (in, v, a) -> !Values.equal(in, v, a.need(0, "other")));
    }
    ordered("<", "lt", "lessthan");
    ordered("<=", "le");
    ordered(">", "gt", "greaterthan");
    ordered(">=", "ge");
  }

  private TestFunctions() {}

  private static void put(String name, Function test) {
    TESTS.put(
        name,
        (in, value, args) -> {
          boolean result = test.test(in, value, args);
          args.end(name);
          return result;
        });
  }

  private static void simple(
      String name, java.util.function.Predicate<@Nullable Object> predicate) {
    put(name, (in, value, args) -> predicate.test(value));
  }

  private static void ordered(String sign, String... names) {
    Function test = (in, v, a) -> Values.ordered(in, sign, v, a.need(0, "other"));
    put(sign, test);
    for (String name : names) {
      put(name, test);
    }
  }

  /** The test of a name. */
  static Function named(String name) {
    Function test = TESTS.get(name);
    if (test == null) {
      throw TemplateRuntimeException.unsupported(
          "test '"
              + name
              + "' (supported: "
              + String.join(", ", new TreeSet<>(TESTS.keySet()))
              + ")");
    }
    return test;
  }

  private static boolean isCase(Interpreter in, @Nullable Object value, boolean upper) {
    String text = PyText.str(in, value);
    in.walked(text.length());
    return PyStrings.isCase(text, upper);
  }

  private static double remainder(Interpreter in, @Nullable Object value, @Nullable Object by) {
    if (value instanceof String) {
      throw TemplateRuntimeException.type("not all arguments converted during string formatting");
    }
    return Values.toDouble(Operators.apply(in, "%", value, by));
  }

  /** Identity; equal small values that Python shares count as one object. */
  private static boolean isSame(@Nullable Object a, @Nullable Object b) {
    return a == b
        || a != null
            && b != null
            && a.getClass() == b.getClass()
            && (a instanceof Boolean || a instanceof Long || a instanceof String)
            && a.equals(b);
  }
}
