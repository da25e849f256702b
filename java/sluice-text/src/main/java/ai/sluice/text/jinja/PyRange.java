package ai.sluice.text.jinja;

import java.util.AbstractList;
import java.util.RandomAccess;

/** The numbers of a call of range, none of them stored. */
final class PyRange extends AbstractList<Object> implements RandomAccess {
  /** As in Jinja's sandbox. */
  private static final long MAX_SIZE = 100_000;

  private final long start;
  private final long stop;
  private final long step;
  private final int size;

  PyRange(long start, long stop, long step) {
    if (step == 0) {
      throw TemplateRuntimeException.value("range() arg 3 must not be zero");
    }
    this.start = start;
    this.stop = stop;
    this.step = step;
    double exact = Math.ceil(((double) stop - start) / step);
    if (exact > MAX_SIZE) {
      throw TemplateRuntimeException.limit(
          "range() of " + (long) exact + " numbers (expected: at most " + MAX_SIZE + ")");
    }
    this.size = (int) Math.max(0, exact);
  }

  @Override
  public Object get(int index) {
    return start + index * step;
  }

  @Override
  public int size() {
    return size;
  }

  /** How Python prints it. */
  String repr() {
    return step == 1
        ? "range(" + start + ", " + stop + ")"
        : "range(" + start + ", " + stop + ", " + step + ")";
  }
}
