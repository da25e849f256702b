package ai.sluice.text.grammar;

import java.util.Arrays;
import java.util.function.IntPredicate;

/** A set of Unicode characters without surrogates, as sorted ranges. Immutable. */
final class CodePoints {
  static final CodePoints NONE = new CodePoints(new int[0]);
  static final CodePoints ALL = new CodePoints(new int[] {0, 0xD7FF, 0xE000, 0x10FFFF});

  /** First and last of each range, both inclusive; neighbours are not adjacent. */
  private final int[] bounds;

  private CodePoints(int[] bounds) {
    this.bounds = bounds;
  }

  static CodePoints of(int first, int last) {
    return new CodePoints(new int[] {first, last}).and(ALL);
  }

  static CodePoints of(int codePoint) {
    return of(codePoint, codePoint);
  }

  /** The characters of a text. */
  static CodePoints of(String text) {
    return text.codePoints().mapToObj(CodePoints::of).reduce(NONE, CodePoints::or);
  }

  static CodePoints where(IntPredicate test) {
    int[] found = new int[16];
    int size = 0;
    for (int i = 0; i <= 0x10FFFF; i++) {
      if (test.test(i)) {
        int first = i;
        while (i < 0x10FFFF && test.test(i + 1)) {
          i++;
        }
        if (size == found.length) {
          found = Arrays.copyOf(found, size * 2);
        }
        found[size++] = first;
        found[size++] = i;
      }
    }
    return new CodePoints(Arrays.copyOf(found, size)).and(ALL);
  }

  boolean isEmpty() {
    return bounds.length == 0;
  }

  int ranges() {
    return bounds.length / 2;
  }

  int first(int range) {
    return bounds[2 * range];
  }

  int last(int range) {
    return bounds[2 * range + 1];
  }

  boolean has(int codePoint) {
    for (int i = 0; i < bounds.length; i += 2) {
      if (codePoint >= bounds[i] && codePoint <= bounds[i + 1]) {
        return true;
      }
    }
    return false;
  }

  CodePoints not() {
    int[] gaps = new int[bounds.length + 2];
    int size = 0;
    int next = 0;
    for (int i = 0; i < bounds.length; i += 2) {
      if (bounds[i] > next) {
        gaps[size++] = next;
        gaps[size++] = bounds[i] - 1;
      }
      next = bounds[i + 1] + 1;
    }
    if (next <= 0x10FFFF) {
      gaps[size++] = next;
      gaps[size++] = 0x10FFFF;
    }
    CodePoints complement = new CodePoints(Arrays.copyOf(gaps, size));
    return bounds == ALL.bounds ? NONE : complement.and(ALL);
  }

  CodePoints or(CodePoints other) {
    int[] merged = new int[bounds.length + other.bounds.length];
    int size = 0;
    int i = 0;
    int j = 0;
    while (i < bounds.length || j < other.bounds.length) {
      boolean mine =
          j == other.bounds.length || i < bounds.length && bounds[i] <= other.bounds[j];
      int first = mine ? bounds[i] : other.bounds[j];
      int last = mine ? bounds[i + 1] : other.bounds[j + 1];
      if (mine) {
        i += 2;
      } else {
        j += 2;
      }
      if (size > 0 && first <= merged[size - 1] + 1) {
        merged[size - 1] = Math.max(merged[size - 1], last);
      } else {
        merged[size++] = first;
        merged[size++] = last;
      }
    }
    return new CodePoints(Arrays.copyOf(merged, size));
  }

  CodePoints and(CodePoints other) {
    int[] common = new int[bounds.length + other.bounds.length];
    int size = 0;
    int i = 0;
    int j = 0;
    while (i < bounds.length && j < other.bounds.length) {
      int first = Math.max(bounds[i], other.bounds[j]);
      int last = Math.min(bounds[i + 1], other.bounds[j + 1]);
      if (first <= last) {
        common[size++] = first;
        common[size++] = last;
      }
      if (bounds[i + 1] < other.bounds[j + 1]) {
        i += 2;
      } else {
        j += 2;
      }
    }
    return new CodePoints(Arrays.copyOf(common, size));
  }

  CodePoints without(CodePoints other) {
    return and(other.not());
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof CodePoints set && Arrays.equals(bounds, set.bounds);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bounds);
  }

  @Override
  public String toString() {
    return Arrays.toString(bounds);
  }
}
