package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.TestModels.LLAMA;
import static ai.sluice.checkpoint.TestModels.addTensors;
import static ai.sluice.checkpoint.TestModels.ggufKeys;
import static ai.sluice.checkpoint.TestModels.json;
import static ai.sluice.checkpoint.TestModels.shapes;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The vocabulary and the chat templates of a GGUF file. */
class GgufVocabularyTest {
  @TempDir Path root;

  private Checkpoint open(GgufBytes bytes) {
    return Checkpoint.open(TestModels.write(root.resolve("tiny.gguf"), bytes));
  }

  private static Map<String, List<Long>> llamaShapes() {
    return shapes(json(LLAMA));
  }

  private static GgufBytes llama(GgufBytes keys) {
    return addTensors(keys, llamaShapes());
  }

  private String failure(Class<? extends SluiceException> type, GgufBytes bytes) {
    return assertThrows(type, () -> open(bytes)).getMessage();
  }

  private static byte[] array(int... values) {
    byte[] bytes = GgufBytes.join(GgufBytes.u32(GgufBytes.I32), GgufBytes.u64(values.length));
    for (int value : values) {
      bytes = GgufBytes.join(bytes, GgufBytes.u32(value));
    }
    return bytes;
  }

  @Test
  void handsOutTheVocabulary() {
    String[] tokens = new String[40];
    java.util.Arrays.setAll(tokens, i -> "t" + i);
    GgufBytes keys =
        ggufKeys("llama")
            .key("tokenizer.ggml.model", "gpt2")
            .key("tokenizer.ggml.pre", "smollm")
            .key("tokenizer.ggml.tokens", tokens)
            .key("tokenizer.ggml.merges", new String[] {"a b", "ab c"})
            .key("tokenizer.ggml.bos_token_id", 1)
            .key("tokenizer.ggml.eos_token_id", 2)
            .key("tokenizer.ggml.eot_token_id", 3)
            .key("tokenizer.ggml.padding_token_id", -1)
            .key("tokenizer.ggml.add_bos_token", true)
            .key("tokenizer.ggml.add_space_prefix", false)
            .key("tokenizer.chat_template", "T")
            .key("tokenizer.chat_template.tool_use", "U");
    Checkpoint checkpoint = open(llama(keys));
    GgufTokenizerData data =
        assertInstanceOf(TokenizerSource.Gguf.class, checkpoint.requireTokenizer()).data();
    assertEquals("gpt2", data.model());
    assertEquals(Optional.of("smollm"), data.pre());
    assertEquals(List.of(tokens), data.tokens());
    assertEquals(List.of("a b", "ab c"), data.merges());
    assertEquals(List.of(), data.scores());
    assertEquals(Optional.of(1), data.bosTokenId());
    assertEquals(Optional.of(3), data.eotTokenId());
    assertEquals(Optional.empty(), data.paddingTokenId());
    assertEquals(Optional.of(true), data.addBos());
    assertEquals(Optional.empty(), data.addEos());
    assertEquals(Optional.of(false), data.addSpacePrefix());
    assertEquals(List.of(2, 3), checkpoint.eosTokenIds());
    assertEquals(Optional.of("t1"), checkpoint.bosToken());
    assertEquals(Optional.of("t2"), checkpoint.eosToken());
    assertEquals(Map.of("default", "T", "tool_use", "U"), checkpoint.chatTemplates());
  }

  @Test
  void refusesAVocabularyThatContradictsItself() {
    String[] tokens = {"a", "b"};
    GgufBytes scores =
        ggufKeys("llama")
            .key("tokenizer.ggml.model", "llama")
            .key("tokenizer.ggml.tokens", tokens)
            .key("tokenizer.ggml.token_type", GgufBytes.ARRAY, array(1, 1, 1));
    String length = failure(CheckpointFormatException.class, llama(scores));
    assertTrue(
        length.contains("tokenizer.ggml.token_type: 3 entries (expected: 2, one per token)"),
        length);
    String id =
        failure(
            CheckpointFormatException.class,
            llama(
                ggufKeys("llama")
                    .key("tokenizer.ggml.model", "llama")
                    .key("tokenizer.ggml.tokens", tokens)
                    .key("tokenizer.ggml.bos_token_id", 2)));
    assertTrue(id.contains("tokenizer.ggml.bos_token_id: 2 (expected: below 2"), id);
  }
}
