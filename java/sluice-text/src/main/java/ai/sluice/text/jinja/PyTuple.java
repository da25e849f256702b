package ai.sluice.text.jinja;

import java.util.AbstractList;
import java.util.List;
import java.util.RandomAccess;
import org.jspecify.annotations.Nullable;

/** A tuple: a list that prints with parentheses and may be a key. */
final class PyTuple extends AbstractList<@Nullable Object> implements RandomAccess {
  private final Object[] elements;

  PyTuple(List<?> elements) {
    this.elements = elements.toArray();
  }

  static PyTuple of(@Nullable Object... elements) {
    return new PyTuple(java.util.Arrays.asList(elements));
  }

  @Override
  public @Nullable Object get(int index) {
    return elements[index];
  }

  @Override
  public int size() {
    return elements.length;
  }
}
