package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/** Mistral: Llama's layers with one sliding window for all of them. In GGUF it is "llama". */
final class Mistral implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(8, Defaults.HIDDEN_OVER_HEADS, 4096 * 32, 1e-6);
  private static final Attention ATTENTION = new Attention(false, false, false);
  private static final int DEFAULT_WINDOW = 4096;

  @Override
  public String modelType() {
    return "mistral";
  }

  @Override
  public String architecture() {
    return "MistralForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of();
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    List<Integer> windows = SlidingWindows.everyLayer(config, sizes.numLayers(), DEFAULT_WINDOW);
    return GqaDecoder.dense(
        modelType(), config, sizes, ATTENTION, false, windows, ImmutableSet.of());
  }
}
