package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.GgufKeys;
import ai.sluice.checkpoint.arch.ModelConfig;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Turns GGUF metadata into settings under their Hugging Face names. What the two formats say
 * differently is settled here: defaults, tied embeddings, biases by presence, rotary factors as a
 * tensor, permuted q and k. A setting of the architecture that is not known goes through under its
 * own name, for the family to judge.
 */
final class GgufSettings {
  static final String ROPE_FREQUENCIES = "rope_freqs.weight";
  private static final int MAX_ROPE_FREQUENCIES = 1 << 14;
  private static final int MAX_SHOWN_ARRAY = 64;
  private static final double YARN_GROWTH = 0.1;

  // Architectures whose converters store the rows of q and k as (pair, half) instead of (half,
  // pair); turning neighbouring columns is the same arithmetic.
  private static final ImmutableSet<String> PERMUTED = ImmutableSet.of("llama", "deepseek");
  // Every layer of the one, which Mistral's models use; every other layer of the other.
  private static final ImmutableSet<String> WINDOWED = ImmutableSet.of("llama", "gpt-oss");
  private static final ImmutableSet<String> LATENT = ImmutableSet.of("deepseek2");

  // GGUF key after the architecture's prefix -> Hugging Face key.
  private static final ImmutableMap<String, String> KEYS =
      ImmutableMap.<String, String>builder()
          .put("block_count", "num_hidden_layers")
          .put("context_length", "max_position_embeddings")
          .put("embedding_length", "hidden_size")
          .put("feed_forward_length", "intermediate_size")
          .put("attention.head_count", "num_attention_heads")
          .put("attention.head_count_kv", "num_key_value_heads")
          .put("attention.layer_norm_rms_epsilon", "rms_norm_eps")
          .put("attention.key_length", "head_dim")
          .put("rope.freq_base", "rope_theta")
          .putAll(GgufMixtures.KEYS)
          .buildOrThrow();

  private static final ImmutableSet<String> REQUIRED =
      ImmutableSet.of(
          "block_count",
          "context_length",
          "embedding_length",
          "feed_forward_length",
          "attention.head_count",
          "attention.layer_norm_rms_epsilon");

  // Read by this class, or says nothing that the tensors do not say.
  private static final ImmutableSet<String> SETTLED =
      ImmutableSet.of(
          "vocab_size",
          "tensor_data_layout",
          "attention.causal",
          "attention.value_length",
          "rope.dimension_count",
          "rope.scale_linear",
          "rope.scaling.type",
          "rope.scaling.factor",
          "rope.scaling.finetuned",
          "rope.scaling.original_context_length");

  // YaRN's, after rope.scaling. -> Hugging Face key.
  private static final ImmutableMap<String, String> YARN =
      ImmutableMap.of(
          "yarn_beta_fast", "beta_fast",
          "yarn_beta_slow", "beta_slow");

  private final GgufFile file;
  private final GgufMetadata metadata;
  private final TensorDirectory tensors;
  private final String prefix;
  private final ObjectNode settings = JsonNodeFactory.instance.objectNode();
  private final Map<String, String> spelling = new LinkedHashMap<>();

  private GgufSettings(GgufFile file, String architecture) {
    this.file = file;
    this.metadata = file.metadata();
    this.tensors = file.tensors();
    this.prefix = architecture + ".";
  }

  /**
   * The settings of a file.
   *
   * @throws CheckpointFormatException if a required key is missing or of a wrong type
   * @throws UnsupportedModelException if the file holds a part of a model, or no model
   */
  static ModelConfig read(GgufFile file, String architecture) {
    GgufSettings reader = new GgufSettings(file, architecture);
    reader.requireWholeModel();
    reader.copyKeys();
    reader.settleHeads(architecture);
    reader.settleRope(architecture);
    reader.settleByTensors();
    return ModelConfig.of(file.path(), reader.settings, reader.spelling);
  }

  private void requireWholeModel() {
    String type = metadata.string("general.type").orElse("model");
    if (!type.equals("model")) {
      throw unsupported("general.type", "model");
    }
    if (metadata.integer("split.count").orElse(1L) > 1) {
      throw unsupported("split.count", "1; merge the parts into one file");
    }
  }

