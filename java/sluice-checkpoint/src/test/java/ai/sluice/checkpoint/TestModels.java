package ai.sluice.checkpoint;

import ai.sluice.checkpoint.arch.Architectures;
import ai.sluice.checkpoint.arch.ModelConfig;
import ai.sluice.checkpoint.arch.ModelPlan;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.primitives.Longs;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Tiny models of zeros in both formats, whole or with one thing wrong. */
final class TestModels {
  static final ObjectMapper JSON = new ObjectMapper();

  /** A Llama of 2 layers; what a test sets differs is replaced by {@link #with}. */
  static final String LLAMA =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
       "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
       "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 128,
       "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
       "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}
      """;

  private TestModels() {}

  static ObjectNode json(String text) {
    try {
      return (ObjectNode) JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@code base} with each "key": value of {@code changes} put in; null values stay null. */
  static ObjectNode with(String base, String changes) {
    return (ObjectNode) json(base).setAll(json("{" + changes + "}"));
  }

  static ModelPlan plan(ObjectNode config) {
    return Architectures.plan(ModelConfig.of(Path.of("config.json"), config, Map.of()));
  }

  /** The tensors that a config calls for, by name. */
  static Map<String, List<Long>> shapes(ObjectNode config) {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    plan(config).bindings().forEach(b -> shapes.put(b.tensor(), b.shape()));
    return shapes;
  }

  /** Writes a folder with this config and these tensors of zeros. */
  static Path folder(Path folder, ObjectNode config, Map<String, List<Long>> shapes, DType dtype) {
    SafetensorsBytes bytes = new SafetensorsBytes();
    shapes.forEach((name, shape) -> bytes.add(name, dtype, Longs.toArray(shape)));
    try {
      Files.createDirectories(folder);
      Files.writeString(folder.resolve("config.json"), config.toString());
      Files.write(folder.resolve("model.safetensors"), bytes.bytes());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return folder;
  }

  /** Writes a folder with this config and the tensors that it calls for. */
  static Path folder(Path folder, ObjectNode config) {
    return folder(folder, config, shapes(config), DType.F32);
  }

  /** The metadata of a GGUF file with the same sizes as {@link #LLAMA}. */
  static GgufBytes ggufKeys(String architecture) {
    return new GgufBytes()
        .key("general.architecture", architecture)
        .key("general.name", "Tiny")
        .key(architecture + ".block_count", 2)
        .key(architecture + ".context_length", 128)
        .key(architecture + ".embedding_length", 32)
        .key(architecture + ".feed_forward_length", 64)
        .key(architecture + ".attention.head_count", 4)
        .key(architecture + ".attention.head_count_kv", 2)
        .key(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f)
        .key(architecture + ".rope.freq_base", 10000f)
        .key(architecture + ".rope.dimension_count", 8);
  }

  /** Adds F32 tensors of zeros under GGUF's names. */
  static GgufBytes addTensors(GgufBytes bytes, Map<String, List<Long>> shapes) {
    return addTensors(bytes, "llama", shapes);
  }

  /** Adds F32 tensors of zeros under the names that GGUF has for this architecture. */
  static GgufBytes addTensors(
      GgufBytes bytes, String architecture, Map<String, List<Long>> shapes) {
    GgufNames names = GgufNames.of(architecture);
    shapes.forEach(
        (name, shape) -> bytes.add(names.toGguf(name), DType.F32, 0, Longs.toArray(shape)));
    return bytes;
  }

  static Path write(Path file, GgufBytes bytes) {
    return SafetensorsBytes.write(file, bytes.bytes());
  }

  /** {@code shapes} after a change. */
  static Map<String, List<Long>> changed(
      Map<String, List<Long>> shapes, UnaryOperator<Map<String, List<Long>>> change) {
    return change.apply(new LinkedHashMap<>(shapes));
  }
}
