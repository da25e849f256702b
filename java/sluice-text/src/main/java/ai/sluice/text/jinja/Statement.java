package ai.sluice.text.jinja;

import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A node of a parsed template that writes text or changes variables. Immutable. */
abstract class Statement {
  /** How a statement ended. */
  enum Flow {
    NORMAL,
    BREAK,
    CONTINUE
  }

  private final int line;

  Statement(int line) {
    this.line = line;
  }

  /** Runs the statement. */
  final Flow execute(Interpreter in, Scope scope, Output out) {
    in.step();
    try {
      return run(in, scope, out);
    } catch (TemplateRuntimeException e) {
      throw e.at(line);
    }
  }

  abstract Flow run(Interpreter in, Scope scope, Output out);

  /** Runs statements in order. */
  static Flow runAll(List<Statement> body, Interpreter in, Scope scope, Output out) {
    for (Statement statement : body) {
      Flow flow = statement.execute(in, scope, out);
      if (flow != Flow.NORMAL) {
        return flow;
      }
    }
    return Flow.NORMAL;
  }

  /** The text that statements write in a scope of their own. */
  static String capture(List<Statement> body, Interpreter in, Scope scope) {
    Output out = new Output(in);
    runAll(body, in, scope, out);
    return out.toString();
  }

  /** Template text. */
  static final class Text extends Statement {
    private final String text;

    Text(String text, int line) {
      super(line);
      this.text = text;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      out.append(text);
      return Flow.NORMAL;
    }
  }

  /** {@code {{ expression }}}. */
  static final class Print extends Statement {
    private final Expression expression;

    Print(Expression expression, int line) {
      super(line);
      this.expression = expression;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      out.append(PyText.str(in, expression.evaluate(in, scope)));
      return Flow.NORMAL;
    }
  }

  /** {@code if} with any number of {@code elif} and an {@code else}. */
  static final class If extends Statement {
    private final List<Expression> conditions;
    private final List<List<Statement>> bodies;
    private final List<Statement> otherwise;

    If(
        List<Expression> conditions,
        List<List<Statement>> bodies,
        List<Statement> otherwise,
        int line) {
      super(line);
      this.conditions = List.copyOf(conditions);
      this.bodies = List.copyOf(bodies);
      this.otherwise = List.copyOf(otherwise);
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      for (int i = 0; i < conditions.size(); i++) {
        if (Values.isTrue(conditions.get(i).evaluate(in, scope))) {
          return runAll(bodies.get(i), in, scope, out);
        }
      }
      return runAll(otherwise, in, scope, out);
    }
  }

  /** What an assignment writes to: a name, an attribute of a namespace, or several of these. */
  record Target(@Nullable String name, @Nullable String attribute, List<Target> parts) {

    void assign(Interpreter in, Scope scope, @Nullable Object value) {
      if (name == null) {
        unpack(in, scope, value);
      } else if (attribute == null) {
        scope.set(name, value);
      } else if (scope.get(name) instanceof Namespace namespace) {
        namespace.attributes().put(attribute, value);
      } else {
        throw TemplateRuntimeException.type(
            "cannot assign attribute '" + attribute + "' on a value that is no namespace");
      }
    }

    private void unpack(Interpreter in, Scope scope, @Nullable Object value) {
      Iterator<? extends @Nullable Object> values = Values.iteratorOrNull(Markup.plain(value));
      if (values == null) {
        throw TemplateRuntimeException.type(
            "cannot unpack non-iterable " + Values.typeName(value) + " object");
      }
      for (Target part : parts) {
        if (!values.hasNext()) {
          throw TemplateRuntimeException.value(
              "not enough values to unpack (expected " + parts.size() + ")");
        }
        part.assign(in, scope, values.next());
      }
      if (values.hasNext()) {
        throw TemplateRuntimeException.value(
            "too many values to unpack (expected " + parts.size() + ")");
      }
    }
  }

  /** {@code set target = expression}. */
  static final class Assign extends Statement {
    private final Target target;
    private final Expression expression;

    Assign(Target target, Expression expression, int line) {
      super(line);
      this.target = target;
      this.expression = expression;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      target.assign(in, scope, expression.raw(in, scope));
      return Flow.NORMAL;
    }
  }

