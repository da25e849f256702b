package ai.sluice.text.jinja;

import ai.sluice.text.jinja.TemplateRuntimeException.Kind;

/**
 * A name, key or attribute that does not exist. It prints as nothing, is false, empty and equal to
 * its like; anything else done with it stops the template.
 */
final class Undefined {
  private final String hint;
  private final Kind kind;

  private Undefined(String hint, Kind kind) {
    this.hint = hint;
    this.kind = kind;
  }

  static Undefined name(String name) {
    return new Undefined("'" + name + "' is undefined", Kind.UNDEFINED);
  }

  static Undefined because(String hint) {
    return new Undefined(hint, Kind.UNDEFINED);
  }

  static Undefined unsafe(String attribute, Object owner) {
    return new Undefined(
        "access to attribute '"
            + attribute
            + "' of '"
            + Values.typeName(owner)
            + "' object is unsafe",
        Kind.SECURITY);
  }

  TemplateRuntimeException failure() {
    return new TemplateRuntimeException(kind, hint);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Undefined;
  }

  @Override
  public int hashCode() {
    return 0;
  }

  @Override
  public String toString() {
    return "";
  }
}
