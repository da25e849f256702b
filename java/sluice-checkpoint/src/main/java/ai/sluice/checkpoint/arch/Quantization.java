package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.ModelPlan.ScaleBlock;
import com.google.common.collect.ImmutableSet;
import java.util.List;
import java.util.Optional;

/**
 * What a checkpoint says about the number formats of its weights. Which tensors are stored in them,
 * their dtypes tell; what the setting adds is how they are scaled.
 */
final class Quantization {
  private static final int MAX_BLOCK = 1 << 16;
  // Which modules keep their format: the tensors themselves say it. Whether kernels may round
  // activations too is no property of the weights.
  private static final ImmutableSet<String> HARMLESS =
      ImmutableSet.of(
          "modules_to_not_convert", "fmt", "scale_fmt", "activation_scheme", "dequantize");

  private Quantization() {}

  /**
   * Gives the plan the scale block of 8-bit floats, if the checkpoint has such. MXFP4 has a block
   * of its own.
   *
   * @throws ai.sluice.api.UnsupportedModelException for a way to quantize that is not built
   */
  static void read(ModelConfig config, DecoderPlan plan) {
    Optional<ModelConfig> quantization = config.object("quantization_config");
    if (quantization.isEmpty() || config.peek("quantization_config").orElseThrow().isEmpty()) {
      return;
    }
    ModelConfig settings = quantization.get();
    switch (settings.text("quant_method").orElse("")) {
      case "mxfp4" -> {}
      case "fp8" -> plan.scaleBlock(fp8(settings));
      default ->
          throw settings.unsupported(
              "quant_method", "fp8 or mxfp4; use the checkpoint before it was quantized");
    }
    plan.note(ConfigPolicy.judge(settings, HARMLESS));
  }

  private static ScaleBlock fp8(ModelConfig settings) {
    if (!settings.text("fmt").orElse("e4m3").equals("e4m3")) {
      throw settings.unsupported("fmt", "e4m3");
    }
    if (!settings.text("activation_scheme").orElse("dynamic").equals("dynamic")) {
      throw settings.unsupported("activation_scheme", "dynamic");
    }
    List<Integer> block = settings.integers("weight_block_size").orElse(List.of());
    if (block.isEmpty()) {
      throw settings.unsupported("weight_block_size", "two numbers, rows and columns of a block");
    }
    if (block.size() != 2 || block.stream().anyMatch(n -> n < 1 || n > MAX_BLOCK)) {
      throw settings.bad(
          "weight_block_size", "two numbers from 1 to " + MAX_BLOCK + ", rows and columns");
    }
    return new ScaleBlock(block.get(0), block.get(1));
  }
}