  /** The text that a captured body leaves, as an expression, so that filters can follow. */
  static final class Captured extends Expression {
    private final List<Statement> body;

    Captured(List<Statement> body) {
      this.body = List.copyOf(body);
    }

    @Override
    Object value(Interpreter in, Scope scope) {
      return capture(body, in, new Scope(scope));
    }
  }

  /** {@code for target in expression if condition}, with its {@code else}. */
  static final class For extends Statement {
    private final Target target;
    private final Expression iterable;
    private final @Nullable Expression condition;
    private final List<Statement> body;
    private final List<Statement> otherwise;
    private final boolean recursive;

    For(
        Target target,
        Expression iterable,
        @Nullable Expression condition,
        List<Statement> body,
        List<Statement> otherwise,
        boolean recursive,
        int line) {
      super(line);
      this.target = target;
      this.iterable = iterable;
      this.condition = condition;
      this.body = List.copyOf(body);
      this.otherwise = List.copyOf(otherwise);
      this.recursive = recursive;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      loop(in, scope, out, iterable.evaluate(in, scope), 1);
      return Flow.NORMAL;
    }

    private void loop(Interpreter in, Scope scope, Output out, @Nullable Object values, int depth) {
      LoopInfo loop =
          new LoopInfo(
              filtered(in, scope, values),
              in,
              depth,
              condition == null && !(values instanceof String) ? Values.length(values) : -1,
              recursive
                  ? (inner, args) -> {
                    Object nested = args.need(0, "iterable");
                    args.end("loop");
                    Output text = new Output(inner);
                    inner.enter();
                    loop(inner, scope, text, nested, depth + 1);
                    inner.leave();
                    return text.toString();
                  }
                  : null);
      boolean any = false;
      while (loop.advance()) {
        in.step();
        any = true;
        Scope iteration = new Scope(scope);
        iteration.set("loop", loop);
        target.assign(in, iteration, loop.current());
        if (runAll(body, in, iteration, out) == Flow.BREAK) {
          break;
        }
      }
      if (!any) {
        runAll(otherwise, in, new Scope(scope), out);
      }
    }

    /** The elements for which the condition holds, tested when the loop comes to them. */
    private Iterator<? extends @Nullable Object> filtered(
        Interpreter in, Scope scope, @Nullable Object values) {
      Iterator<? extends @Nullable Object> all = Values.iterator(values);
      if (condition == null) {
        return all;
      }
      return Lazy.filter(
          all,
          element -> {
            in.step();
            Scope test = new Scope(scope);
            target.assign(in, test, element);
            return Values.isTrue(condition.evaluate(in, test));
          });
    }
  }

  /** {@code break} or {@code continue}. */
  static final class Jump extends Statement {
    private final Flow flow;

    Jump(Flow flow, int line) {
      super(line);
      this.flow = flow;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      return flow;
    }
  }

  /** {@code macro name(parameters)}. */
  static final class MacroDefinition extends Statement {
    private final Macro.Definition definition;

    MacroDefinition(Macro.Definition definition, int line) {
      super(line);
      this.definition = definition;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      scope.set(definition.name(), new Macro(definition, scope));
      return Flow.NORMAL;
    }
  }

  /** {@code call(parameters) macro(arguments)}. */
  static final class CallBlock extends Statement {
    private final Expression.Call call;
    private final Macro.Definition caller;

    CallBlock(Expression.Call call, Macro.Definition caller, int line) {
      super(line);
      this.call = call;
      this.caller = caller;
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      out.append(PyText.str(in, call.call(in, scope, new Macro(caller, scope))));
      return Flow.NORMAL;
    }
  }

  /**
   * A body with variables of its own: {@code with}, and {@code generation}, which changes nothing.
   */
  static final class With extends Statement {
    private final Map<Target, Expression> variables;
    private final List<Statement> body;

    With(Map<Target, Expression> variables, List<Statement> body, int line) {
      super(line);
      this.variables = variables;
      this.body = List.copyOf(body);
    }

    @Override
    Flow run(Interpreter in, Scope scope, Output out) {
      Scope inner = new Scope(scope);
      for (Map.Entry<Target, Expression> entry : variables.entrySet()) {
        entry.getKey().assign(in, inner, entry.getValue().evaluate(in, scope));
      }
      return runAll(body, in, inner, out);
    }
  }
}
