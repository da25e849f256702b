package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Positional and named arguments of one call. {@link #end} refuses what nobody asked for. */
final class Args {
  static final Args NONE = new Args(List.of(), Map.of());

  private final List<@Nullable Object> positional;
  private final Map<String, @Nullable Object> named;
  private int taken;
  private int namedTaken;

  Args(List<@Nullable Object> positional, Map<String, @Nullable Object> named) {
    this.positional = positional;
    this.named = named;
  }

  List<@Nullable Object> positional() {
    return positional;
  }

  Map<String, @Nullable Object> named() {
    return named;
  }

  boolean has(int index, String name) {
    return index < positional.size() || named.containsKey(name);
  }

  /** An argument by place or name, or a default. */
  @Nullable Object get(int index, String name, @Nullable Object otherwise) {
    if (index < positional.size()) {
      taken = Math.max(taken, index + 1);
      if (named.containsKey(name)) {
        throw TemplateRuntimeException.type("argument '" + name + "' given twice");
      }
      return positional.get(index);
    }
    if (named.containsKey(name)) {
      namedTaken++;
      return named.get(name);
    }
    return otherwise;
  }

  /** An argument that must be there. */
  @Nullable Object need(int index, String name) {
    if (!has(index, name)) {
      throw TemplateRuntimeException.type("missing argument '" + name + "'");
    }
    return get(index, name, null);
  }

  String string(int index, String name, String otherwise) {
    Object value = get(index, name, otherwise);
    if (!(value instanceof String text)) {
      throw TemplateRuntimeException.type(name + " must be str, not " + Values.typeName(value));
    }
    return text;
  }

  long integer(int index, String name, long otherwise) {
    return Values.toIndex(get(index, name, otherwise));
  }

  boolean truth(int index, String name, boolean otherwise) {
    return Values.isTrue(get(index, name, otherwise));
  }

  /** Checks that every argument was asked for. */
  void end(String callee) {
    if (positional.size() > taken) {
      throw TemplateRuntimeException.type(
          callee + " takes at most " + taken + " arguments (" + positional.size() + " given)");
    }
    if (named.size() > namedTaken) {
      throw TemplateRuntimeException.type(
          callee + " got an unexpected keyword argument; given: " + named.keySet());
    }
  }

  /** The same arguments without the first positional ones. */
  Args after(int count) {
    return new Args(
        new ArrayList<>(positional.subList(count, positional.size())), new LinkedHashMap<>(named));
  }
}