  private void copyKeys() {
    for (String required : REQUIRED) {
      if (!metadata.has(prefix + required)) {
        throw new CheckpointFormatException(
            metadata.file(), Quote.clip(prefix + required), "missing (expected: a number)");
      }
    }
    for (String key : metadata.keys()) {
      if (!key.startsWith(prefix)) {
        continue;
      }
      String rest = key.substring(prefix.length());
      if (!SETTLED.contains(rest) && !GgufMixtures.LATENT.contains(rest)) {
        put(KEYS.getOrDefault(rest, key), key);
      }
    }
  }

  private void put(String name, String key) {
    spelling.put(name, key);
    Object value = metadata.raw(key);
    if (value instanceof Long integer) {
      settings.put(name, integer);
    } else if (value instanceof Double number) {
      settings.put(name, number);
    } else if (value instanceof Boolean truth) {
      settings.put(name, truth);
    } else if (value instanceof String text) {
      settings.put(name, text);
    } else if (value instanceof PackedNumbers numbers && numbers.type().isInteger()) {
      putPerLayer(name, key, numbers);
    } else {
      settings.put(name, metadata.describe(key));
    }
  }

  /** Some writers give one number per layer; supported where all are the same. */
  private void putPerLayer(String name, String key, PackedNumbers numbers) {
    boolean same = numbers.size() > 0;
    for (int i = 1; i < numbers.size(); i++) {
      same &= numbers.integer(i) == numbers.integer(0);
    }
    if (same) {
      settings.put(name, numbers.integer(0));
    } else if (KEYS.containsValue(name)) {
      throw unsupported(key, "the same number for every layer");
    } else {
      ArrayNode array = settings.putArray(name);
      for (int i = 0; i < Math.min(numbers.size(), MAX_SHOWN_ARRAY); i++) {
        array.add(numbers.integer(i));
      }
    }
  }

  private void settleHeads(String architecture) {
    settings.put(GgufKeys.IS_GGUF, true);
    settings.put(GgufKeys.ROPE_INTERLEAVED, PERMUTED.contains(architecture));
    if (!metadata.bool(prefix + "attention.causal").orElse(true)) {
      throw unsupported(prefix + "attention.causal", "true");
    }
    GgufMixtures mixtures = new GgufMixtures(file, prefix, settings, spelling);
    if (LATENT.contains(architecture)) {
      mixtures.settleLatent();
    } else {
      settleHeadSizes();
    }
    mixtures.settle(architecture);
    settleWindow(architecture);
  }

  private void settleHeadSizes() {
    if (!settings.has("num_key_value_heads")) {
      settings.set("num_key_value_heads", settings.get("num_attention_heads"));
      spelling.put("num_key_value_heads", prefix + "attention.head_count");
    }
    ModelConfig read = ModelConfig.of(metadata.file(), settings, spelling);
    int heads = read.integer("num_attention_heads", 1, Integer.MAX_VALUE);
    int hidden = read.integer("hidden_size", 1, Integer.MAX_VALUE);
    if (!settings.has("head_dim")) {
      if (hidden % heads != 0) {
        throw read.bad("hidden_size", "a multiple of " + heads + ", the number of heads");
      }
      settings.put("head_dim", hidden / heads);
      spelling.put("head_dim", prefix + "attention.key_length");
    }
    long headDim = read.integer("head_dim", 1, Integer.MAX_VALUE);
    requireEqual("attention.value_length", headDim);
    requireEqual("rope.dimension_count", headDim);
  }

  private void settleWindow(String architecture) {
    String window = prefix + "attention.sliding_window";
    // Of the others the file does not say which layers have it.
    if (WINDOWED.contains(architecture) && settings.has(window)) {
      if (metadata.integer(window).orElseThrow() != 0) {
        settings.set("sliding_window", settings.get(window));
        spelling.put("sliding_window", window);
      }
      settings.remove(window);
    }
  }

  private void requireEqual(String key, long headDim) {
    if (metadata.integer(prefix + key).orElse(headDim) != headDim) {
      throw unsupported(prefix + key, headDim + ", the size of a head");
    }
  }

