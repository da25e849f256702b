package ai.sluice.text.jinja;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A macro, or the body of a call block, with the scope it was written in. */
final class Macro implements Callable {

  /**
   * The source of a macro.
   *
   * @param name its name; "caller" for the body of a call block
   * @param parameters the names of its parameters
   * @param defaults the defaults of the last parameters
   * @param body what it writes
   * @param usesCaller whether the body names caller, and likewise varargs and kwargs
   */
  record Definition(
      String name,
      List<String> parameters,
      List<Expression> defaults,
      List<Statement> body,
      boolean usesCaller,
      boolean usesVarargs,
      boolean usesKwargs) {}

  private final Definition definition;
  private final Scope scope;

  Macro(Definition definition, Scope scope) {
    this.definition = definition;
    this.scope = scope;
  }

  String name() {
    return definition.name();
  }

  List<String> parameters() {
    return definition.parameters();
  }

  @Override
  public Object call(Interpreter in, Args args) {
    Scope inner = new Scope(scope);
    List<String> parameters = definition.parameters();
    List<@Nullable Object> positional = args.positional();
    Map<String, @Nullable Object> named = new LinkedHashMap<>(args.named());
    int firstDefault = parameters.size() - definition.defaults().size();
    for (int i = 0; i < parameters.size(); i++) {
      String parameter = parameters.get(i);
      if (i < positional.size()) {
        inner.set(parameter, positional.get(i));
      } else if (named.containsKey(parameter)) {
        inner.set(parameter, named.remove(parameter));
      } else if (i >= firstDefault) {
        inner.set(parameter, definition.defaults().get(i - firstDefault).evaluate(in, inner));
      } else {
        inner.set(parameter, Undefined.because("parameter '" + parameter + "' was not provided"));
      }
    }
    if (definition.usesCaller() && !parameters.contains("caller")) {
      inner.set(
          "caller",
          named.containsKey("caller")
              ? named.remove("caller")
              : Undefined.because("no caller defined"));
    }
    if (definition.usesKwargs()) {
      inner.set("kwargs", named);
    } else if (!named.isEmpty()) {
      throw TemplateRuntimeException.type(
          "macro '"
              + name()
              + "' takes no keyword argument '"
              + named.keySet().iterator().next()
              + "'");
    }
    if (definition.usesVarargs()) {
      inner.set(
          "varargs",
          new PyTuple(
              positional.subList(
                  Math.min(parameters.size(), positional.size()), positional.size())));
    } else if (positional.size() > parameters.size()) {
      throw TemplateRuntimeException.type(
          "macro '" + name() + "' takes not more than " + parameters.size() + " argument(s)");
    }
    in.enter();
    String text = Statement.capture(definition.body(), in, inner);
    in.leave();
    return text;
  }
}
