package ai.sluice.text.jinja;

import java.math.BigInteger;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What all values have in common: type, truth, length, equality and order, as Python has them. None
 * is null, int is Long or BigInteger, float is Double, list is any List that is neither {@link
 * PyTuple} nor {@link PyRange}, dict is any Map.
 */
final class Values {
  private static final BigInteger MIN = BigInteger.valueOf(Long.MIN_VALUE);
  private static final BigInteger MAX = BigInteger.valueOf(Long.MAX_VALUE);

  private Values() {}

  static String typeName(@Nullable Object value) {
    if (value == null) {
      return "NoneType";
    } else if (value instanceof String) {
      return "str";
    } else if (value instanceof Boolean) {
      return "bool";
    } else if (value instanceof Long || value instanceof BigInteger) {
      return "int";
    } else if (value instanceof Double) {
      return "float";
    } else if (value instanceof PyTuple) {
      return "tuple";
    } else if (value instanceof PyRange) {
      return "range";
    } else if (value instanceof List) {
      return "list";
    } else if (value instanceof Map) {
      return "dict";
    } else if (value instanceof DictView view) {
      return view.kind();
    } else if (value instanceof PyIterator) {
      return "generator";
    }
    return value.getClass().getSimpleName();
  }

  static boolean isTrue(@Nullable Object value) {
    if (value == null || value instanceof Undefined) {
      return false;
    } else if (value instanceof Boolean b) {
      return b;
    } else if (value instanceof String s) {
      return !s.isEmpty();
    } else if (value instanceof Long n) {
      return n != 0;
    } else if (value instanceof Double d) {
      return d != 0;
    } else if (value instanceof BigInteger b) {
      return b.signum() != 0;
    } else if (value instanceof Collection<?> c) {
      return !c.isEmpty();
    } else if (value instanceof Map<?, ?> m) {
      return !m.isEmpty();
    } else if (value instanceof DictView v) {
      return !v.elements().isEmpty();
    }
    return true;
  }

  static boolean isNumber(@Nullable Object value) {
    return value instanceof Long
        || value instanceof Double
        || value instanceof Boolean
        || value instanceof BigInteger;
  }

  static boolean isInteger(@Nullable Object value) {
    return value instanceof Long || value instanceof Boolean || value instanceof BigInteger;
  }

  /** An int or bool as a big integer. */
  static BigInteger toBig(Object value) {
    if (value instanceof Boolean b) {
      return b ? BigInteger.ONE : BigInteger.ZERO;
    }
    return value instanceof BigInteger big ? big : BigInteger.valueOf((Long) value);
  }

  /** The smallest representation of an integer. */
  static Object fromBig(BigInteger value) {
    if (value.compareTo(MIN) >= 0 && value.compareTo(MAX) <= 0) {
      return value.longValue();
    }
    if (value.bitLength() > 4096) {
      throw TemplateRuntimeException.limit("an integer of more than 4096 bits (expected: less)");
    }
    return value;
  }

  static double toDouble(Object value) {
    return value instanceof Double d ? d : toBig(value).doubleValue();
  }

  /** An argument that must be an integer of moderate size. */
  static long toIndex(@Nullable Object value) {
    if (value instanceof Long n) {
      return n;
    } else if (value instanceof Boolean b) {
      return b ? 1 : 0;
    }
    throw wrongType(value, "'" + typeName(value) + "' object cannot be interpreted as an integer");
  }

  /** The failure of an operation on a value; for an undefined one, that it is undefined. */
  static TemplateRuntimeException wrongType(@Nullable Object value, String message) {
    return value instanceof Undefined u ? u.failure() : TemplateRuntimeException.type(message);
  }

  /** The length, or -1 for a value without one. */
  static long length(@Nullable Object value) {
    if (value instanceof String s) {
      return PyStrings.length(s);
    } else if (value instanceof Collection<?> c) {
      return c.size();
    } else if (value instanceof Map<?, ?> m) {
      return m.size();
    } else if (value instanceof DictView v) {
      return v.elements().size();
    } else if (value instanceof Undefined) {
      return 0;
    }
    return -1;
  }

  /** Walks a value, or null for one that cannot be walked. */
  static @Nullable Iterator<? extends @Nullable Object> iteratorOrNull(@Nullable Object value) {
    if (value instanceof String s) {
      return PyStrings.iterator(s);
    } else if (value instanceof Collection<?> c) {
      return c.iterator();
    } else if (value instanceof Map<?, ?> m) {
      return m.keySet().iterator();
    } else if (value instanceof DictView v) {
      return v.elements().iterator();
    } else if (value instanceof PyIterator i) {
      return i;
    } else if (value instanceof Undefined) {
      return List.of().iterator();
    }
    return null;
  }

  /** Walks a value. */
  static Iterator<? extends @Nullable Object> iterator(@Nullable Object value) {
    Iterator<? extends @Nullable Object> iterator = iteratorOrNull(value);
    if (iterator == null) {
      throw TemplateRuntimeException.type("'" + typeName(value) + "' object is not iterable");
    }
    return iterator;
  }

  /** Python's ==. */
  static boolean equal(Interpreter in, @Nullable Object a, @Nullable Object b) {
    return equal(in, a, b, 0);
  }

