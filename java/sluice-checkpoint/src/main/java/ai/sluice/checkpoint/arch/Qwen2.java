package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/**
 * Qwen 2 and 2.5: Llama's layers with biases on q, k and v, and a window on later layers if asked.
 */
final class Qwen2 implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(32, Defaults.HIDDEN_OVER_HEADS, 32_768, 1e-6);
  private static final Attention ATTENTION = new Attention(true, false, false);
  // q, k and v have biases whatever it says: the family's loader does not read it.
  private static final ImmutableSet<String> HARMLESS = ImmutableSet.of("attention_bias");

  @Override
  public String modelType() {
    return "qwen2";
  }

  @Override
  public String architecture() {
    return "Qwen2ForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("qwen2");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    List<Integer> windows = SlidingWindows.laterLayersIfUsed(config, sizes.numLayers());
    return GqaDecoder.dense(modelType(), config, sizes, ATTENTION, false, windows, HARMLESS);
  }
}
