package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.UnsupportedModelException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokenizers made for these tests, against ids from Hugging Face's library. */
class TokenizerTest {
  private static Tokenizer small(String name) {
    return Tokenizer.fromJson(GoldenIds.read("small/" + name + ".json"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"bytelevel", "sentencepiece"})
  void idsAndTextAreThoseOfHuggingFace(String name) {
    GoldenIds golden = new GoldenIds(name);
    try (Tokenizer tokenizer = small(name)) {
      golden.checkEncode(tokenizer);
      golden.checkEncodePlain(tokenizer);
      golden.checkAddedTokens(tokenizer);
      golden.checkDecode(tokenizer);
    }
  }

  /** The file of "bytelevel" asks to cut at 16 tokens and to fill up to 32. */
  @Test
  void textIsNeverTruncatedOrPadded() {
    String json = new String(GoldenIds.read("small/bytelevel.json"), StandardCharsets.UTF_8);
    assertTrue(json.contains("\"max_length\": 16"));
    assertTrue(json.contains("\"Fixed\": 32"));
    try (Tokenizer tokenizer = small("bytelevel")) {
      assertEquals(1, tokenizer.encode("the", false, true).length);
      int[] ids = tokenizer.encode("river ".repeat(100_000), false, true);
      assertTrue(ids.length >= 100_000);
      assertEquals("river ".repeat(100_000), tokenizer.decode(ids));
      assertTrue(tokenizer.encode("<|im_end|> river".repeat(1000), false, false).length > 1000);
    }
  }

  @Test
  void specialTokensAreParsedOnlyWhenAsked() {
    try (Tokenizer tokenizer = small("bytelevel")) {
      int end = tokenizer.tokenToId("<|im_end|>").orElseThrow();
      int user = tokenizer.tokenToId("<｜User｜>").orElseThrow();
      int call = tokenizer.tokenToId("<tool_call>").orElseThrow();
      String text = "a<|im_end|><｜User｜><tool_call>";
      int[] parsed = tokenizer.encode(text, false, true);
      assertTrue(contains(parsed, end) && contains(parsed, user) && contains(parsed, call));
      int[] plain = tokenizer.encode(text, false, false);
      assertFalse(contains(plain, end) || contains(plain, user));
      // Added tokens that are no control tokens are text like any other.
      assertTrue(contains(plain, call));
      assertEquals(text, tokenizer.decode(plain));
      assertEquals("a<tool_call>", tokenizer.decode(parsed, true));
      assertEquals(text, tokenizer.decode(parsed, false));
    }
  }

  private static boolean contains(int[] ids, int wanted) {
    for (int id : ids) {
      if (id == wanted) {
        return true;
      }
    }
    return false;
  }

  @Test
  void loneSurrogatesAreRefused() {
    try (Tokenizer tokenizer = small("bytelevel")) {
      for (String text : List.of("\uD83D", "a\uDE00b", "\uD83D\uD83D\uDE00", "\uDE00\uD83D")) {
        InvalidRequestException e =
            assertThrows(InvalidRequestException.class, () -> tokenizer.encode(text, false, true));
        assertTrue(e.getMessage().contains("lone surrogate"), e.getMessage());
      }
      assertEquals("\uD83D\uDE00", tokenizer.decode(tokenizer.encode("\uD83D\uDE00", false, true)));
    }
  }

  @Test
  void tokensAreFoundByTextAndById() {
    try (Tokenizer tokenizer = small("bytelevel")) {
      assertEquals(1502, tokenizer.vocabSize());
      assertEquals("<unk>", tokenizer.idToToken(0).orElseThrow());
      assertEquals(2, tokenizer.tokenToId("</s>").orElseThrow());
      assertTrue(tokenizer.tokenToId("no such token").isEmpty());
      assertTrue(tokenizer.idToToken(-1).isEmpty());
      assertTrue(tokenizer.idToToken(1 << 30).isEmpty());
      assertTrue(tokenizer.isSpecial(2));
      assertFalse(tokenizer.isSpecial(100));
      assertFalse(tokenizer.isSpecial(-1));
      // Models have more rows than their tokenizer has tokens.
      assertEquals("", tokenizer.decode(1_000_000));
    }
  }

  @Test
  void theConfigBesideTheFileNamesSpecialTokens(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("tokenizer.json");
    Path config = folder.resolve("tokenizer_config.json");
    Files.write(file, GoldenIds.read("small/bytelevel.json"));
    try (Tokenizer tokenizer = Tokenizer.fromFile(file)) {
      assertTrue(tokenizer.specialTokens().bos().isEmpty());
      assertEquals(1, tokenizer.encode("a", true, true)[0]);
    }
    Files.writeString(
        config,
        "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\","
            + " \"add_bos_token\": false, \"add_eos_token\": true}");
    try (Tokenizer tokenizer = Tokenizer.fromFile(file)) {
      assertEquals(1, tokenizer.specialTokens().bos().orElseThrow().id());
      assertEquals("</s>", tokenizer.specialTokens().eos().orElseThrow().text());
      int[] plain = tokenizer.encode("a", false, true);
      assertArrayEquals(new int[] {plain[0], 2}, tokenizer.encode("a", true, true));
    }
    Files.writeString(config, "{\"eos_token\": \"<nowhere>\"}");
    assertThrows(CheckpointFormatException.class, () -> Tokenizer.fromFile(file));
    Files.writeString(config, "{\"add_bos_token\": true}");
    assertThrows(CheckpointFormatException.class, () -> Tokenizer.fromFile(file));
    Files.writeString(config, "[");
    assertThrows(CheckpointFormatException.class, () -> Tokenizer.fromFile(file));
    assertThrows(
        CheckpointFormatException.class, () -> Tokenizer.fromFile(folder.resolve("missing.json")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{}",
        "{\"model\": {}}",
        "{\"model\": {\"vocab\": {\"a\": 0}}",
        "{\"model\": {\"vocab\": {\"a\": -1}}}",
        "{\"model\": {\"vocab\": {\"a\": 99999999999}}}",
        "{\"model\": {\"vocab\": {\"a\": 999999999}}}",
        "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}",
        "{\"model\": {\"vocab\": {\"a\": \"x\"}}}",
        "{\"model\": {\"vocab\": 5}}",
        "{\"model\": {\"vocab\": {\"a\\u12\": 0}}}",
        "{\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\":"
            + " [[\"a\", 0]]}}",
        "{\"decoder\": {\"type\": \"ByteLevel\"}, \"added_tokens\": [{\"id\": 7, \"content\":"
            + " \"z\"}], \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": 0}}}",
        "{\"decoder\": {\"type\": \"ByteLevel\"}, \"post_processor\": {\"type\":"
            + " \"TemplateProcessing\", \"single\": []}, \"model\": {\"type\": \"BPE\","
            + " \"merges\": [], \"vocab\": {\"a\": 0}}}",
        "{\"pre_tokenizer\": 5, \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\":"
            + " 0}}}",
        "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"\\ud800\": 0}}}",
        "{\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [\"x"
            + " y\"], \"vocab\": {\"a\": 0}}}",
        "{\"added_tokens\": [{\"id\": 0}], \"model\": {\"vocab\": {\"a\": 0}}}",
        "{\"version\": \u0001}",
        "{\"model\": {\"merges\": [\u000b], \"vocab\": {\"a\": 0}}}",
        "not json at all",
        "{\"model\": {\"vocab\": {\"a",
      })
  void malformedFilesAreRefused(String json) {
    assertThrows(
        CheckpointFormatException.class,
        () -> Tokenizer.fromJson(json.getBytes(StandardCharsets.UTF_8)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}}",
        "\"model\": {\"type\": \"BPE\", \"dropout\": 0.5, \"merges\": [], \"vocab\": {\"a\": 0}}",
        "\"model\": {\"type\": \"BPE\", \"continuing_subword_prefix\": \"##\", \"merges\": [],"
            + " \"vocab\": {\"a\": 0}}",
        "\"normalizer\": {\"type\": \"Precompiled\"}, \"model\": {}",
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Magic\"}]}",
      })
  void otherPartsAreNamed(String part) {
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class,
            () -> Tokenizer.fromJson(("{" + part + "}").getBytes(StandardCharsets.UTF_8)));
    assertTrue(e.getMessage().contains("tokenizer.json: "), e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "null",
        "{\"type\": \"WordPiece\"}",
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"CTC\"}]}",
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Strip\", \"content\": \" \","
            + " \"start\": 1, \"stop\": 0}]}",
      })
  void otherDecodersAreNamed(String decoder) {
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class,
            () ->
                Tokenizer.fromJson(
                    ("{\"decoder\": "
                            + decoder
                            + ", \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\":"
                            + " 0}}}")
                        .getBytes(StandardCharsets.UTF_8)));
    assertTrue(e.getMessage().contains("ByteLevel"), e.getMessage());
  }

  @Test
  void closingIsRepeatableAndEndsEncodingOnly() {
    Tokenizer tokenizer = small("bytelevel");
    int[] ids = tokenizer.encode("the river", false, true);
    tokenizer.close();
    tokenizer.close();
    assertThrows(EngineClosedException.class, () -> tokenizer.encode("a", false, true));
    assertThrows(EngineClosedException.class, () -> tokenizer.encode("<|im_end|>", false, false));
    assertEquals("the river", tokenizer.decode(ids));
  }

  @Test
  void manyThreadsEncodeWhileOneCloses() throws Exception {
    Tokenizer tokenizer = small("sentencepiece");
    int[] expected = tokenizer.encode("The river 你好 rose by 17 cm.", false, true);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<Integer>> results = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        Callable<Integer> work =
            () -> {
              int done = 0;
              try {
                while (true) {
                  assertArrayEquals(
                      expected, tokenizer.encode("The river 你好 rose by 17 cm.", false, true));
                  done++;
                }
              } catch (EngineClosedException e) {
                return done;
              }
            };
        results.add(threads.submit(work));
      }
      Thread.sleep(100);
      tokenizer.close();
      for (Future<Integer> result : results) {
        assertTrue(result.get() > 0);
      }
    } finally {
      threads.shutdownNow();
    }
  }
}
