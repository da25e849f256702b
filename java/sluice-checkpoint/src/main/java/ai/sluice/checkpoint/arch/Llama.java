package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/**
 * Llama 1 to 3 and the many models that share its config, SmolLM2 among them. GGUF files of this
 * architecture may also hold Mistral's models, with experts Mixtral's.
 */
final class Llama implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(Defaults.AS_QUERY_HEADS, Defaults.HIDDEN_OVER_HEADS, 2048, 1e-6);
  // Its loader never looks at them, so they say nothing about its weights.
  private static final ImmutableSet<String> HARMLESS = ImmutableSet.of("rope_interleaved");

  @Override
  public String modelType() {
    return "llama";
  }

  @Override
  public String architecture() {
    return "LlamaForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("llama");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    boolean gguf = config.flag(GgufKeys.IS_GGUF, false);
    if (gguf && config.integer("num_experts", 0, Mixture.MAX_EXPERTS, 0) > 0) {
      return new Mixtral().plan(config);
    }
    Sizes sizes = Sizes.read(config, DEFAULTS);
    boolean attentionBias = config.flag("attention_bias", false);
    Attention attention = new Attention(attentionBias, attentionBias, false);
    // GGUF files of this architecture also carry Mistral models, whose window counts.
    List<Integer> windows =
        gguf
            ? SlidingWindows.everyLayer(config, sizes.numLayers(), 0)
            : SlidingWindows.none(sizes.numLayers());
    return GqaDecoder.dense(
        modelType(), config, sizes, attention, config.flag("mlp_bias", false), windows, HARMLESS);
  }
}
