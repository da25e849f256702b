package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Filters that walk sequences. */
final class SequenceFilters {
  private SequenceFilters() {}

  /** Adds the filters to a table. */
  static void define(Map<String, Filters.Function> filters) {
    filters.put(
        "list",
        (in, v, a) -> {
          a.end("list");
          return Filters.list(in, v);
        });
    filters.put(
        "first",
        (in, v, a) -> {
          a.end("first");
          Iterator<? extends @Nullable Object> elements = Values.iterator(v);
          return elements.hasNext()
              ? elements.next()
              : Undefined.because("no first item, sequence was empty");
        });
    filters.put("last", SequenceFilters::last);
    filters.put("join", SequenceFilters::join);
    filters.put("reverse", SequenceFilters::reverse);
    filters.put("sort", SequenceFilters::sort);
    filters.put("unique", SequenceFilters::unique);
    filters.put(
        "items",
        (in, v, a) -> {
          a.end("items");
          if (v instanceof Undefined) {
            return new PyIterator(List.of().iterator());
          }
          if (!(v instanceof Map<?, ?> map)) {
            throw TemplateRuntimeException.type("can only get item pairs from a mapping");
          }
          return new PyIterator(CollectionMethods.items(in, map).elements().iterator());
        });
    filters.put("dictsort", SequenceFilters::dictSort);
    filters.put("map", SequenceFilters::map);
    filters.put("select", (in, v, a) -> select(in, v, a, true, false));
    filters.put("reject", (in, v, a) -> select(in, v, a, false, false));
    filters.put("selectattr", (in, v, a) -> select(in, v, a, true, true));
    filters.put("rejectattr", (in, v, a) -> select(in, v, a, false, true));
    filters.put("batch", SequenceFilters::batch);
    filters.put("slice", SequenceFilters::slice);
    filters.put("sum", SequenceFilters::sum);
    filters.put("min", (in, v, a) -> extreme(in, v, a, -1));
    filters.put("max", (in, v, a) -> extreme(in, v, a, 1));
    filters.put("groupby", SequenceFilters::groupBy);
  }

  private static @Nullable Object last(Interpreter in, @Nullable Object value, Args args) {
    args.end("last");
    if (value instanceof String text) {
      return text.isEmpty()
          ? Undefined.because("no last item, sequence was empty")
          : text.substring(text.offsetByCodePoints(text.length(), -1));
    }
    if (value instanceof PyIterator || Values.length(value) < 0) {
      throw TemplateRuntimeException.type(
          "'" + Values.typeName(value) + "' object is not reversible");
    }
    List<@Nullable Object> list = Filters.list(in, value);
    return list.isEmpty()
        ? Undefined.because("no last item, sequence was empty")
        : list.get(list.size() - 1);
  }

  private static Object join(Interpreter in, @Nullable Object value, Args args) {
    String separator = PyText.str(in, args.get(0, "d", ""));
    Object attribute = args.get(1, "attribute", null);
    args.end("join");
    Function<@Nullable Object, @Nullable Object> getter = getter(in, attribute, null);
    StringBuilder out = new StringBuilder();
    Iterator<? extends @Nullable Object> elements = Values.iterator(value);
    for (boolean first = true; elements.hasNext(); first = false) {
      in.step();
      String text = PyText.str(in, getter.apply(elements.next()));
      in.chars(text.length() + separator.length());
      out.append(first ? "" : separator).append(text);
    }
    return out.toString();
  }

  private static Object reverse(Interpreter in, @Nullable Object value, Args args) {
    args.end("reverse");
    if (value instanceof String text) {
      return in.made(reversed(text));
    }
    List<@Nullable Object> list = Filters.list(in, value);
    Collections.reverse(list);
    boolean lazy = value instanceof List || value instanceof Map || value instanceof DictView;
    return lazy ? new PyIterator(list.iterator()) : list;
  }

  /** By code points; a builder's reverse keeps surrogate pairs together. */
  private static String reversed(String text) {
    return new StringBuilder(text).reverse().toString();
  }

  /** What a filter looks at in each element: itself, or what lies at a path such as "a.0.b". */
  private static Function<@Nullable Object, @Nullable Object> getter(
      Interpreter in, @Nullable Object attribute, @Nullable Object otherwise) {
    if (attribute == null) {
      return element -> element;
    }
    List<Object> path = new ArrayList<>();
    if (attribute instanceof String text) {
      for (Object part : PyStrings.split(text, ".", -1)) {
        String name = (String) part;
        boolean isIndex =
            !name.isEmpty()
                && name.length() < 10
                && name.chars().allMatch(c -> c >= '0' && c <= '9');
        path.add(isIndex ? (Object) Long.valueOf(name) : name);
      }
    } else {
      path.add(attribute);
    }
    return element -> {
      Object item = element;
      for (Object part : path) {
        in.step();
        item = Attributes.subscript(in, item, part);
        if (otherwise != null && item instanceof Undefined) {
          item = otherwise;
        }
      }
      return item;
    };
  }

