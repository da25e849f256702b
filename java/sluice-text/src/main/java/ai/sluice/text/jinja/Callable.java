package ai.sluice.text.jinja;

import org.jspecify.annotations.Nullable;

/** Something that a template can call: a function, a macro or a method bound to its object. */
interface Callable {
  @Nullable Object call(Interpreter interpreter, Args args);
}
