package ai.sluice.openai.batch;

import java.util.Arrays;

/** The lines that an output answers, with the hash of each. Not thread-safe. */
final class DoneLines {
  private long[] hashes = new long[1024];
  private int last;
  private long count;

  /** Adds a line; false if it was there already. */
  boolean add(int number, long hash) {
    if (number >= hashes.length) {
      hashes = Arrays.copyOf(hashes, Math.max(number + 1, hashes.length + (hashes.length >> 1)));
    }
    if (hashes[number] != 0) {
      return false;
    }
    hashes[number] = hash;
    last = Math.max(last, number);
    count++;
    return true;
  }

  /** The hash of a line, or 0 if it is not answered. */
  long hash(long number) {
    return number < hashes.length ? hashes[(int) number] : 0;
  }

  /** The last line that is answered, 0 if none is. */
  int last() {
    return last;
  }

  long count() {
    return count;
  }
}
