package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.TestModels.LLAMA;
import static ai.sluice.checkpoint.TestModels.changed;
import static ai.sluice.checkpoint.TestModels.json;
import static ai.sluice.checkpoint.TestModels.shapes;
import static ai.sluice.checkpoint.TestModels.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.Sampling;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Folders of the Hugging Face layout: tensors, side files, and what is wrong with them. */
class CheckpointTest {
  @TempDir Path root;
  private Path folder;

  @BeforeEach
  void writeModel() {
    folder = TestModels.folder(root.resolve("model"), json(LLAMA));
  }

  private void write(String name, String text) throws IOException {
    Files.writeString(folder.resolve(name), text);
  }

  private void tensors(Map<String, List<Long>> shapes) {
    TestModels.folder(folder, json(LLAMA), shapes, DType.F32);
  }

  private String failure(Class<? extends SluiceException> type) {
    return assertThrows(type, () -> Checkpoint.open(folder)).getMessage();
  }

  private String failure() {
    return failure(CheckpointFormatException.class);
  }

  @Test
  void opensAWholeModel() {
    Checkpoint checkpoint = Checkpoint.open(folder);
    assertEquals(21, checkpoint.weights().getTransfersCount());
    assertEquals(folder, checkpoint.path());
    assertEquals(List.of(2), checkpoint.eosTokenIds());
    assertEquals(Optional.of(1), checkpoint.bosTokenId());
    assertEquals(Sampling.unset(), checkpoint.sampling());
    assertTrue(checkpoint.samplingSource().isEmpty());
    assertEquals(128, checkpoint.maxPositions());
  }

  @Test
  void namesAMissingTensor() {
    String name = "model.layers.1.mlp.up_proj.weight";
    tensors(
        changed(
            shapes(json(LLAMA)),
            s -> {
              s.remove(name);
              return s;
            }));
    String message = failure();
    assertTrue(
        message.endsWith(name + ": missing (expected: a tensor of shape [64, 32])"), message);
  }

  @Test
  void countsWhatElseIsMissing() {
    tensors(
        changed(
            shapes(json(LLAMA)),
            s -> {
              s.keySet().removeIf(name -> name.contains("layers.1"));
              return s;
            }));
    String message = failure();
    assertTrue(
        message.contains("model.layers.1.input_layernorm.weight: missing, as are 8 others"),
        message);
  }

  @Test
  void namesAnExtraTensor() {
    tensors(
        changed(
            shapes(json(LLAMA)),
            s -> {
              s.put("model.layers.0.self_attn.q_proj.bias", List.of(32L));
              return s;
            }));
    String message = failure();
    assertTrue(
        message.contains(
            "model.layers.0.self_attn.q_proj.bias: F32 [32] is no tensor of this llama"
                + " model (expected: 21 tensors"),
        message);
  }

  @Test
  void namesAMisshapenTensor() {
    tensors(
        changed(
            shapes(json(LLAMA)),
            s -> {
              s.put("model.embed_tokens.weight", List.of(41L, 32L));
              return s;
            }));
    String message = failure();
    assertTrue(
        message.endsWith(
            "model.embed_tokens.weight: shape: [41, 32] (expected: [40, 32], by the"
                + " model's settings)"),
        message);
  }

  @Test
  void aTransposedTensorIsMisshapen() {
    tensors(
        changed(
            shapes(json(LLAMA)),
            s -> {
              s.put("model.layers.0.mlp.down_proj.weight", List.of(64L, 32L));
              return s;
            }));
    assertTrue(failure().contains("shape: [64, 32] (expected: [32, 64]"));
  }

