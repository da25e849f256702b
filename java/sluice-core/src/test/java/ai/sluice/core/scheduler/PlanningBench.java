package ai.sluice.core.scheduler;

import java.util.ArrayDeque;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Measures the planning and applying of steps with 64 decoding rows, and asserts nothing. Its name
 * keeps it out of the tests; {@code mvn -q -pl java/sluice-core -am test -Dtest=PlanningBench
 * -Dsurefire.failIfNoSpecifiedTests=false} runs it.
 *
 * <p>Between steps, untimed, an amount of garbage is made as by texts and chunks of so many tokens,
 * so that collections fall into the steps as they do in an engine.
 */
class PlanningBench {
  private static final int WARM_UP = 20_000;
  private static final int STEPS = 60_000;
  /** Bytes that one token leaves behind, and how many tokens' stay alive for a while. */
  private static final int GARBAGE = 256;

  private static final int ALIVE = 20_000;

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void stepsOfDecodes(boolean cached) {
    DecodingLoad load = new DecodingLoad(WARM_UP + STEPS, cached);
    ArrayDeque<byte[]> alive = new ArrayDeque<>();
    long[] nanos = new long[STEPS];
    long collections = -collections();
    for (int i = -WARM_UP; i < STEPS; i++) {
      load.answer(i);
      for (int row = 0; row < DecodingLoad.ROWS; row++) {
        alive.add(new byte[GARBAGE]);
        if (alive.size() > ALIVE) {
          alive.remove();
        }
      }
      long begin = System.nanoTime();
      load.step();
      long end = System.nanoTime();
      if (i >= 0) {
        nanos[i] = end - begin;
      }
    }
    collections += collections();
    load.check();
    Arrays.sort(nanos);
    System.out.printf(
        "planning and applying a step of %d decodes, prefix cache %s: median %.1f us, p99 %.1f us,"
            + " p99.9 %.1f us, longest %.1f us; %d steps, %d collections%n",
        DecodingLoad.ROWS, cached ? "on" : "off", nanos[STEPS / 2] / 1e3,
        nanos[(int) (STEPS * 0.99)] / 1e3, nanos[(int) (STEPS * 0.999)] / 1e3,
        nanos[STEPS - 1] / 1e3, STEPS, collections);
  }

  /** Collections so far, through reflection as in {@link Allocation}. */
  private static long collections() {
    try {
      long sum = 0;
      Object beans =
          Class.forName("java.lang.management.ManagementFactory")
              .getMethod("getGarbageCollectorMXBeans")
              .invoke(null);
      for (Object bean : (Iterable<?>) beans) {
        sum +=
            (long) Class.forName("java.lang.management.GarbageCollectorMXBean")
                .getMethod("getCollectionCount")
                .invoke(bean);
      }
      return sum;
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }
}
