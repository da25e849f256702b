package ai.sluice.jni;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves the native library's log records to SLF4J, logger {@code ai.sluice.native}.
 *
 * <p>Records are fetched by the threads that call the engine, after their calls; no native thread
 * ever enters the JVM.
 */
final class NativeLog {
  private static final Logger LOGGER = LoggerFactory.getLogger("ai.sluice.native");
  private static final ReentrantLock LOCK = new ReentrantLock();
  private static final int FIRST_CAPACITY = 512;

  private NativeLog() {}

  /** Asks the library for the records that the logger would show. */
  static void adoptLevel() {
    int level = SluiceAbi.SLUICE_LOG_WARN;
    if (LOGGER.isDebugEnabled()) {
      level = SluiceAbi.SLUICE_LOG_DEBUG;
    } else if (LOGGER.isInfoEnabled()) {
      level = SluiceAbi.SLUICE_LOG_INFO;
    }
    SluiceAbi.sluice_log_set_level(level);
  }

  /** Logs what is queued. Another thread that is doing so already is left alone: order is kept. */
  static void drain() {
    if (!LOCK.tryLock()) {
      return;
    }
    try {
      int[] level = new int[1];
      long[] size = new long[1];
      // The usual answer is "nothing"; it costs one call and no buffer.
      while (poll(level, null, size) == SluiceAbi.SLUICE_STATUS_BUFFER_TOO_SMALL) {
        byte[] text = new byte[(int) Math.max(size[0], FIRST_CAPACITY)];
        if (poll(level, text, size) == SluiceAbi.SLUICE_STATUS_OK && size[0] > 0) {
          log(level[0], new String(text, 0, (int) size[0], StandardCharsets.UTF_8));
        }
      }
    } finally {
      LOCK.unlock();
    }
  }

  private static int poll(int[] level, byte @Nullable [] text, long[] size) {
    return SluiceAbi.sluice_log_poll(level, text, text == null ? 0 : text.length, size, null);
  }

  private static void log(int level, String text) {
    switch (level) {
      case SluiceAbi.SLUICE_LOG_ERROR -> LOGGER.error(text);
      case SluiceAbi.SLUICE_LOG_WARN -> LOGGER.warn(text);
      case SluiceAbi.SLUICE_LOG_INFO -> LOGGER.info(text);
      default -> LOGGER.debug(text);
    }
  }
}
