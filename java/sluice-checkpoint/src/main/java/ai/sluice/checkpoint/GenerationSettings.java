package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.arch.ModelConfig;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.databind.JsonNode;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleConsumer;

/**
 * generation_config.json: how the model's makers sample, and where a generation ends.
 *
 * @param sampling the values that the file sets; do_sample false means temperature 0
 * @param eosTokenIds tokens that end a generation; empty if the file names none
 * @param bosTokenIds the token in front of a text, at most one
 * @param present whether there is such a file
 * @param notes settings that ask for what Sluice does not do
 */
record GenerationSettings(
    Sampling sampling,
    List<Integer> eosTokenIds,
    List<Integer> bosTokenIds,
    boolean present,
    List<String> notes) {
  static final String FILE = "generation_config.json";

  // Keys that change what is generated and are not supported, with the value that asks for nothing.
  private static final ImmutableMap<String, Double> UNSUPPORTED =
      ImmutableMap.<String, Double>builder()
          .put("num_beams", 1.0)
          .put("penalty_alpha", 0.0)
          .put("no_repeat_ngram_size", 0.0)
          .put("encoder_repetition_penalty", 1.0)
          .put("length_penalty", 1.0)
          .put("typical_p", 1.0)
          .put("epsilon_cutoff", 0.0)
          .put("eta_cutoff", 0.0)
          .put("top_h", 1.0)
          .put("guidance_scale", 1.0)
          .buildOrThrow();

  private static final List<String> UNSUPPORTED_LISTS =
      List.of(
          "bad_words_ids",
          "suppress_tokens",
          "begin_suppress_tokens",
          "sequence_bias",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "exponential_decay_length_penalty",
          "watermarking_config");

  /** Reads the file of a folder, if there is one. */
  static GenerationSettings read(Path folder) {
    Path file = folder.resolve(FILE);
    if (!Files.exists(file)) {
      return new GenerationSettings(Sampling.unset(), List.of(), List.of(), false, List.of());
    }
    ModelConfig config = ModelConfig.of(file, StrictJson.readObject(file), Map.of());
    return new GenerationSettings(
        sampling(config),
        config.tokenIds("eos_token_id"),
        config.tokenIds("bos_token_id"),
        true,
        notes(config));
  }

  private static Sampling sampling(ModelConfig config) {
    Sampling.Builder sampling = Sampling.builder();
    set(config, "repetition_penalty", sampling::repetitionPenalty);
    if (!config.flag("do_sample", true)) {
      return sampling.temperature(0).build();
    }
    set(config, "temperature", sampling::temperature);
    set(config, "top_p", sampling::topP);
    set(config, "min_p", sampling::minP);
    if (config.has("top_k")) {
      sampling.topK(config.integer("top_k", 0, Integer.MAX_VALUE));
    }
    if (config.has("do_sample") && !config.has("temperature")) {
      sampling.temperature(1);
    }
    return sampling.build();
  }

  private static void set(ModelConfig config, String key, DoubleConsumer setter) {
    JsonNode value = config.peek(key).orElse(null);
    if (value == null) {
      return;
    }
    if (!value.isNumber()) {
      throw config.bad(key, "a number");
    }
    try {
      setter.accept(value.doubleValue());
    } catch (InvalidRequestException e) {
      throw new CheckpointFormatException(config.file(), key, e.getMessage(), e);
    }
  }

  private static List<String> notes(ModelConfig config) {
    List<String> notes = new ArrayList<>();
    UNSUPPORTED.forEach(
        (key, neutral) ->
            config
                .peek(key)
                .filter(value -> value.isNumber() && value.doubleValue() != neutral)
                .ifPresent(value -> notes.add(note(config, key))));
    for (String key : UNSUPPORTED_LISTS) {
      config
          .peek(key)
          .filter(value -> !value.isContainerNode() || !value.isEmpty())
          .ifPresent(value -> notes.add(note(config, key)));
    }
    return notes;
  }

  private static String note(ModelConfig config, String key) {
    return FILE + ": " + key + ": " + config.show(key) + " is not supported and has no effect";
  }
}
