package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.arch.Architectures;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Reads a GGUF file as a whole checkpoint. */
final class GgufCheckpoint {
  private static final String ARCHITECTURE = "general.architecture";
  private static final String TOKENIZER = "tokenizer.ggml.";
  private static final String TEMPLATE = "tokenizer.chat_template";

  private GgufCheckpoint() {}

  static CheckpointParts read(Path path) {
    GgufFile file = GgufFile.open(path);
    GgufMetadata metadata = file.metadata();
    String architecture =
        metadata
            .string(ARCHITECTURE)
            .orElseThrow(
                () ->
                    new CheckpointFormatException(
                        path,
                        ARCHITECTURE,
                        "missing (expected: "
                            + String.join(", ", Architectures.supportedGguf())
                            + ")"));
    Architectures.requireGguf(path, architecture);
    ModelPlan plan = Architectures.planGguf(architecture, GgufSettings.read(file, architecture));
    GgufNames names = GgufNames.of(architecture);
    TensorDirectory tensors = names.rename(file.tensors());
    WeightBinder.Bound bound = WeightBinder.bind(plan, tensors, names::toGguf);
    Optional<GgufTokenizerData> tokenizer = tokenizer(file);
    List<Integer> bos = GgufSettings.tokenIds(metadata, TOKENIZER + "bos_token_id");
    List<Integer> eos =
        GgufSettings.tokenIds(
            metadata,
            TOKENIZER + "eos_token_id",
            TOKENIZER + "eot_token_id",
            TOKENIZER + "eom_token_id");
    return new CheckpointParts(
        path,
        CheckpointFormat.GGUF,
        metadata.string("general.name"),
        plan,
        tensors,
        bound,
        Sampling.unset(),
        Optional.empty(),
        bos,
        eos,
        tokenizer.map(TokenizerSource.Gguf::new),
        tokenizer.flatMap(data -> token(data, data.bosTokenId())),
        tokenizer.flatMap(data -> token(data, data.eosTokenId())),
        templates(metadata),
        ImmutableList.<String>builder().addAll(plan.notes()).addAll(bound.notes()).build());
  }

  private static Optional<String> token(GgufTokenizerData data, Optional<Integer> id) {
    return id.filter(index -> index < data.tokens().size()).map(data.tokens()::get);
  }

  private static ImmutableMap<String, String> templates(GgufMetadata metadata) {
    ImmutableMap.Builder<String, String> templates = ImmutableMap.builder();
    metadata
        .string(TEMPLATE)
        .ifPresent(text -> templates.put(TokenizerSettings.DEFAULT_TEMPLATE, text));
    for (String key : metadata.keys()) {
      if (key.startsWith(TEMPLATE + ".")) {
        String name = key.substring(TEMPLATE.length() + 1);
        if (!name.equals(TokenizerSettings.DEFAULT_TEMPLATE)) {
          metadata.string(key).ifPresent(text -> templates.put(name, text));
        }
      }
    }
    return templates.buildOrThrow();
  }

  private static Optional<GgufTokenizerData> tokenizer(GgufFile file) {
    GgufMetadata metadata = file.metadata();
    Optional<String> model = metadata.string(TOKENIZER + "model");
    Optional<List<String>> tokens = metadata.strings(TOKENIZER + "tokens");
    if (model.isEmpty() || tokens.isEmpty()) {
      return Optional.empty();
    }
    int count = tokens.get().size();
    List<Long> types = metadata.integers(TOKENIZER + "token_type").orElse(List.of());
    List<Float> scores = metadata.floats(TOKENIZER + "scores").orElse(List.of());
    requireLength(file, "token_type", types.size(), count);
    requireLength(file, "scores", scores.size(), count);
    return Optional.of(
        new GgufTokenizerData(
            file.path(),
            model.get(),
            metadata.string(TOKENIZER + "pre"),
            tokens.get(),
            types,
            scores,
            metadata.strings(TOKENIZER + "merges").orElse(List.of()),
            id(file, "bos_token_id", count),
            id(file, "eos_token_id", count),
            id(file, "eot_token_id", count),
            id(file, "unknown_token_id", count),
            id(file, "padding_token_id", count),
            metadata.bool(TOKENIZER + "add_bos_token"),
            metadata.bool(TOKENIZER + "add_eos_token"),
            metadata.bool(TOKENIZER + "add_space_prefix"),
            metadata.bool(TOKENIZER + "remove_extra_whitespaces"),
            metadata.integers(TOKENIZER + "precompiled_charsmap").orElse(List.of())));
  }

  private static void requireLength(GgufFile file, String key, int length, int expected) {
    if (length != 0 && length != expected) {
      throw new CheckpointFormatException(
          file.path(),
          TOKENIZER + key,
          length + " entries (expected: " + expected + ", one per token)");
    }
  }

  private static Optional<Integer> id(GgufFile file, String key, int count) {
    // 2^32 - 1 is how some writers say "none" in an unsigned field.
    Optional<Long> id =
        file.metadata()
            .integer(TOKENIZER + key)
            .filter(value -> value >= 0 && value != 0xffffffffL);
    if (id.isPresent() && id.get() >= count) {
      throw new CheckpointFormatException(
          file.path(),
          Quote.clip(TOKENIZER + key),
          id.get() + " (expected: below " + count + ", the number of tokens)");
    }
    return id.map(Long::intValue);
  }
}
