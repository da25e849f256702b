package ai.sluice.checkpoint;

/** The layouts of checkpoints that are read. */
public enum CheckpointFormat {
  /** A folder with config.json and safetensors files. */
  HUGGING_FACE,
  /** One GGUF file. */
  GGUF,
  /** No files: a known shape with random weights. */
  RANDOM
}
