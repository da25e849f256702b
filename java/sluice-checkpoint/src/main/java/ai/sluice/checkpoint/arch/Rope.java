package ai.sluice.checkpoint.arch;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.RopeVariant;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.primitives.Doubles;
import java.util.List;
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
 * @param softmaxFactor what YaRN multiplies the softmax scale by, in families that do so
 * @param notes settings that were passed over
 */
record Rope(
    RopeSpec spec,
    Optional<DynamicRope> dynamic,
    int maxPositions,
    double softmaxFactor,
    List<String> notes) {
  private static final int MAX_POSITIONS = 1 << 30;
  private static final String SUPPORTED = "default, linear, dynamic, llama3 or yarn";

  /**
   * What a family assumes where a config is silent.
   *
   * @param theta the base
   * @param interleaved whether pairs are neighbouring columns
   * @param scaling what a config means that has neither spelling of the settings
   */
  record Defaults(double theta, boolean interleaved, Optional<ObjectNode> scaling) {
    Defaults(double theta, boolean interleaved) {
      this(theta, interleaved, Optional.empty());
    }

    /** What most families assume. */
    static final Defaults USUAL = new Defaults(10_000, false);
  }

  /** What every scaling rule starts from. */
  private record Base(double theta, int rotaryDim, int maxPositions, boolean interleaved) {
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
   * @param rotaryKey the setting that says so, for messages
   * @param maxPositions the setting max_position_embeddings
   */
  static Rope read(
      ModelConfig config, int rotaryDim, String rotaryKey, int maxPositions, Defaults defaults) {
    if (rotaryDim % 2 != 0) {
      throw new CheckpointFormatException(
          config.file(),
          config.name(rotaryKey),
          rotaryDim + " (expected: an even number, for rotary positions)");
    }
    // Newer writers put everything into one object; a file that has both means the newer one.
    Optional<ModelConfig> parameters = config.object("rope_parameters");
    Optional<ModelConfig> scaling = config.object("rope_scaling");
    if (parameters.isPresent()
        && scaling.isPresent()
        && !config.peek("rope_parameters").equals(config.peek("rope_scaling"))) {
      throw config.bad("rope_scaling", "absent, or as rope_parameters");
    }
    ModelConfig settings =
        parameters
            .or(() -> scaling)
            .or(() -> defaults.scaling().map(s -> config.assumed("rope_scaling", s)))
            .orElse(config);
    double outer = config.positive("rope_theta", defaults.theta());
    double theta = settings.positive("rope_theta", outer);
    if (config.has("rope_theta") && theta != outer) {
      throw config.bad("rope_theta", theta + ", as " + settings.name("rope_theta") + " says");
    }
    requireWhole(config);
    boolean interleaved = config.flag(GgufKeys.ROPE_INTERLEAVED, defaults.interleaved());
    Base base = new Base(theta, rotaryDim, maxPositions, interleaved);
    Rope rope = settings == config ? plain(config, base) : scaled(settings, base, config);
    return settings == config
        ? rope
        : new Rope(
            rope.spec(),
            rope.dynamic(),
            rope.maxPositions(),
            rope.softmaxFactor(),
            ConfigPolicy.judge(settings, Set.of()));
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
      case "yarn" -> yarn(settings, base, config);
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
        rope.maxPositions(),
        1,
        List.of());
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

  /**
   * YaRN: pairs that turn often within the original context keep their frequency, those that turn
   * seldom are slowed down by the factor, and between two pair numbers lies a linear ramp.
   */
  private static Rope yarn(ModelConfig settings, Base base, ModelConfig config) {
    int original =
        settings.integer("original_max_position_embeddings", 1, MAX_POSITIONS, base.maxPositions());
    double factor =
        settings.has("factor")
            ? factor(settings)
            : Math.max(1, (double) base.maxPositions() / original);
    double fast = settings.positive("beta_fast", 32);
    double slow = settings.positive("beta_slow", 1);
    if (!(fast > slow)) {
      throw settings.bad("beta_fast", "more than beta_slow, " + slow);
    }
    if (!(base.theta() > 1)) {
      throw new CheckpointFormatException(
          config.file(),
          config.name("rope_theta"),
          base.theta() + " (expected: more than 1, for YaRN)");
    }
    double low = turningPair(fast, original, base);
    double high = turningPair(slow, original, base);
    if (settings.flag("truncate", true)) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, base.rotaryDim() - 1);
    // Both ends at one pair would divide by zero.
    double span = high == low ? 0.001 : high - low;
    double[] frequencies = base.inverseFrequencies();
    for (int i = 0; i < frequencies.length; i++) {
      double slowed = Math.min(1, Math.max(0, (i - low) / span));
      frequencies[i] = slowed * frequencies[i] / factor + (1 - slowed) * frequencies[i];
    }
    Optional<Double> mscale = multiplier(settings, "mscale");
    Optional<Double> mscaleAllDim = multiplier(settings, "mscale_all_dim");
    if (mscale.isPresent() != mscaleAllDim.isPresent()) {
      // Reference loaders differ in what one alone means.
      throw settings.unsupported(
          mscale.isPresent() ? "mscale" : "mscale_all_dim",
          "mscale and mscale_all_dim, or neither");
    }
    double allDim = mscaleAllDim.map(m -> growth(factor, m)).orElse(1.0);
    double inferred = growth(factor, mscale.orElse(1.0)) / allDim;
    RopeVariant.Builder variant =
        RopeVariant.newBuilder().setAttentionScale(settings.positive("attention_factor", inferred));
    int reach = (int) Math.min(MAX_POSITIONS, (long) (original * factor));
    Rope rope = of(config, base, frequencies, variant, Math.max(base.maxPositions(), reach));
    return new Rope(
        rope.spec(), rope.dynamic(), rope.maxPositions(), allDim * allDim, List.of());
  }

  /** The number, with a fraction, of the pair that turns this often within the original context. */
  private static double turningPair(double turns, int original, Base base) {
    return base.rotaryDim()
        * Math.log(original / (turns * 2 * Math.PI))
        / (2 * Math.log(base.theta()));
  }

  /** How much YaRN lets scores grow when the context is stretched by {@code factor}. */
  private static double growth(double factor, double multiplier) {
    return factor <= 1 ? 1 : 0.1 * multiplier * Math.log(factor) + 1;
  }

  /** A multiplier whose absence some writers spell 0. */
  private static Optional<Double> multiplier(ModelConfig settings, String key) {
    double value = settings.notNegative(key, 0);
    return value == 0 ? Optional.empty() : Optional.of(value);
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
    return of(config, base, frequencies, RopeVariant.newBuilder(), maxPositions);
  }

  private static Rope of(
      ModelConfig config,
      Base base,
      double[] frequencies,
      RopeVariant.Builder variant,
      int maxPositions) {
    Optional<double[]> factors = config.numbers(GgufKeys.ROPE_FREQUENCY_FACTORS);
    factors.ifPresent(divisors -> divide(config, frequencies, divisors));
    RopeSpec spec =
        RopeSpec.newBuilder()
            .setRotaryDim(base.rotaryDim())
            .setInterleaved(base.interleaved())
            .addVariants(variant.addAllInvFreq(Doubles.asList(frequencies)))
            .build();
    return new Rope(spec, Optional.empty(), maxPositions, 1, List.of());
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
