package ai.sluice.text.jinja;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Function;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Iterators that work when they are asked, as Python's generators do. */
final class Lazy {
  private Lazy() {}

  static Iterator<@Nullable Object> filter(
      Iterator<? extends @Nullable Object> source, Predicate<@Nullable Object> test) {
    return new Iterator<>() {
      private @Nullable Object next;
      private boolean ready;

      @Override
      public boolean hasNext() {
        while (!ready && source.hasNext()) {
          Object candidate = source.next();
          if (test.test(candidate)) {
            next = candidate;
            ready = true;
          }
        }
        return ready;
      }

      @Override
      public @Nullable Object next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        ready = false;
        return next;
      }
    };
  }

  static Iterator<@Nullable Object> map(
      Iterator<? extends @Nullable Object> source,
      Function<@Nullable Object, @Nullable Object> function) {
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return source.hasNext();
      }

      @Override
      public @Nullable Object next() {
        return function.apply(source.next());
      }
    };
  }
}
