package ai.sluice.api;

/** Number format of activations, of the KV cache and of weights that are not kept quantized. */
public enum ComputeDtype {
  /** BFLOAT16 where the processor multiplies it natively, else FLOAT32. Resolved once, at load. */
  AUTO,
  /** 32-bit IEEE floating point. */
  FLOAT32,
  /** 16-bit brain floating point; sums are kept in 32 bits. */
  BFLOAT16
}
