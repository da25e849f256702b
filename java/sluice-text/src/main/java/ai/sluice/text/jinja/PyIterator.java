package ai.sluice.text.jinja;

import java.util.Iterator;
import org.jspecify.annotations.Nullable;

/** A generator: it can be walked once, and has neither length nor index. */
final class PyIterator implements Iterator<@Nullable Object> {
  private final Iterator<? extends @Nullable Object> elements;

  PyIterator(Iterator<? extends @Nullable Object> elements) {
    this.elements = elements;
  }

  @Override
  public boolean hasNext() {
    return elements.hasNext();
  }

  @Override
  public @Nullable Object next() {
    return elements.next();
  }
}
