package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A node of a parsed expression. Immutable; evaluated against a scope. */
abstract class Expression {

  /** The value in a scope, as plain text if it is marked. */
  final @Nullable Object evaluate(Interpreter in, Scope scope) {
    return Markup.plain(raw(in, scope));
  }

  /** The value in a scope, marked or not. */
  final @Nullable Object raw(Interpreter in, Scope scope) {
    in.step();
    return value(in, scope);
  }

  abstract @Nullable Object value(Interpreter in, Scope scope);

  /** A literal. */
  static final class Constant extends Expression {
    private final @Nullable Object constant;

    Constant(@Nullable Object constant) {
      this.constant = constant;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      return constant;
    }
  }

  /** A variable. */
  static final class Name extends Expression {
    final String name;

    Name(String name) {
      this.name = name;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      return scope.get(name);
    }
  }

  /** A list or tuple of expressions. */
  static final class Sequence extends Expression {
    final List<Expression> elements;
    private final boolean isTuple;

    Sequence(List<Expression> elements, boolean isTuple) {
      this.elements = List.copyOf(elements);
      this.isTuple = isTuple;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      List<@Nullable Object> values = new ArrayList<>(elements.size());
      for (Expression element : elements) {
        values.add(element.evaluate(in, scope));
      }
      return isTuple ? new PyTuple(values) : values;
    }
  }

  /** A dict of expressions. */
  static final class Dict extends Expression {
    private final List<Expression> keys;
    private final List<Expression> values;

    Dict(List<Expression> keys, List<Expression> values) {
      this.keys = List.copyOf(keys);
      this.values = List.copyOf(values);
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      Map<@Nullable Object, @Nullable Object> dict = new LinkedHashMap<>();
      for (int i = 0; i < keys.size(); i++) {
        Object key = Values.keyIn(dict, keys.get(i).evaluate(in, scope));
        dict.put(key, values.get(i).evaluate(in, scope));
      }
      return dict;
    }
  }

  /** {@code object.name}. */
  static final class Attribute extends Expression {
    private final Expression object;
    private final String name;

    Attribute(Expression object, String name) {
      this.object = object;
      this.name = name;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      return Attributes.attribute(in, object.evaluate(in, scope), name);
    }
  }

  /** {@code object[index]}. */
  static final class Subscript extends Expression {
    private final Expression object;
    private final Expression index;

    Subscript(Expression object, Expression index) {
      this.object = object;
      this.index = index;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      Object owner = object.evaluate(in, scope);
      return Attributes.subscript(in, owner, index.evaluate(in, scope));
    }
  }

  /** {@code start:stop:step} within brackets. */
  static final class SliceLiteral extends Expression {
    private final @Nullable Expression start;
    private final @Nullable Expression stop;
    private final @Nullable Expression step;

    SliceLiteral(@Nullable Expression start, @Nullable Expression stop, @Nullable Expression step) {
      this.start = start;
      this.stop = stop;
      this.step = step;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      return new Attributes.Slice(
          start == null ? null : start.evaluate(in, scope),
          stop == null ? null : stop.evaluate(in, scope),
          step == null ? null : step.evaluate(in, scope));
    }
  }