  private void settleRope(String architecture) {
    String type = metadata.string(prefix + "rope.scaling.type").orElse("none");
    double older = metadata.number(prefix + "rope.scale_linear").orElse(1.0);
    double factor = metadata.number(prefix + "rope.scaling.factor").orElse(older);
    if (type.equals("none") && older != 1) {
      type = "linear";
    }
    if (type.equals("none")) {
      return;
    }
    ObjectNode scaling = settings.putObject("rope_scaling");
    scaling.put("rope_type", type);
    scaling.put("factor", factor);
    spelling.put("rope_scaling", prefix + "rope.scaling");
    spelling.put("rope_type", "type");
    if (type.equals("yarn")) {
      settleYarn(architecture, scaling);
    }
  }

  private void settleYarn(String architecture, ObjectNode scaling) {
    String original = prefix + "rope.scaling.original_context_length";
    metadata
        .integer(original)
        .ifPresent(length -> scaling.put("original_max_position_embeddings", length));
    spelling.put("original_max_position_embeddings", "original_context_length");
    YARN.forEach(
        (key, name) -> {
          settings.remove(prefix + "rope.scaling." + key);
          metadata
              .number(prefix + "rope.scaling." + key)
              .ifPresent(value -> scaling.put(name, value));
          spelling.put(name, key);
        });
    String multiplier = prefix + "rope.scaling.yarn_log_multiplier";
    if (LATENT.contains(architecture) && metadata.has(multiplier)) {
      // Ten times this is what config.json calls both mscale and mscale_all_dim.
      double mscale = metadata.number(multiplier).orElseThrow() / YARN_GROWTH;
      settings.remove(multiplier);
      scaling.put("mscale", mscale).put("mscale_all_dim", mscale);
    }
    if (architecture.equals("gpt-oss")) {
      // The models' own arithmetic, of which the file has no word.
      scaling.put("truncate", false);
    }
  }

  private void settleByTensors() {
    settings.put("tie_word_embeddings", tensors.find("output.weight").isEmpty());
    // Said only where it is so: not every family has the setting.
    tensors.find("blk.0.attn_q.bias").ifPresent(t -> settings.put("attention_bias", true));
    tensors.find("blk.0.ffn_gate.bias").ifPresent(t -> settings.put("mlp_bias", true));
    TensorInfo embedding = tensors.get("token_embd.weight");
    if (embedding.shape().size() != 2) {
      throw new CheckpointFormatException(
          metadata.file(),
          embedding.name(),
          "shape: " + embedding.describe() + " (expected: 2 dimensions)");
    }
    settings.put("vocab_size", embedding.shape().get(0));
    spelling.put("vocab_size", "rows of token_embd.weight");
    tensors.find(ROPE_FREQUENCIES).ifPresent(this::readRopeFrequencies);
  }

  private void readRopeFrequencies(TensorInfo tensor) {
    if (tensor.dtype() != DType.F32
        || tensor.shape().size() != 1
        || tensor.elements() > MAX_ROPE_FREQUENCIES) {
      throw new CheckpointFormatException(
          tensor.file(), tensor.name(), tensor.describe() + " (expected: F32, one dimension)");
    }
    ArrayNode factors = settings.putArray(GgufKeys.ROPE_FREQUENCY_FACTORS);
    spelling.put(GgufKeys.ROPE_FREQUENCY_FACTORS, ROPE_FREQUENCIES);
    try (PositionalFile file = PositionalFile.open(tensor.file())) {
      ByteBuffer bytes =
          ByteBuffer.wrap(file.read(tensor.offset(), (int) tensor.byteLength()))
              .order(ByteOrder.LITTLE_ENDIAN);
      while (bytes.hasRemaining()) {
        factors.add((double) bytes.getFloat());
      }
    }
  }

  /** The ids under a metadata key that end a generation; several keys name one each. */
  static List<Integer> tokenIds(GgufMetadata metadata, String... keys) {
    return List.of(keys).stream()
        .flatMap(key -> metadata.integer(key).stream())
        .filter(id -> id >= 0 && id <= Integer.MAX_VALUE)
        .map(Long::intValue)
        .distinct()
        .toList();
  }

  private UnsupportedModelException unsupported(String key, String expected) {
    return new UnsupportedModelException(
        metadata.file()
            + ": "
            + Quote.clip(key)
            + ": "
            + metadata.describe(key)
            + " (expected: "
            + expected
            + ")");
  }
}
