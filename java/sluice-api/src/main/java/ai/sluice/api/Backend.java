package ai.sluice.api;

/** Where a model runs. */
public enum Backend {
  /** CUDA where this build has it and a device is present, else CPU; see {@link ModelInfo}. */
  AUTO,
  /** The machine's processor. */
  CPU,
  /** An NVIDIA device; opening fails where there is none. */
  CUDA
}