  /** The arguments of a call, filter or test, not yet evaluated. */
  record Arguments(
      List<Expression> positional,
      Map<String, Expression> named,
      @Nullable Expression spread,
      @Nullable Expression namedSpread) {

    static final Arguments NONE = new Arguments(List.of(), Map.of(), null, null);

    Args evaluate(Interpreter in, Scope scope) {
      if (positional.isEmpty() && named.isEmpty() && spread == null && namedSpread == null) {
        return new Args(List.of(), Map.of());
      }
      List<@Nullable Object> values = new ArrayList<>(positional.size());
      for (Expression argument : positional) {
        values.add(argument.evaluate(in, scope));
      }
      Map<String, @Nullable Object> byName = new LinkedHashMap<>();
      for (Map.Entry<String, Expression> entry : named.entrySet()) {
        byName.put(entry.getKey(), entry.getValue().evaluate(in, scope));
      }
      if (spread != null) {
        var elements = Values.iterator(spread.evaluate(in, scope));
        while (elements.hasNext()) {
          in.step();
          values.add(elements.next());
        }
      }
      if (namedSpread != null) {
        if (!(namedSpread.evaluate(in, scope) instanceof Map<?, ?> map)) {
          throw TemplateRuntimeException.type("argument after ** must be a mapping");
        }
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          if (!(entry.getKey() instanceof String key)) {
            throw TemplateRuntimeException.type("keywords must be strings");
          }
          byName.put(key, entry.getValue());
        }
      }
      return new Args(values, byName);
    }
  }

  /** A call. */
  static final class Call extends Expression {
    private final Expression callee;
    private final Arguments arguments;

    Call(Expression callee, Arguments arguments) {
      this.callee = callee;
      this.arguments = arguments;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      return call(in, scope, null);
    }

    /** Calls with the body of a call block, if there is one. */
    @Nullable Object call(Interpreter in, Scope scope, @Nullable Macro caller) {
      Object target = callee.evaluate(in, scope);
      Args args = arguments.evaluate(in, scope);
      if (caller != null) {
        Map<String, @Nullable Object> named = new LinkedHashMap<>(args.named());
        named.put("caller", caller);
        args = new Args(args.positional(), named);
      }
      if (target instanceof Callable callable) {
        return callable.call(in, args);
      }
      throw Values.wrongType(target, "'" + Values.typeName(target) + "' object is not callable");
    }
  }

  /** {@code value|name(arguments)}. */
  static final class Filter extends Expression {
    private final Expression input;
    private final String name;
    private final Arguments arguments;

    Filter(Expression input, String name, Arguments arguments) {
      this.input = input;
      this.name = name;
      this.arguments = arguments;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      Object value = input.raw(in, scope);
      Args args = arguments.evaluate(in, scope);
      if (value instanceof Markup && (name.equals("e") || name.equals("escape"))) {
        return value;
      }
      Object result = Filters.named(name).apply(in, Markup.plain(value), args);
      return Filters.marks(name) ? new Markup((String) result) : result;
    }
  }

  /** {@code value is name(arguments)}. */
  static final class Test extends Expression {
    private final Expression input;
    private final String name;
    private final Arguments arguments;

    Test(Expression input, String name, Arguments arguments) {
      this.input = input;
      this.name = name;
      this.arguments = arguments;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      Object value = input.evaluate(in, scope);
      return TestFunctions.named(name).test(in, value, arguments.evaluate(in, scope));
    }
  }

  /** Arithmetic of two values. */
  static final class Binary extends Expression {
    private final String sign;
    private final Expression left;
    private final Expression right;

    Binary(String sign, Expression left, Expression right) {
      this.sign = sign;
      this.left = left;
      this.right = right;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      Object a = left.raw(in, scope);
      Object b = right.raw(in, scope);
      if (sign.equals("+") && (a instanceof Markup || b instanceof Markup)) {
        Markup joined = Markup.join(in, a, b);
        if (joined != null) {
          return joined;
        }
      }
      return Operators.apply(in, sign, Markup.plain(a), Markup.plain(b));
    }
  }

  /** {@code -value} or {@code +value}. */
  static final class Unary extends Expression {
    private final String sign;
    private final Expression operand;

    Unary(String sign, Expression operand) {
      this.sign = sign;
      this.operand = operand;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      return Operators.unary(sign, operand.evaluate(in, scope));
    }
  }

  /** Texts joined by {@code ~}. */
  static final class Concatenation extends Expression {
    private final List<Expression> parts;

    Concatenation(List<Expression> parts) {
      this.parts = List.copyOf(parts);
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      StringBuilder out = new StringBuilder();
      for (Expression part : parts) {
        String text = PyText.str(in, part.evaluate(in, scope));
        in.made(text);
        out.append(text);
      }
      return out.toString();
    }
  }

  /** A chain of comparisons: {@code a < b <= c}. */
  static final class Comparison extends Expression {
    private final Expression first;
    private final List<String> signs;
    private final List<Expression> others;

    Comparison(Expression first, List<String> signs, List<Expression> others) {
      this.first = first;
      this.signs = List.copyOf(signs);
      this.others = List.copyOf(others);
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      Object left = first.evaluate(in, scope);
      for (int i = 0; i < signs.size(); i++) {
        Object right = others.get(i).evaluate(in, scope);
        boolean holds =
            switch (signs.get(i)) {
              case "==" -> Values.equal(in, left, right);
              case "!=" -> !Values.equal(in, left, right);
              case "in" -> Values.contains(in, right, left);
              case "not in" -> !Values.contains(in, right, left);
              default -> Values.ordered(in, signs.get(i), left, right);
            };
        if (!holds) {
          return false;
        }
        left = right;
      }
      return true;
    }
  }

  /** {@code a and b} or {@code a or b}, whose value is that of one operand. */
  static final class Logical extends Expression {
    private final boolean isAnd;
    private final Expression left;
    private final Expression right;

    Logical(boolean isAnd, Expression left, Expression right) {
      this.isAnd = isAnd;
      this.left = left;
      this.right = right;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      Object a = left.raw(in, scope);
      return Values.isTrue(Markup.plain(a)) == isAnd ? right.raw(in, scope) : a;
    }
  }

  /** {@code not value}. */
  static final class Negation extends Expression {
    private final Expression operand;

    Negation(Expression operand) {
      this.operand = operand;
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      return !Values.isTrue(operand.evaluate(in, scope));
    }
  }

  /** {@code a if condition else b}. */
  static final class Conditional extends Expression {
    private final Expression condition;
    private final Expression then;
    private final @Nullable Expression otherwise;

    Conditional(Expression condition, Expression then, @Nullable Expression otherwise) {
      this.condition = condition;
      this.then = then;
      this.otherwise = otherwise;
    }

    @Override
    @Nullable Object value(Interpreter in, Scope scope) {
      if (Values.isTrue(condition.evaluate(in, scope))) {
        return then.raw(in, scope);
      }
      return otherwise == null
          ? Undefined.because("the inline if-expression was false and has no else")
          : otherwise.raw(in, scope);
    }
  }
}
