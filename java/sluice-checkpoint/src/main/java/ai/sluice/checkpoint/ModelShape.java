package ai.sluice.checkpoint;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Models whose sizes are known here, for measuring without a checkpoint. */
public enum ModelShape {
  /** Latent attention, 64 experts of which 6 are taken, two shared ones. */
  DEEPSEEK_V2_LITE("deepseek-v2-lite"),
  /** Grouped queries, 128 experts of which 8 are taken. */
  QWEN3_30B_A3B("qwen3-30b-a3b"),
  /** Grouped queries, 8 large experts of which 2 are taken. */
  MIXTRAL_8X7B("mixtral-8x7b"),
  /** Grouped queries, dense. */
  LLAMA_3_8B("llama-3-8b"),
  /** As many KV heads as query heads, dense. */
  DEEPSEEK_7B("deepseek-7b"),
  /** The six adaptive attention kinds in turn, 64 experts of which 6 are taken. */
  ADAPTIVE("adaptive");

  private final String label;

  ModelShape(String label) {
    this.label = label;
  }

  /** The name that users write. */
  public String label() {
    return label;
  }

  /** The names of all shapes. */
  public static List<String> labels() {
    return Arrays.stream(values()).map(ModelShape::label).toList();
  }

  /** The shape of this name, if there is one. */
  static Optional<ModelShape> find(String label) {
    return Arrays.stream(values()).filter(shape -> shape.label.equals(label)).findFirst();
  }
}
