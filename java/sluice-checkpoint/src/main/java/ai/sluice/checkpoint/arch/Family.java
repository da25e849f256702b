package ai.sluice.checkpoint.arch;

import com.google.common.collect.ImmutableSet;

/** One model family. Implementations are stateless and live in one file each. */
interface Family {
  /** What config.json calls the family under {@code model_type}. */
  String modelType();

  /** What config.json lists under {@code architectures}. */
  String architecture();

  /** What GGUF files call the family under {@code general.architecture}; may be empty. */
  ImmutableSet<String> ggufArchitectures();

  /**
   * Turns settings into a model and its tensors.
   *
   * @throws ai.sluice.api.CheckpointFormatException if a setting is missing or out of range
   * @throws ai.sluice.api.UnsupportedModelException if one asks for what is not supported
   */
  ModelPlan plan(ModelConfig config);
}