  private static @Nullable Object ignoreCase(@Nullable Object value) {
    return value instanceof String text ? text.toLowerCase(Locale.ROOT) : value;
  }

  /** A list whose elements are ordered by a key, computed once for each. */
  private static List<@Nullable Object> sorted(
      Interpreter in,
      List<@Nullable Object> list,
      Function<@Nullable Object, @Nullable Object> key,
      boolean reverse) {
    record Keyed(@Nullable Object key, @Nullable Object value) {}

    List<Keyed> keyed = new ArrayList<>(list.size());
    for (Object element : list) {
      keyed.add(new Keyed(key.apply(element), element));
    }
    keyed.sort(
        (a, b) -> {
          in.step();
          return reverse ? Values.order(in, b.key(), a.key()) : Values.order(in, a.key(), b.key());
        });
    List<@Nullable Object> result = new ArrayList<>(list.size());
    keyed.forEach(entry -> result.add(entry.value()));
    return result;
  }

  private static Object sort(Interpreter in, @Nullable Object value, Args args) {
    boolean reverse = args.truth(0, "reverse", false);
    boolean caseSensitive = args.truth(1, "case_sensitive", false);
    Object attribute = args.get(2, "attribute", null);
    args.end("sort");
    List<Function<@Nullable Object, @Nullable Object>> getters = new ArrayList<>();
    if (attribute instanceof String text) {
      for (Object part : PyStrings.split(text, ",", -1)) {
        getters.add(getter(in, part, null));
      }
    } else {
      getters.add(getter(in, attribute, null));
    }
    return sorted(
        in,
        Filters.list(in, value),
        element -> {
          List<@Nullable Object> keys = new ArrayList<>();
          for (Function<@Nullable Object, @Nullable Object> getter : getters) {
            Object key = getter.apply(element);
            keys.add(caseSensitive ? key : ignoreCase(key));
          }
          return keys.size() == 1 ? keys.get(0) : keys;
        },
        reverse);
  }

  private static Object unique(Interpreter in, @Nullable Object value, Args args) {
    boolean caseSensitive = args.truth(0, "case_sensitive", false);
    Function<@Nullable Object, @Nullable Object> getter =
        getter(in, args.get(1, "attribute", null), null);
    args.end("unique");
    Set<@Nullable Object> seen = new HashSet<>();
    return new PyIterator(
        Lazy.filter(
            Values.iterator(value),
            element -> {
              in.step();
              Object key = getter.apply(element);
              return seen.add(Values.key(caseSensitive ? key : ignoreCase(key)));
            }));
  }

  private static Object dictSort(Interpreter in, @Nullable Object value, Args args) {
    boolean caseSensitive = args.truth(0, "case_sensitive", false);
    String by = args.string(1, "by", "key");
    boolean reverse = args.truth(2, "reverse", false);
    args.end("dictsort");
    if (!(value instanceof Map<?, ?> map)) {
      throw Values.wrongType(
          value, "'" + Values.typeName(value) + "' object has no attribute 'items'");
    }
    if (!by.equals("key") && !by.equals("value")) {
      throw TemplateRuntimeException.value("You can only sort by either \"key\" or \"value\"");
    }
    int place = by.equals("key") ? 0 : 1;
    return sorted(
        in,
        CollectionMethods.items(in, map).elements(),
        pair -> {
          Object key = ((List<?>) pair).get(place);
          return caseSensitive ? key : ignoreCase(key);
        },
        reverse);
  }

  private static Object map(Interpreter in, @Nullable Object value, Args args) {
    if (!Values.isTrue(value)) {
      // As in Jinja, where templates rely on it: nothing, even of None.
      return new PyIterator(List.of().iterator());
    }
    if (args.positional().isEmpty() && args.named().containsKey("attribute")) {
      Function<@Nullable Object, @Nullable Object> getter =
          getter(in, args.get(0, "attribute", null), args.get(1, "default", null));
      args.end("map");
      return new PyIterator(Lazy.map(Values.iterator(value), getter));
    }
    String name = args.string(0, "filter", null);
    Filters.Function filter = Filters.named(name);
    return new PyIterator(
        Lazy.map(
            Values.iterator(value),
            element -> {
              in.step();
              return filter.apply(in, element, args.after(1));
            }));
  }

  private static Object select(
      Interpreter in, @Nullable Object value, Args args, boolean wanted, boolean byAttribute) {
    if (!Values.isTrue(value)) {
      return new PyIterator(List.of().iterator());
    }
    int next = byAttribute ? 1 : 0;
    Function<@Nullable Object, @Nullable Object> getter =
        byAttribute ? getter(in, args.need(0, "attribute"), null) : element -> element;
    TestFunctions.Function test;
    if (args.positional().size() > next) {
      if (!(args.positional().get(next) instanceof String name)) {
        throw TemplateRuntimeException.type("the name of a test must be str");
      }
      test = TestFunctions.named(name);
    } else {
      test = (interpreter, element, none) -> Values.isTrue(element);
    }
    int consumed = Math.min(args.positional().size(), next + 1);
    return new PyIterator(
        Lazy.filter(
            Values.iterator(value),
            element -> {
              in.step();
              return test.test(in, getter.apply(element), args.after(consumed)) == wanted;
            }));
  }

