package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Tokenizers from the vocabularies of GGUF files. */
class GgufTokenizerTest {
  private static Map<String, Object> metadata(String file) {
    try {
      return GoldenIds.MAPPER.readValue(
          GoldenIds.read(file), new TypeReference<Map<String, Object>>() {});
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  @Test
  void smolLm2GivesTheIdsOfItsOwnPipeline() {
    GoldenIds golden = new GoldenIds("smollm2");
    GgufVocabulary vocabulary = GgufVocabulary.fromMetadata(metadata("smollm2_vocab.json.gz"));
    try (Tokenizer tokenizer = Tokenizer.fromGguf(vocabulary)) {
      golden.checkEncode(tokenizer);
      golden.checkEncodePlain(tokenizer);
      golden.checkDecode(tokenizer);
      assertEquals("<|im_start|>", tokenizer.specialTokens().bos().orElseThrow().text());
      assertEquals(2, tokenizer.specialTokens().eos().orElseThrow().id());
      assertEquals(49152, tokenizer.vocabSize());
      // Its file says that no bos token is added.
      assertArrayEquals(tokenizer.encode("Hi", false, true), tokenizer.encode("Hi", true, true));
    }
  }

  /** The ids come from SentencePiece itself, which knows scores and no merges. */
  @Test
  void scoresGiveTheIdsOfSentencePiece() {
    GoldenIds golden = new GoldenIds("spm");
    GgufVocabulary vocabulary = GgufVocabulary.fromMetadata(metadata("small/spm_vocab.json"));
    try (Tokenizer tokenizer = Tokenizer.fromGguf(vocabulary)) {
      golden.checkEncodePlain(tokenizer);
      int[] ids = tokenizer.encode("a river", true, true);
      assertEquals(vocabulary.bosId().orElseThrow(), ids[0]);
      assertEquals("a river", tokenizer.decode(ids));
    }
  }

  @ParameterizedTest
  @EnumSource(GgufPreTokenizer.class)
  void everyPreTokenizerIsTakenByTheLibrary(GgufPreTokenizer pre) {
    Map<String, Object> metadata = metadata("smollm2_vocab.json.gz");
    metadata.put("tokenizer.ggml.pre", preName(pre));
    try (Tokenizer tokenizer = Tokenizer.fromGguf(GgufVocabulary.fromMetadata(metadata))) {
      for (String text : List.of("Hello, it's 12345 degrees!\n\n 你好，世界 x_y--z", "naïve £5")) {
        assertEquals(text, tokenizer.decode(tokenizer.encode(text, false, true)));
      }
    }
  }

  private static String preName(GgufPreTokenizer pre) {
    String[] names = {
      "gpt-2",
      "olmo",
      "default",
      "llama-bpe",
      "dbrx",
      "qwen2",
      "stablelm2",
      "smollm",
      "command-r",
      "deepseek-llm",
      "deepseek-coder",
      "deepseek-v3",
      "tekken",
      "gpt-4o",
      "falcon"
    };
    for (String name : names) {
      if (GgufPreTokenizer.named(name) == pre) {
        return name;
      }
    }
    throw new AssertionError(pre);
  }

  @Test
  void unknownPreTokenizersAreRefusedWithTheKnownOnes() {
    Map<String, Object> metadata = metadata("smollm2_vocab.json.gz");
    metadata.put("tokenizer.ggml.pre", "frobnicator-9");
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class,
            () -> Tokenizer.fromGguf(GgufVocabulary.fromMetadata(metadata)));
    assertTrue(e.getMessage().contains("frobnicator-9"), e.getMessage());
    assertTrue(e.getMessage().contains("llama-bpe"), e.getMessage());
    metadata.remove("tokenizer.ggml.pre");
    assertThrows(
        UnsupportedModelException.class,
        () -> Tokenizer.fromGguf(GgufVocabulary.fromMetadata(metadata)));
    metadata.put("tokenizer.ggml.model", "bert");
    assertThrows(
        UnsupportedModelException.class,
        () -> Tokenizer.fromGguf(GgufVocabulary.fromMetadata(metadata)));
  }

  @Test
  void contradictionsAreRefused() {
    Map<String, Object> good = metadata("small/spm_vocab.json");
    for (Map.Entry<String, Object> change :
        Map.<String, Object>of(
                "tokenizer.ggml.tokens",
                List.of(),
                "tokenizer.ggml.scores",
                List.of(1.0),
                "tokenizer.ggml.token_type",
                List.of(1),
                "tokenizer.ggml.bos_token_id",
                1_000_000,
                "tokenizer.ggml.eos_token_id",
                -5,
                "tokenizer.ggml.model",
                7,
                "tokenizer.ggml.merges",
                "x")
            .entrySet()) {
      Map<String, Object> bad = new HashMap<>(good);
      bad.put(change.getKey(), change.getValue());
      CheckpointFormatException e =
          assertThrows(CheckpointFormatException.class, () -> GgufVocabulary.fromMetadata(bad));
      assertTrue(e.getMessage().contains("tokenizer.ggml."), e.getMessage());
    }
    Map<String, Object> noScores = new HashMap<>(good);
    noScores.remove("tokenizer.ggml.scores");
    assertThrows(
        CheckpointFormatException.class,
        () -> Tokenizer.fromGguf(GgufVocabulary.fromMetadata(noScores)));
    Map<String, Object> noTokens = new HashMap<>(good);
    noTokens.remove("tokenizer.ggml.tokens");
    assertThrows(CheckpointFormatException.class, () -> GgufVocabulary.fromMetadata(noTokens));
    GgufVocabulary badMerge =
        GgufVocabulary.builder("gpt2", List.of("a", "b", "ab"))
            .pre("gpt-2")
            .merges(List.of("ab"))
            .build();
    assertThrows(CheckpointFormatException.class, () -> Tokenizer.fromGguf(badMerge));
    GgufVocabulary noBos =
        GgufVocabulary.builder("gpt2", List.of("a", "b", "ab"))
            .pre("gpt-2")
            .merges(List.of("a b"))
            .addBos(true)
            .build();
    assertThrows(CheckpointFormatException.class, () -> Tokenizer.fromGguf(noBos));
  }

  @Test
  void repeatedTokensKeepTheirText() {
    GgufVocabulary vocabulary =
        GgufVocabulary.builder("gpt2", List.of("a", "b", "ab", "ab"))
            .pre("gpt-2")
            .merges(List.of("a b"))
            .build();
    try (Tokenizer tokenizer = Tokenizer.fromGguf(vocabulary)) {
      assertArrayEquals(new int[] {2}, tokenizer.encode("ab", false, true));
      assertEquals("abab", tokenizer.decode(2, 3));
    }
  }
}
