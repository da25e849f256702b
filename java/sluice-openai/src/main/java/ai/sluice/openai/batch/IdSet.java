package ai.sluice.openai.batch;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/**
 * Ids that were seen, in 32 to 64 bytes each however long they are: the first half of their
 * SHA-256. Not thread-safe.
 */
final class IdSet {
  private final MessageDigest digest = BatchInput.sha256();
  private long[] table = new long[2 * 1024];
  private int count;

  /** Adds an id; false if it was there already. */
  boolean add(String id) {
    ByteBuffer hash = ByteBuffer.wrap(digest.digest(id.getBytes(StandardCharsets.UTF_8)));
    long high = hash.getLong();
    // Zero marks a free place.
    return add(high == 0 ? 1 : high, hash.getLong());
  }

  private boolean add(long high, long low) {
    if (!insert(table, high, low)) {
      return false;
    }
    if (++count > table.length / 4) {
      long[] larger = new long[table.length * 2];
      for (int i = 0; i < table.length; i += 2) {
        if (table[i] != 0) {
          insert(larger, table[i], table[i + 1]);
        }
      }
      table = larger;
    }
    return true;
  }

  private static boolean insert(long[] table, long high, long low) {
    int mask = table.length / 2 - 1;
    int place = (int) low & mask;
    while (table[2 * place] != 0) {
      if (table[2 * place] == high && table[2 * place + 1] == low) {
        return false;
      }
      place = (place + 1) & mask;
    }
    table[2 * place] = high;
    table[2 * place + 1] = low;
    return true;
  }
}