  private static Object batch(Interpreter in, @Nullable Object value, Args args) {
    long size = args.integer(0, "linecount", 0);
    Object fill = args.get(1, "fill_with", null);
    args.end("batch");
    List<@Nullable Object> batches = new ArrayList<>();
    List<@Nullable Object> batch = new ArrayList<>();
    for (Object element : Filters.list(in, value)) {
      if (batch.size() == size) {
        batches.add(batch);
        batch = new ArrayList<>();
      }
      batch.add(element);
    }
    if (!batch.isEmpty()) {
      while (fill != null && batch.size() < size) {
        in.chars(2);
        batch.add(fill);
      }
      batches.add(batch);
    }
    return new PyIterator(batches.iterator());
  }

  private static Object slice(Interpreter in, @Nullable Object value, Args args) {
    long slices = args.integer(0, "slices", 0);
    Object fill = args.get(1, "fill_with", null);
    args.end("slice");
    List<@Nullable Object> list = Filters.list(in, value);
    if (slices == 0) {
      throw TemplateRuntimeException.value("integer division or modulo by zero");
    }
    in.steps(1 + Math.max(0, slices));
    in.chars(4 * Math.max(0, slices));
    List<@Nullable Object> parts = new ArrayList<>();
    long each = Math.floorDiv(list.size(), slices);
    long extra = Math.floorMod(list.size(), slices);
    int start = 0;
    for (long i = 0; i < slices; i++) {
      int end = (int) Math.min(list.size(), start + each + (i < extra ? 1 : 0));
      List<@Nullable Object> part = new ArrayList<>(list.subList(start, end));
      if (fill != null && i >= extra) {
        part.add(fill);
      }
      parts.add(part);
      start = end;
    }
    return new PyIterator(parts.iterator());
  }

  private static @Nullable Object sum(Interpreter in, @Nullable Object value, Args args) {
    Function<@Nullable Object, @Nullable Object> getter =
        getter(in, args.get(0, "attribute", null), null);
    Object total = args.get(1, "start", 0L);
    args.end("sum");
    if (total instanceof String) {
      throw TemplateRuntimeException.type("sum() can't sum strings [use ''.join(seq) instead]");
    }
    Iterator<? extends @Nullable Object> elements = Values.iterator(value);
    while (elements.hasNext()) {
      in.step();
      total = Operators.apply(in, "+", total, getter.apply(elements.next()));
    }
    return total;
  }

  private static @Nullable Object extreme(
      Interpreter in, @Nullable Object value, Args args, int sign) {
    boolean caseSensitive = args.truth(0, "case_sensitive", false);
    Function<@Nullable Object, @Nullable Object> getter =
        getter(in, args.get(1, "attribute", null), null);
    args.end(sign < 0 ? "min" : "max");
    Iterator<? extends @Nullable Object> elements = Values.iterator(value);
    if (!elements.hasNext()) {
      return Undefined.because("no aggregated item, sequence was empty");
    }
    Object best = elements.next();
    Object bestKey = getter.apply(best);
    bestKey = caseSensitive ? bestKey : ignoreCase(bestKey);
    while (elements.hasNext()) {
      in.step();
      Object element = elements.next();
      Object key = getter.apply(element);
      key = caseSensitive ? key : ignoreCase(key);
      if (Values.order(in, key, bestKey) * sign > 0) {
        best = element;
        bestKey = key;
      }
    }
    return best;
  }

  private static Object groupBy(Interpreter in, @Nullable Object value, Args args) {
    Object attribute = args.need(0, "attribute");
    Object otherwise = args.get(1, "default", null);
    boolean caseSensitive = args.truth(2, "case_sensitive", false);
    args.end("groupby");
    Function<@Nullable Object, @Nullable Object> real = getter(in, attribute, otherwise);
    Function<@Nullable Object, @Nullable Object> key =
        caseSensitive ? real : element -> ignoreCase(real.apply(element));
    List<@Nullable Object> groups = new ArrayList<>();
    List<@Nullable Object> group = new ArrayList<>();
    Object groupKey = null;
    for (Object element : sorted(in, Filters.list(in, value), key, false)) {
      Object elementKey = key.apply(element);
      if (!group.isEmpty() && !Values.equal(in, groupKey, elementKey)) {
        groups.add(PyTuple.of(real.apply(group.get(0)), group));
        group = new ArrayList<>();
      }
      groupKey = elementKey;
      group.add(element);
    }
    if (!group.isEmpty()) {
      groups.add(PyTuple.of(real.apply(group.get(0)), group));
    }
    return groups;
  }
}
