package ai.sluice.checkpoint.arch;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.RopeVariant;
import com.google.common.primitives.Doubles;
import java.util.Optional;
import java.util.Set;

/**
 * Rotary position embedding computed from settings, in double. Reads both spellings: {@code
 * rope_parameters} with everything inside, and the older {@code rope_theta} beside {@code
 * rope_scaling}.
 *
 * @param spec the frequencies, for the engine
 * @param dynamic how they depend on a prompt's length, if they do
 * @param maxPositions positions that the scaling makes usable
 */
record Rope(RopeSpec spec, Optional<DynamicRope> dynamic, int maxPositions) {
  private static final double DEFAULT_THETA = 10_000;
  private static final int MAX_POSITIONS = 1 << 30;
  private static final String SUPPORTED = "default, linear, dynamic or llama3";

  /** What every scaling rule starts from. */
  private record Base(double theta, int rotaryDim, int maxPositions) {
    double[] inverseFrequencies() {
      double[] frequencies = new double[rotaryDim / 2];
      for (int i = 0; i < frequencies.length; i++) {
        frequencies[i] = 1 / Math.pow(theta, 2.0 * i / rotaryDim);
      }
      return frequencies;
    }
  }

  /**
   * Reads the settings of a model's only RoPE.
   *
   * @param config the model's settings
   * @param rotaryDim columns of a head that turn, even
   * @param maxPositions the setting max_position_embeddings
   */
  static Rope read(ModelConfig config, int rotaryDim, int maxPositions) {
    if (rotaryDim % 2 != 0) {
      throw new CheckpointFormatException(
          config.file(),
          config.name("head_dim"),
          rotaryDim + " (expected: an even number, for" + " rotary positions)");
    }
    // Newer writers put everything into one object; a file that has both means the newer one.
    Optional<ModelConfig> parameters = config.object("rope_parameters");
    Optional<ModelConfig> scaling = config.object("rope_scaling");
    if (parameters.isPresent()
        && scaling.isPresent()
        && !config.peek("rope_parameters").equals(config.peek("rope_scaling"))) {
      throw config.bad("rope_scaling", "absent, or as rope_parameters");
    }
    ModelConfig settings = parameters.or(() -> scaling).orElse(config);
    double outer = config.positive("rope_theta", DEFAULT_THETA);
    double theta = settings.positive("rope_theta", outer);
    if (config.has("rope_theta") && theta != outer) {
      throw config.bad("rope_theta", theta + ", as " + settings.name("rope_theta") + " says");
    }
    requireWhole(config);
    Base base = new Base(theta, rotaryDim, maxPositions);
    Rope rope = settings == config ? plain(config, base) : scaled(settings, base, config);
    if (settings != config) {
      ConfigPolicy.judge(settings, Set.of());
    }
    return rope;
  }

  private static Rope scaled(ModelConfig settings, Base base, ModelConfig config) {
    requireWhole(settings);
    String older = settings.text("type").orElse("default");
    String kind = settings.text("rope_type").orElse(older);
    return switch (kind) {
      case "default", "none" -> plain(config, base);
      case "linear" -> linear(settings, base, config);
      case "dynamic" -> dynamic(settings, base, config);
      case "llama3" -> llama3(settings, base, config);
      default ->
          throw settings.unsupported(settings.has("rope_type") ? "rope_type" : "type", SUPPORTED);
    };
  }

  private static void requireWhole(ModelConfig settings) {
    if (settings.positive("partial_rotary_factor", 1) != 1) {
      throw settings.unsupported("partial_rotary_factor", "1");
    }
  }

  private static Rope plain(ModelConfig config, Base base) {
    return of(config, base, base.inverseFrequencies(), base.maxPositions());
  }

  private static Rope linear(ModelConfig settings, Base base, ModelConfig config) {
    double factor = factor(settings);
    double[] frequencies = base.inverseFrequencies();
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] /= factor;
    }
    return of(config, base, frequencies, stretched(base, factor));
  }

  private static Rope dynamic(ModelConfig settings, Base base, ModelConfig config) {
    double factor = factor(settings);
    // Part of the field's schema, but its reference loader computes with max_position_embeddings.
    int original =
        settings.integer("original_max_position_embeddings", 1, MAX_POSITIONS, base.maxPositions());
    if (original != base.maxPositions()) {
      throw settings.unsupported(
          "original_max_position_embeddings",
          base.maxPositions() + ", max_position_embeddings, for dynamic scaling");
    }
    if (base.rotaryDim() <= 2) {
      throw settings.unsupported("rope_type", "another than dynamic with 2 rotary columns");
    }
    Rope rope = of(config, base, base.inverseFrequencies(), stretched(base, factor));
    return new Rope(
        rope.spec(),
        Optional.of(
            new DynamicRope(0, base.rotaryDim(), base.theta(), factor, base.maxPositions())),
        rope.maxPositions());
  }

  /** Long wavelengths are stretched, short ones kept, those between are blended. */
  private static Rope llama3(ModelConfig settings, Base base, ModelConfig config) {
    double factor = factor(settings);
    double low = settings.positive("low_freq_factor");
    double high = settings.positive("high_freq_factor");
    if (!(high > low)) {
      throw settings.bad("high_freq_factor", "more than low_freq_factor, " + low);
    }
    double original = settings.integer("original_max_position_embeddings", 1, MAX_POSITIONS);
    double[] frequencies = base.inverseFrequencies();
    for (int i = 0; i < frequencies.length; i++) {
      double turns = original * frequencies[i] / (2 * Math.PI);
      // 0 below `low` turns within the original context, 1 above `high`.
      double keep = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      frequencies[i] = (1 - keep) * frequencies[i] / factor + keep * frequencies[i];
    }
    return of(config, base, frequencies, base.maxPositions());
  }

  private static double factor(ModelConfig settings) {
    double factor = settings.positive("factor");
    if (factor < 1) {
      throw settings.bad("factor", "at least 1");
    }
    return factor;
  }

  private static int stretched(Base base, double factor) {
    return (int) Math.min(MAX_POSITIONS, (long) (base.maxPositions() * factor));
  }

  private static Rope of(ModelConfig config, Base base, double[] frequencies, int maxPositions) {
    Optional<double[]> factors = config.numbers(GgufKeys.ROPE_FREQUENCY_FACTORS);
    factors.ifPresent(divisors -> divide(config, frequencies, divisors));
    RopeSpec spec =
        RopeSpec.newBuilder()
            .setRotaryDim(base.rotaryDim())
            .setInterleaved(config.flag(GgufKeys.ROPE_INTERLEAVED, false))
            .addVariants(RopeVariant.newBuilder().addAllInvFreq(Doubles.asList(frequencies)))
            .build();
    return new Rope(spec, Optional.empty(), maxPositions);
  }

  private static void divide(ModelConfig config, double[] frequencies, double[] divisors) {
    if (divisors.length != frequencies.length) {
      throw new CheckpointFormatException(
          config.file(),
          config.name(GgufKeys.ROPE_FREQUENCY_FACTORS),
          divisors.length
              + " values (expected: "
              + frequencies.length
              + ", half of the rotary columns)");
    }
    for (int i = 0; i < frequencies.length; i++) {
      if (!(divisors[i] > 0)) {
        throw new CheckpointFormatException(
            config.file(),
            config.name(GgufKeys.ROPE_FREQUENCY_FACTORS),
            "value " + i + ": " + divisors[i] + " (expected: above 0)");
      }
      frequencies[i] /= divisors[i];
    }
  }
}
