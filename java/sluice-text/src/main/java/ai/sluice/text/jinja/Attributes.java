package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What lies behind a dot or brackets, with the rules of Jinja's immutable sandbox: a dot means an
 * attribute first and a key second, brackets the other way round; Python's inner attributes and
 * methods that change a value are out of reach.
 */
final class Attributes {
  private static final Set<String> LIST_MUTATORS =
      Set.of("append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove");
  private static final Set<String> DICT_MUTATORS =
      Set.of("clear", "pop", "popitem", "setdefault", "update");

  /** What even an undefined value has in Python. */
  private static final Set<String> OBJECT_ATTRIBUTES =
      Set.of(
          "__class__",
          "__doc__",
          "__init__",
          "__module__",
          "__str__",
          "__repr__",
          "__eq__",
          "__ne__",
          "__hash__",
          "__len__",
          "__iter__",
          "__bool__",
          "__call__",
          "__dir__");

  private Attributes() {}

  /**
   * The start, stop and step of a subscript.
   *
   * @param start None for the beginning
   * @param stop None for the end
   * @param step None for 1
   */
  record Slice(@Nullable Object start, @Nullable Object stop, @Nullable Object step) {}

  /** The value of {@code object.name}. */
  static @Nullable Object attribute(Interpreter in, @Nullable Object object, String name) {
    Object value = ownAttribute(object, name);
    if (value != Absent.VALUE) {
      return value;
    }
    Object item = item(in, object, name);
    return item != Absent.VALUE ? item : undefined(object, name);
  }

  /** The value of {@code object[index]}. */
  static @Nullable Object subscript(
      Interpreter in, @Nullable Object object, @Nullable Object index) {
    Object item = item(in, object, index);
    if (item != Absent.VALUE) {
      return item;
    }
    if (index instanceof String name) {
      Object value = ownAttribute(object, name);
      if (value != Absent.VALUE) {
        return value;
      }
    }
    return undefined(object, index instanceof String name ? name : PyText.repr(in, index));
  }

  private static Undefined undefined(@Nullable Object object, String name) {
    return Undefined.because(
        "'" + Values.typeName(object) + "' object has no attribute or element '" + name + "'");
  }

  /** Says that there is no such attribute or key, which null cannot, since it is None. */
  private enum Absent {
    VALUE
  }

  private static @Nullable Object ownAttribute(@Nullable Object object, String name) {
    if (object instanceof Undefined u) {
      if (OBJECT_ATTRIBUTES.contains(name)) {
        return Undefined.unsafe(name, object);
      }
      throw u.failure();
    }
    if (name.startsWith("__") && name.endsWith("__") && !(object instanceof Namespace)) {
      return Undefined.unsafe(name, object);
    }
    if (object instanceof Map<?, ?> map) {
      if (DICT_MUTATORS.contains(name)) {
        return Undefined.unsafe(name, object);
      }
      return orAbsent(CollectionMethods.ofDict(map, name));
    } else if (object instanceof String text) {
      return orAbsent(StringMethods.of(text, name));
    } else if (object instanceof PyRange) {
      return Absent.VALUE;
    } else if (object instanceof List<?> list) {
      if (!(object instanceof PyTuple) && LIST_MUTATORS.contains(name)) {
        return Undefined.unsafe(name, object);
      }
      return orAbsent(CollectionMethods.ofList(list, name));
    } else if (object instanceof Namespace namespace) {
      return namespace.attributes().containsKey(name)
          ? namespace.attributes().get(name)
          : Absent.VALUE;
    } else if (object instanceof LoopInfo loop) {
      Object value = loop.attribute(name);
      return value == LoopInfo.NO_ATTRIBUTE ? Absent.VALUE : value;
    } else if (object instanceof Macro macro) {
      return switch (name) {
        case "name" -> macro.name();
        case "arguments" -> new PyTuple(macro.parameters());
        default -> Absent.VALUE;
      };
    } else if (object instanceof Globals.Cycler cycler) {
      Object value = cycler.attribute(name);
      return value == null ? Absent.VALUE : value;
    }
    return Absent.VALUE;
  }

  private static Object orAbsent(@Nullable Object value) {
    return value == null ? Absent.VALUE : value;
  }

  private static @Nullable Object item(
      Interpreter in, @Nullable Object object, @Nullable Object index) {
    if (object instanceof Undefined u) {
      throw u.failure();
    }
    if (object instanceof Map<?, ?> map) {
      if (index instanceof List && !(index instanceof PyTuple) || index instanceof Map) {
        return Absent.VALUE;
      }
      Object key = Values.keyIn(map, index);
      Object value = map.get(key);
      return value != null || map.containsKey(key) ? value : Absent.VALUE;
    }
    boolean isText = object instanceof String;
    if (!isText && !(object instanceof List)) {
      return Absent.VALUE;
    }
    if (isText) {
      in.scanned(((String) object).length());
    }
    if (index instanceof Slice slice) {
      return slice(in, object, slice);
    }
    if (!(index instanceof Long || index instanceof Boolean)) {
      return Absent.VALUE;
    }
    long size = Values.length(object);
    long at = Values.toIndex(index);
    if (at < 0) {
      at += size;
    }
    if (at < 0 || at >= size) {
      return Absent.VALUE;
    }
    return isText ? PyStrings.at((String) object, (int) at) : ((List<?>) object).get((int) at);
  }

  private static Object slice(Interpreter in, Object object, Slice slice) {
    int size = (int) Values.length(object);
    long step = slice.step() == null ? 1 : Values.toIndex(slice.step());
    if (step == 0) {
      throw TemplateRuntimeException.value("slice step cannot be zero");
    }
    long first = step > 0 ? 0 : -1;
    long last = step > 0 ? size : size - 1L;
    long start =
        slice.start() == null ? (step > 0 ? first : last) : bound(slice.start(), size, first, last);
    long stop =
        slice.stop() == null ? (step > 0 ? last : first) : bound(slice.stop(), size, first, last);
    long count =
        step > 0
            ? Math.max(0, (stop - start + step - 1) / step)
            : Math.max(0, (start - stop - step - 1) / -step);
    in.steps(1 + (count >> 3));
    in.chars(count);
    if (object instanceof String text) {
      if (step == 1) {
        return count == 0 ? "" : PyStrings.range(text, (int) start, (int) stop);
      }
      List<Object> characters = PyStrings.characters(text);
      StringBuilder out = new StringBuilder();
      for (long i = 0; i < count; i++) {
        out.append(characters.get((int) (start + i * step)));
      }
      return out.toString();
    }
    List<?> list = (List<?>) object;
    List<Object> part = new ArrayList<>((int) count);
    for (long i = 0; i < count; i++) {
      part.add(list.get((int) (start + i * step)));
    }
    return object instanceof PyTuple ? new PyTuple(part) : part;
  }

  private static long bound(Object index, long size, long first, long last) {
    long at = Values.toIndex(index);
    if (at < 0) {
      at = Math.max(at, -size - 1) + size;
    }
    return Math.max(first, Math.min(last, at));
  }
}