  private static boolean equal(Interpreter in, @Nullable Object a, @Nullable Object b, int level) {
    in.nested(level);
    if (a == b) {
      return !(a instanceof Double d && d.isNaN());
    }
    if (a == null || b == null) {
      return false;
    }
    if (isNumber(a) && isNumber(b)) {
      return compareNumbers(a, b) == 0;
    }
    if (a instanceof List<?> x && b instanceof List<?> y) {
      if (!typeName(a).equals(typeName(b)) || x.size() != y.size()) {
        return false;
      }
      for (int i = 0; i < x.size(); i++) {
        if (!equal(in, x.get(i), y.get(i), level + 1)) {
          return false;
        }
      }
      return true;
    }
    if (a instanceof Map<?, ?> x && b instanceof Map<?, ?> y) {
      if (x.size() != y.size()) {
        return false;
      }
      for (Map.Entry<?, ?> entry : x.entrySet()) {
        if (!y.containsKey(entry.getKey())
            || !equal(in, entry.getValue(), y.get(entry.getKey()), level + 1)) {
          return false;
        }
      }
      return true;
    }
    if (a instanceof String x && b instanceof String y) {
      in.scanned(Math.min(x.length(), y.length()));
      return x.equals(y);
    }
    return a instanceof Undefined && b instanceof Undefined;
  }

  /** Compares numbers exactly; NaN makes 2, which is no order. */
  private static int compareNumbers(Object a, Object b) {
    if (a instanceof Double || b instanceof Double) {
      double x = toDouble(a);
      double y = toDouble(b);
      return Double.isNaN(x) || Double.isNaN(y) ? 2 : x < y ? -1 : x > y ? 1 : 0;
    }
    return toBig(a).compareTo(toBig(b));
  }

  /** Whether two values stand in the order that a sign such as {@code <=} names. */
  static boolean ordered(Interpreter in, String sign, @Nullable Object a, @Nullable Object b) {
    int order = order(in, sign, a, b, 0);
    return order != 2
        && switch (sign) {
          case "<" -> order < 0;
          case "<=" -> order <= 0;
          case ">" -> order > 0;
          default -> order >= 0;
        };
  }

  /** Order for sorting. */
  static int order(Interpreter in, @Nullable Object a, @Nullable Object b) {
    return order(in, "<", a, b, 0);
  }

  private static int order(
      Interpreter in, String sign, @Nullable Object a, @Nullable Object b, int level) {
    in.nested(level);
    if (a instanceof String x && b instanceof String y) {
      in.scanned(x.length());
      return PyStrings.compare(x, y);
    }
    if (a != null && b != null && isNumber(a) && isNumber(b)) {
      return compareNumbers(a, b);
    }
    if (a instanceof List<?> x && b instanceof List<?> y && typeName(a).equals(typeName(b))) {
      for (int i = 0; i < Math.min(x.size(), y.size()); i++) {
        if (!equal(in, x.get(i), y.get(i), level + 1)) {
          return order(in, sign, x.get(i), y.get(i), level + 1);
        }
      }
      return Integer.compare(x.size(), y.size());
    }
    if (a instanceof Undefined u) {
      throw u.failure();
    }
    if (b instanceof Undefined u) {
      throw u.failure();
    }
    throw TemplateRuntimeException.type(
        "'"
            + sign
            + "' not supported between instances of '"
            + typeName(a)
            + "' and '"
            + typeName(b)
            + "'");
  }

  /** Python's {@code item in container}. */
  static boolean contains(Interpreter in, @Nullable Object container, @Nullable Object item) {
    if (container instanceof String text) {
      if (!(item instanceof String part)) {
        throw wrongType(
            item, "'in <string>' requires string as left operand, not " + typeName(item));
      }
      in.scanned(text.length());
      return text.contains(part);
    }
    if (container instanceof Map<?, ?> map) {
      return map.containsKey(keyIn(map, item));
    }
    Iterator<? extends @Nullable Object> iterator = iteratorOrNull(container);
    if (iterator == null) {
      throw TemplateRuntimeException.type(
          "argument of type '" + typeName(container) + "' is not iterable");
    }
    while (iterator.hasNext()) {
      if (equal(in, iterator.next(), item)) {
        return true;
      }
    }
    return false;
  }

  /** The key that a value stands for in a dict, where True and 1 are the same, as 0 and False. */
  static @Nullable Object keyIn(Map<?, ?> map, @Nullable Object value) {
    Object key = key(value);
    if (!map.containsKey(key)) {
      Object twin =
          key instanceof Boolean b
              ? (Object) (b ? 1L : 0L)
              : key instanceof Long n && (n == 0 || n == 1) ? (Object) (n == 1) : null;
      if (twin != null && map.containsKey(twin)) {
        return twin;
      }
    }
    return key;
  }

  /** A value as a key of a dict: whole floats and the integers they equal are one key. */
  static @Nullable Object key(@Nullable Object value) {
    if (value instanceof Double d && d == Math.rint(d) && Math.abs(d) < 1e15) {
      return d.longValue();
    }
    if (value instanceof PyTuple || !(value instanceof List || value instanceof Map)) {
      return value;
    }
    throw TemplateRuntimeException.type("unhashable type: '" + typeName(value) + "'");
  }
}
