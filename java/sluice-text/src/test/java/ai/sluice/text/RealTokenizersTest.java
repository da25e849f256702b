package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Tokenizers of public models, too large for this repository: {@code
 * tests/golden/tokenizers/fetch_real.sh FOLDER} fetches them, {@code
 * -Dsluice.test.tokenizers=FOLDER} says where they are. Without it these tests say that they are
 * skipped.
 */
class RealTokenizersTest {

  private static Path folder(String name) {
    String root = System.getProperty("sluice.test.tokenizers", "");
    Path folder = Path.of(root, name);
    if (root.isEmpty() || !Files.isRegularFile(folder.resolve("tokenizer.json"))) {
      System.err.println(
          "SKIPPED: "
              + name
              + " needs -Dsluice.test.tokenizers=FOLDER, filled by"
              + " tests/golden/tokenizers/fetch_real.sh");
      abort("no " + name + " in " + (root.isEmpty() ? "sluice.test.tokenizers (not set)" : root));
    }
    return folder;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "deepseek_v3",
        "qwen3",
        "llama3_1",
        "mistral_nemo",
        "command_r_plus",
        "gptoss",
        "gpt2",
        "llama2",
        "gemma",
        "internlm2"
      })
  void idsAndTextAreThoseOfHuggingFace(String name) {
    GoldenIds golden = new GoldenIds(name);
    try (Tokenizer tokenizer = Tokenizer.fromFile(folder(name).resolve("tokenizer.json"))) {
      golden.checkEncode(tokenizer);
      golden.checkEncodePlain(tokenizer);
      golden.checkDecode(tokenizer);
    }
  }

  @Test
  void deepSeekBeginsWithItsBosToken() {
    try (Tokenizer tokenizer =
        Tokenizer.fromFile(folder("deepseek_v3").resolve("tokenizer.json"))) {
      int[] ids = tokenizer.encode("你好", true, true);
      assertTrue(ids.length > 1 && ids[0] == 0);
    }
  }

  /** The vocabulary as a GGUF file carries it, split by the pre-tokenizer that the file names. */
  @ParameterizedTest
  @CsvSource({
    "deepseek_v3, deepseek-v3",
    "qwen3, qwen2",
    "llama3_1, llama-bpe",
    "mistral_nemo, tekken",
    "command_r_plus, command-r",
    "gptoss, gpt-4o",
    "gpt2, gpt-2"
  })
  void ggufPreTokenizersSplitAsTheModelsDo(String name, String pre) throws IOException {
    JsonNode json = GoldenIds.MAPPER.readTree(folder(name).resolve("tokenizer.json").toFile());
    List<String> tokens = tokens(json);
    int[] types = types(json, tokens.size());
    List<String> merges = new ArrayList<>();
    for (JsonNode merge : json.path("model").path("merges")) {
      merges.add(
          merge.isTextual()
              ? merge.asText()
              : merge.path(0).asText() + " " + merge.path(1).asText());
    }
    GgufVocabulary vocabulary =
        GgufVocabulary.builder("gpt2", tokens)
            .pre(pre)
            .merges(merges)
            .tokenTypes(types)
            .addBos(false)
            .build();
    try (Tokenizer tokenizer = Tokenizer.fromGguf(vocabulary)) {
      GoldenIds golden = new GoldenIds(name);
      golden.checkEncode(tokenizer);
      golden.checkEncodePlain(tokenizer);
      golden.checkDecode(tokenizer);
    }
  }

  /** Its merges were sorted by SentencePiece's scores, so their order gives the scores back. */
  @Test
  void llama2ScoresGiveTheMergesOfItsTokenizerJson() throws IOException {
    JsonNode json = GoldenIds.MAPPER.readTree(folder("llama2").resolve("tokenizer.json").toFile());
    List<String> tokens = tokens(json);
    int[] types = types(json, tokens.size());
    Map<String, Integer> ranks = new HashMap<>();
    for (JsonNode merge : json.path("model").path("merges")) {
      String[] parts =
          merge.isTextual()
              ? merge.asText().split(" ")
              : new String[] {merge.path(0).asText(), merge.path(1).asText()};
      ranks.putIfAbsent(parts[0] + parts[1], ranks.size());
    }
    float[] scores = new float[tokens.size()];
    for (int id = 0; id < scores.length; id++) {
      scores[id] = -ranks.getOrDefault(tokens.get(id), 1 << 20);
    }
    for (int id = 3; id < 259; id++) {
      types[id] = GgufVocabulary.BYTE;
    }
    types[0] = GgufVocabulary.UNKNOWN;
    GgufVocabulary vocabulary =
        GgufVocabulary.builder("llama", tokens)
            .scores(scores)
            .tokenTypes(types)
            .bosId(1)
            .eosId(2)
            .unkId(0)
            .build();
    try (Tokenizer tokenizer = Tokenizer.fromGguf(vocabulary)) {
      GoldenIds golden = new GoldenIds("llama2");
      golden.checkEncode(tokenizer);
      golden.checkEncodePlain(tokenizer);
      golden.checkAddedTokens(tokenizer);
      golden.checkDecode(tokenizer);
    }
  }

  private static List<String> tokens(JsonNode json) {
    List<String> tokens = new ArrayList<>();
    json.path("model")
        .path("vocab")
        .fields()
        .forEachRemaining(entry -> put(tokens, entry.getValue().asInt(), entry.getKey()));
    for (JsonNode added : json.path("added_tokens")) {
      put(tokens, added.path("id").asInt(), added.path("content").asText());
    }
    return tokens;
  }

  private static void put(List<String> tokens, int id, String token) {
    while (tokens.size() <= id) {
      tokens.add("[PAD" + tokens.size() + "]");
    }
    tokens.set(id, token);
  }

  private static int[] types(JsonNode json, int size) {
    int[] types = new int[size];
    java.util.Arrays.fill(types, GgufVocabulary.NORMAL);
    for (JsonNode added : json.path("added_tokens")) {
      types[added.path("id").asInt()] =
          added.path("special").asBoolean() ? GgufVocabulary.CONTROL : GgufVocabulary.USER_DEFINED;
    }
    return types;
  }
}
