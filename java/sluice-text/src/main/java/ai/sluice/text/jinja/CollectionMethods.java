package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Methods of dicts, lists and tuples that do not change them. */
final class CollectionMethods {
  private CollectionMethods() {}

  /** A method of a dict, or null. */
  static @Nullable Callable ofDict(Map<?, ?> map, String name) {
    return switch (name) {
      case "get" ->
          (in, args) -> {
            Object key = Values.keyIn(map, args.need(0, "key"));
            Object otherwise = args.get(1, "default", null);
            args.end("get");
            return map.containsKey(key) ? map.get(key) : otherwise;
          };
      case "items" ->
          (in, args) -> {
            args.end("items");
            return items(in, map);
          };
      case "keys" ->
          (in, args) -> {
            args.end("keys");
            in.steps(1 + map.size());
            return new DictView("dict_keys", new ArrayList<>(map.keySet()));
          };
      case "values" ->
          (in, args) -> {
            args.end("values");
            in.steps(1 + map.size());
            return new DictView("dict_values", new ArrayList<>(map.values()));
          };
      case "copy" ->
          (in, args) -> {
            args.end("copy");
            in.steps(1 + map.size());
            in.chars(4L * map.size());
            return new LinkedHashMap<>(map);
          };
      default -> null;
    };
  }

  /** The pairs of a dict. */
  static DictView items(Interpreter in, Map<?, ?> map) {
    in.steps(1 + map.size());
    in.chars(4L * map.size());
    List<@Nullable Object> pairs = new ArrayList<>(map.size());
    for (Map.Entry<?, ?> entry : map.entrySet()) {
      pairs.add(PyTuple.of(entry.getKey(), entry.getValue()));
    }
    return new DictView("dict_items", pairs);
  }

  /** A method of a list or tuple, or null. */
  static @Nullable Callable ofList(List<?> list, String name) {
    return switch (name) {
      case "index" ->
          (in, args) -> {
            Object wanted = args.need(0, "value");
            args.end("index");
            for (int i = 0; i < list.size(); i++) {
              if (Values.equal(in, list.get(i), wanted)) {
                return (long) i;
              }
            }
            throw TemplateRuntimeException.value(PyText.repr(in, wanted) + " is not in list");
          };
      case "count" ->
          (in, args) -> {
            Object wanted = args.need(0, "value");
            args.end("count");
            long count = 0;
            for (Object element : list) {
              count += Values.equal(in, element, wanted) ? 1 : 0;
            }
            return count;
          };
      case "copy" ->
          list instanceof PyTuple
              ? null
              : (in, args) -> {
                args.end("copy");
                in.steps(1 + list.size());
                in.chars(list.size());
                return new ArrayList<>(list);
              };
      default -> null;
    };
  }
}
