package ai.sluice.api;

/** What a result may depend on besides the request. */
public enum Numerics {
  /** The fastest kernels. Results may differ in the last bits with the batch they ran in. */
  FAST,
  /**
   * Bit-equal results over batch, chunk size and order (CPU). Costs some speed; meant for tests,
   * evaluation and reproducible sampling beside other requests.
   */
  BATCH_INVARIANT
}
