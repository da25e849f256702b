package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/** Qwen 3: norms on every head of q and k; windows as in Qwen 2. */
final class Qwen3 implements Family {
  private static final Defaults DEFAULTS = new Defaults(32, 128, 32_768, 1e-6);

  @Override
  public String modelType() {
    return "qwen3";
  }

  @Override
  public String architecture() {
    return "Qwen3ForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("qwen3");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    boolean bias = config.flag("attention_bias", false);
    Attention attention = new Attention(bias, bias, true);
    List<Integer> windows = SlidingWindows.laterLayersIfUsed(config, sizes.numLayers());
    return GqaDecoder.dense(
        modelType(), config, sizes, attention, false, windows, ImmutableSet.of());
  }
}
