package ai.sluice.core.scheduler;

import java.nio.ByteBuffer;

/**
 * Runs steps: the native engine, or a fake in tests. One thread submits and awaits; {@link #abort}
 * may come from any.
 */
public interface StepRunner {
  /** Step slots. */
  int numSlots();

  /** Input area of a slot, little endian; written between await and submit only. */
  ByteBuffer input(int slot);

  /** Output area of a slot, little endian; read between await and submit only. */
  ByteBuffer output(int slot);

  /**
   * Starts the step written in a slot. Steps run in the order of submit.
   *
   * @throws ai.sluice.api.SluiceException if the engine refuses it or has failed
   */
  void submit(int slot);

  /**
   * Waits for the step in a slot.
   *
   * @param timeoutMicros longest wait
   * @return false if it is not finished yet
   * @throws ai.sluice.api.SluiceException if the step or the engine failed or was aborted
   */
  boolean await(int slot, long timeoutMicros);

  /** Makes steps in flight end as soon as they can; every later call fails. */
  void abort();
}
