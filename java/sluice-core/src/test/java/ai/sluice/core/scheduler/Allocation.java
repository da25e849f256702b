package ai.sluice.core.scheduler;

import java.lang.reflect.Method;

/**
 * Counts the bytes that the current thread allocates. Through reflection, since the module under
 * test does not read jdk.management.
 */
public final class Allocation {
  private static final Object BEAN;
  private static final Method COUNT;

  static {
    try {
      BEAN =
          Class.forName("java.lang.management.ManagementFactory")
              .getMethod("getThreadMXBean")
              .invoke(null);
      COUNT =
          Class.forName("com.sun.management.ThreadMXBean")
              .getMethod("getThreadAllocatedBytes", long.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private Allocation() {}

  /** Bytes that this thread has allocated since it started. */
  public static long bytes() {
    try {
      return (long) COUNT.invoke(BEAN, Thread.currentThread().getId());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }
}