  @Test
  void ignoresWhatTheFamilyListsAsHarmless() {
    ObjectNode tied = with(LLAMA, "\"tie_word_embeddings\": true");
    TestModels.folder(
        folder,
        tied,
        changed(
            shapes(tied),
            s -> {
              s.put("lm_head.weight", List.of(40L, 32L));
              s.put("model.layers.0.self_attn.rotary_emb.inv_freq", List.of(4L));
              s.put("model.layers.1.self_attn.rotary_emb.inv_freq", List.of(4L));
              return s;
            }),
        DType.F32);
    Checkpoint checkpoint = Checkpoint.open(folder);
    assertEquals(20, checkpoint.weights().getTransfersCount());
    assertEquals(23, checkpoint.tensors().size());
    assertTrue(
        checkpoint.weights().getTransfersList().stream()
            .noneMatch(t -> t.getName().contains("lm_head") || t.getName().contains("inv_freq")));
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void acceptsTheDTypesOfWeights(DType dtype) {
    TestModels.folder(folder, json(LLAMA), shapes(json(LLAMA)), dtype);
    assertEquals(dtype, Checkpoint.open(folder).storedDType());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F64", "I8", "U8", "F8_E4M3", "I64", "BOOL", "C64"})
  void refusesOtherDTypesByName(DType dtype) {
    TestModels.folder(folder, json(LLAMA), shapes(json(LLAMA)), dtype);
    String message = failure(UnsupportedModelException.class);
    assertTrue(
        message.contains(
            "model.embed_tokens.weight: dtype: "
                + dtype.label()
                + " (expected: F16, BF16, F32, Q4_0"),
        message);
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "model.safetensors"})
  void namesAMissingFile(String name) throws IOException {
    Files.delete(folder.resolve(name));
    String message = failure();
    assertTrue(message.contains(name), message);
  }

  @Test
  void saysWhatAPathIsNot() throws IOException {
    assertTrue(
        assertThrows(
                CheckpointFormatException.class, () -> Checkpoint.open(root.resolve("nowhere")))
            .getMessage()
            .contains("no such file or folder (expected: a GGUF file, or a folder"));
    assertTrue(
        assertThrows(
                CheckpointFormatException.class,
                () -> Checkpoint.open(folder.resolve("model.safetensors")))
            .getMessage()
            .contains("is one file of a checkpoint (expected: its folder, " + folder));
    Path empty = Files.createDirectories(root.resolve("empty"));
    assertTrue(
        assertThrows(CheckpointFormatException.class, () -> Checkpoint.open(empty))
            .getMessage()
            .contains("holds neither config.json nor a GGUF file"));
    Path text = Files.writeString(root.resolve("model.bin"), "pickle");
    assertTrue(
        assertThrows(CheckpointFormatException.class, () -> Checkpoint.open(text))
            .getMessage()
            .contains("does not begin with GGUF"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "[]", "{", "{\"a\":1,\"a\":2}", "null", "{} {}", "{\"a\":NaN}"})
  void refusesAConfigThatIsNoJsonObject(String text) throws IOException {
    write("config.json", text);
    assertTrue(failure().contains("config.json: "));
  }

  @Test
  void refusesAConfigThatNestsTooDeep() throws IOException {
    write("config.json", "{\"a\":" + "[".repeat(200_000));
    assertTrue(failure().contains("not valid JSON"));
  }

  @Test
  void refusesAConfigInAnotherEncoding() throws IOException {
    Files.write(folder.resolve("config.json"), LLAMA.getBytes(StandardCharsets.UTF_16LE));
    assertTrue(failure().contains("not valid JSON"));
    Files.write(folder.resolve("config.json"), new byte[] {'{', (byte) 0xff, '}'});
    assertTrue(failure().contains("not UTF-8"));
  }

  @Test
  void generationConfigGovernsTokensAndSampling() throws IOException {
    write(
        "generation_config.json",
        """
        {"bos_token_id": 3, "eos_token_id": [5, 7, 5, 4000], "do_sample": true,
         "temperature": 0.6, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1,
         "num_beams": 4, "bad_words_ids": [[1]], "typical_p": 1.0, "suppress_tokens": []}
        """);
    Checkpoint checkpoint = Checkpoint.open(folder);
    assertEquals(List.of(5, 7), checkpoint.eosTokenIds());
    assertEquals(Optional.of(3), checkpoint.bosTokenId());
    assertEquals(
        Sampling.builder().temperature(0.6).topP(0.9).topK(20).repetitionPenalty(1.1).build(),
        checkpoint.sampling());
    assertEquals(Optional.of("generation_config.json"), checkpoint.samplingSource());
    assertEquals(
        List.of(
            "generation_config.json: num_beams: 4 is not supported and has no effect",
            "generation_config.json: bad_words_ids: [[1]] is not supported and has no effect",
            "eos_token_id: [5, 7, 4000]: ids from vocab_size, 40, on are left out"),
        checkpoint.notes());
  }

  @Test
  void doSampleDecidesBetweenGreedyAndTemperature() throws IOException {
    write("generation_config.json", "{\"do_sample\": false, \"temperature\": 0.7, \"top_k\": 5}");
    assertEquals(Sampling.builder().temperature(0).build(), Checkpoint.open(folder).sampling());
    write("generation_config.json", "{\"do_sample\": true, \"top_p\": 0.5}");
    assertEquals(
        Sampling.builder().temperature(1).topP(0.5).build(), Checkpoint.open(folder).sampling());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"temperature\": -1} | temperature: ",
        "{\"temperature\": \"hot\"} | temperature: hot (expected: a number)",
        "{\"top_p\": 1.5} | top_p: ",
        "{\"top_k\": -1} | top_k: -1 (expected: 0 to",
        "{\"top_k\": 2.5} | top_k: 2.5 (expected: 0 to",
        "{\"do_sample\": \"yes\"} | do_sample: yes (expected: true or false)",
        "{\"eos_token_id\": \"2\"} | eos_token_id: 2 (expected: a token id or an array",
        "{\"eos_token_id\": [1.5]} | eos_token_id: [1.5] (expected: a token id",
        "{\"eos_token_id\": 99999999999} | eos_token_id: 99999999999 (expected: a token id",
        "[] | holds a JSON array (expected: a JSON object)"
      })
  void refusesGenerationSettingsOutOfRange(String text, String problem) throws IOException {
    write("generation_config.json", text);
    String message = failure();
    assertTrue(message.contains("generation_config.json: " + problem), message);
  }

  @Test
  void findsTokenizerTemplatesAndSpecialTokens() throws IOException {
    write("tokenizer.json", "{}");
    write(
        "tokenizer_config.json",
        """
        {"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>",
         "chat_template": [{"name": "default", "template": "A"},
                           {"name": "tool_use", "template": "B"}]}
        """);
    Checkpoint checkpoint = Checkpoint.open(folder);
    TokenizerSource.Files files =
        assertInstanceOf(TokenizerSource.Files.class, checkpoint.requireTokenizer());
    assertEquals(folder.resolve("tokenizer.json"), files.tokenizerJson());
    assertEquals(Optional.of(folder.resolve("tokenizer_config.json")), files.tokenizerConfig());
    assertEquals(Optional.of("<s>"), checkpoint.bosToken());
    assertEquals(Optional.of("</s>"), checkpoint.eosToken());
    assertEquals(Optional.of("A"), checkpoint.chatTemplate());
    assertEquals(Map.of("default", "A", "tool_use", "B"), checkpoint.chatTemplates());

    write("chat_template.jinja", "C \u00fc");
    assertEquals(Map.of("default", "C \u00fc"), Checkpoint.open(folder).chatTemplates());
    write("tokenizer_config.json", "{\"chat_template\": \"D\"}");
    assertEquals(Optional.of("C \u00fc"), Checkpoint.open(folder).chatTemplate());
    Files.delete(folder.resolve("chat_template.jinja"));
    assertEquals(Optional.of("D"), Checkpoint.open(folder).chatTemplate());
    write("tokenizer_config.json", "{}");
    write("chat_template.json", "{\"chat_template\": \"E\"}");
    assertEquals(Map.of("default", "E"), Checkpoint.open(folder).chatTemplates());
  }

  @Test
  void saysWhyThereIsNoTokenizer() throws IOException {
    Checkpoint checkpoint = Checkpoint.open(folder);
    String message =
        assertThrows(CheckpointFormatException.class, checkpoint::requireTokenizer).getMessage();
    assertTrue(message.contains("tokenizer.json: no such file (expected: a tokenizer"), message);
    write("tokenizer.model", "sentencepiece");
    message =
        assertThrows(CheckpointFormatException.class, checkpoint::requireTokenizer).getMessage();
    assertTrue(message.contains("tokenizer.model alone is not read"), message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"bos_token\": 5}",
        "{\"bos_token\": {\"id\": 5}}",
        "{\"eos_token\": []}",
        "{\"chat_template\": 5}",
        "{\"chat_template\": {\"a\": \"b\"}}",
        "{\"chat_template\": [{\"name\": \"default\"}]}",
        "{\"chat_template\": [\"x\"]}"
      })
  void refusesTokenizerSettingsOfAWrongKind(String text) throws IOException {
    write("tokenizer_config.json", text);
    String message = failure();
    assertTrue(message.contains("tokenizer_config.json: "), message);
    assertTrue(message.contains("(expected: a text, or an "), message);
  }

  @Test
  void noTokenIdOutsideTheVocabularyEndsAGeneration() throws IOException {
    TestModels.folder(folder, with(LLAMA, "\"eos_token_id\": -1, \"bos_token_id\": 40"));
    Checkpoint checkpoint = Checkpoint.open(folder);
    assertEquals(List.of(), checkpoint.eosTokenIds());
    assertTrue(checkpoint.bosTokenId().isEmpty());
  }

  @Test
  void opensShards() throws IOException {
    Map<String, List<Long>> all = shapes(json(LLAMA));
    SafetensorsBytes first = new SafetensorsBytes();
    SafetensorsBytes second = new SafetensorsBytes();
    ObjectNode map = TestModels.JSON.createObjectNode();
    all.forEach(
        (name, shape) -> {
          boolean early = name.contains("layers.0");
          (early ? first : second)
              .add(name, DType.BF16, com.google.common.primitives.Longs.toArray(shape));
          map.put(name, early ? "a.safetensors" : "b.safetensors");
        });
    Files.delete(folder.resolve("model.safetensors"));
    SafetensorsBytes.write(folder.resolve("a.safetensors"), first.bytes());
    SafetensorsBytes.write(folder.resolve("b.safetensors"), second.bytes());
    ObjectNode index = TestModels.JSON.createObjectNode();
    index.set("weight_map", map);
    write("model.safetensors.index.json", index.toString());
    Checkpoint checkpoint = Checkpoint.open(folder);
    assertEquals(2, checkpoint.summary().numFiles());
    checkpoint
        .weights()
        .getTransfersList()
        .forEach(
            t ->
                assertTrue(
                    checkpoint
                        .weights()
                        .getFiles(t.getSource().getFile())
                        .endsWith(
                            t.getName().contains("layers.0") ? "a.safetensors" : "b.safetensors")));
  }
}
