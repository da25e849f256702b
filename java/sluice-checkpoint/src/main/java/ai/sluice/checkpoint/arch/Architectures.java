package ai.sluice.checkpoint.arch;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableList;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** The families that Sluice reads. A new one is one line here. */
public final class Architectures {
  private static final ImmutableList<Family> FAMILIES =
      ImmutableList.of(
          new Llama(),
          new Mistral(),
          new Qwen2(),
          new Qwen3(),
          new Mixtral(),
          new Qwen2Moe(),
          new Qwen3Moe(),
          new Deepseek(),
          new DeepseekV2(),
          new DeepseekV3(),
          new GptOss(),
          new AdaptiveMoe());

  private Architectures() {}

  /** Names under {@code architectures} in config.json that are supported. */
  public static List<String> supported() {
    return FAMILIES.stream().map(Family::architecture).toList();
  }

  /** Names under {@code general.architecture} in GGUF files that are supported. */
  public static List<String> supportedGguf() {
    return FAMILIES.stream().flatMap(f -> f.ggufArchitectures().stream()).distinct().toList();
  }

  /**
   * Plans the model of a config.json.
   *
   * @throws UnsupportedModelException if the architecture is not supported; names it and the list
   * @throws CheckpointFormatException if the config names none or contradicts itself
   */
  public static ModelPlan plan(ModelConfig config) {
    return familyOf(config).plan(config);
  }

  /**
   * Plans the model of a GGUF file's settings.
   *
   * @param architecture the value of {@code general.architecture}
   * @throws UnsupportedModelException if it is not supported; names it and the list
   */
  public static ModelPlan planGguf(String architecture, ModelConfig config) {
    return ggufFamily(config.file(), architecture).plan(config);
  }

  /**
   * Throws unless GGUF files of this architecture are supported.
   *
   * @throws UnsupportedModelException if it is not supported; names it and the list
   */
  public static void requireGguf(Path file, String architecture) {
    ggufFamily(file, architecture);
  }

  private static Family ggufFamily(Path file, String architecture) {
    return find(f -> f.ggufArchitectures().contains(architecture))
        .orElseThrow(
            () ->
                unsupported(
                    file, "general.architecture: " + Quote.clip(architecture), supportedGguf()));
  }

  private static Family familyOf(ModelConfig config) {
    Optional<String> modelType = config.text("model_type");
    List<String> names = config.texts("architectures").orElse(List.of());
    if (names.size() > 1) {
      throw config.unsupported("architectures", "one architecture");
    }
    if (names.isEmpty() && modelType.isEmpty()) {
      throw new CheckpointFormatException(
          config.file(),
          "architectures",
          "missing, as is model_type (expected: " + String.join(", ", supported()) + ")");
    }
    Family family =
        find(f ->
                names.isEmpty()
                    ? f.modelType().equals(modelType.orElseThrow())
                    : f.architecture().equals(names.get(0)))
            .orElseThrow(
                () ->
                    unsupported(
                        config.file(),
                        names.isEmpty()
                            ? "model_type: " + Quote.clip(modelType.orElseThrow())
                            : "architecture: " + Quote.clip(names.get(0)),
                        supported()));
    if (modelType.isPresent() && !modelType.get().equals(family.modelType())) {
      throw config.bad("model_type", family.modelType() + ", as architectures says");
    }
    return family;
  }

  private static Optional<Family> find(Predicate<Family> predicate) {
    return FAMILIES.stream().filter(predicate).findFirst();
  }

  private static UnsupportedModelException unsupported(
      Path file, String what, List<String> supported) {
    return new UnsupportedModelException(
        file
            + ": "
            + what
            + " (expected: "
            + supported.stream().collect(Collectors.joining(", "))
            + ")");
  }
}
