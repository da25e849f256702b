package ai.sluice.checkpoint;

import ai.sluice.checkpoint.arch.Architectures;
import ai.sluice.checkpoint.arch.ModelConfig;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.base.Suppliers;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/** Reads a folder with config.json and safetensors files. */
final class HuggingFaceFolder {
  static final String CONFIG = "config.json";

  private HuggingFaceFolder() {}

  static CheckpointParts read(Path folder) {
    Path configFile = folder.resolve(CONFIG);
    ObjectNode values = StrictJson.readObject(configFile);
    // The architecture first: an unknown one is a clearer answer than a tensor that is not known.
    Supplier<TensorDirectory> opened = Suppliers.memoize(() -> ShardIndex.open(folder));
    ModelConfig config =
        ModelConfig.of(configFile, values, name -> opened.get().find(name).map(TensorInfo::shape));
    ModelPlan plan = Architectures.plan(config);
    TensorDirectory tensors = opened.get();
    GenerationSettings generation = GenerationSettings.read(folder);
    TokenizerSettings tokenizer = TokenizerSettings.read(folder);
    WeightBinder.Bound bound = WeightBinder.bind(plan, tensors, UnaryOperator.identity());
    List<String> notes = new ArrayList<>(plan.notes());
    notes.addAll(bound.notes());
    notes.addAll(generation.notes());
    return new CheckpointParts(
        folder,
        CheckpointFormat.HUGGING_FACE,
        Optional.empty(),
        plan,
        tensors,
        bound,
        generation.sampling(),
        generation.present() ? Optional.of(GenerationSettings.FILE) : Optional.empty(),
        firstNonEmpty(generation.bosTokenIds(), config.tokenIds("bos_token_id")),
        firstNonEmpty(generation.eosTokenIds(), config.tokenIds("eos_token_id")),
        tokenizer.source(),
        tokenizer.bosToken(),
        tokenizer.eosToken(),
        tokenizer.chatTemplates(),
        notes);
  }

  private static List<Integer> firstNonEmpty(List<Integer> first, List<Integer> second) {
    return first.isEmpty() ? second : first;
  }
}
