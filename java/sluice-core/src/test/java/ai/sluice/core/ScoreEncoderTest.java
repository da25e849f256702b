package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where texts are split into a context and what is scored behind it. */
class ScoreEncoderTest {
  private static final int BYTE = ByteTokenizer.FIRST_BYTE;

  @TempDir Path folder;
  private Tokenizer tokenizer;

  /** A tokenizer of bytes and of the pairs that are named, with special tokens as configured. */
  private ScoreEncoder encoder(String config) throws IOException {
    Path model =
        ByteTokenizer.copyWithTokenizer(
            "llama3_rope",
            folder,
            "{% for m in messages %}<|3|>{{ m.content }}{% endfor %}"
                + "{% if add_generation_prompt %}<|3|>{% endif %}");
    Files.writeString(model.resolve("tokenizer_config.json"), config);
    Checkpoint checkpoint = Checkpoint.open(model);
    tokenizer = Tokenizer.fromFile(model.resolve("tokenizer.json"));
    return new ScoreEncoder(new PromptEncoder(checkpoint, tokenizer, 288));
  }

  private ScoreEncoder plain() throws IOException {
    return encoder("{\"bos_token\": null, \"eos_token\": \"<|2|>\"}");
  }

  private ScoreEncoder withBos() throws IOException {
    return encoder(
        "{\"bos_token\": \"<|1|>\", \"eos_token\": \"<|2|>\", \"add_bos_token\": true}");
  }

  @AfterEach
  void close() {
    if (tokenizer != null) {
      tokenizer.close();
    }
  }

  private static int[] bytes(String ascii) {
    return ascii.chars().map(c -> BYTE + c).toArray();
  }

  private static int[] with(int first, int[] rest) {
    int[] all = new int[rest.length + 1];
    all[0] = first;
    System.arraycopy(rest, 0, all, 1, rest.length);
    return all;
  }

  private static void assertSplit(
      ScoreEncoder.Encoded encoded, int[] context, int[]... continuations) {
    assertArrayEquals(context, encoded.context());
    assertEquals(continuations.length, encoded.continuations().size());
    for (int i = 0; i < continuations.length; i++) {
      assertArrayEquals(continuations[i], encoded.continuations().get(i), "continuation " + i);
    }
  }

  @Test
  void whiteSpaceAtTheEndGoesToTheContinuation() throws IOException {
    ScoreEncoder encoder = plain();
    assertSplit(
        encoder.encode(ScoreRequest.of("Answer: \n\t", "A", " B")),
        bytes("Answer:"),
        bytes(" \n\tA"),
        bytes(" \n\t B"));
    // U+0085 and U+00A0 too, which Java's strip() leaves.
    ScoreEncoder.Encoded wide = encoder.encode(ScoreRequest.of("Q\u0085\u00a0\u001c", "A"));
    assertArrayEquals(bytes("Q"), wide.context());
    assertEquals(2 + 2 + 1 + 1, wide.continuations().get(0).length);
    // U+200B is no white space.
    assertEquals(4, encoder.encode(ScoreRequest.of("Q\u200b", "A")).context().length);
    assertSplit(
        encoder.encode(ScoreRequest.of("Answer:", " A")), bytes("Answer:"), bytes(" A"));
  }

  @Test
  void aTokenAcrossTheBoundaryIsCutWhereTheContextEnds() throws IOException {
    ByteTokenizer.copyWithTokenizer("llama3_rope", folder, "");
    Path json = folder.resolve("tokenizer.json");
    // "ab" is one token: the context "xa" has 2 tokens, "xab" too, so nothing is left of "b".
    String text =
        Files.readString(json)
            .replace("\"merges\":[]", "\"merges\":[\"a b\"]")
            .replace("\"vocab\":{", "\"vocab\":{\"ab\":270,");
    Files.writeString(json, text);
    Checkpoint checkpoint = Checkpoint.open(folder);
    tokenizer = Tokenizer.fromFile(json);
    ScoreEncoder encoder = new ScoreEncoder(new PromptEncoder(checkpoint, tokenizer, 288));
    assertSplit(
        encoder.encode(ScoreRequest.of("xa", "bcd")), bytes("xa"), bytes("cd"));
    assertTrue(
        assertThrows(
                InvalidRequestException.class,
                () -> encoder.encode(ScoreRequest.of("xa", "cd", "b")))
            .getMessage()
            .startsWith("continuations[1]: no tokens"));
  }

  @Test
  void withoutATokenThatBeginsADocumentAnEmptyPromptIsTheOneThatEndsIt() throws IOException {
    assertSplit(
        plain().encode(ScoreRequest.of("", "ab", "c")), new int[] {2}, bytes("ab"), bytes("c"));
  }

  @Test
  void anEmptyPromptIsTheTokenThatBeginsADocument() throws IOException {
    ScoreEncoder encoder = withBos();
    assertSplit(encoder.encode(ScoreRequest.of("", "ab")), new int[] {1}, bytes("ab"));
    assertSplit(encoder.encode(ScoreRequest.of("", "<|1|>ab")), new int[] {1}, bytes("ab"));
    assertThrows(
        InvalidRequestException.class, () -> encoder.encode(ScoreRequest.of("", "<|1|>")));
    // Nothing but white space: the context is what the tokenizer begins with.
    assertSplit(encoder.encode(ScoreRequest.of("  ", "a")), new int[] {1}, bytes("  a"));
  }

  @Test
  void aPromptOfWhiteSpaceAloneIsAnEmptyOne() throws IOException {
    assertSplit(plain().encode(ScoreRequest.of(" ", "a")), new int[] {2}, bytes(" a"));
  }

  @Test
  void withoutATokenForItAnEmptyPromptIsRefused() throws IOException {
    ScoreEncoder encoder = encoder("{\"bos_token\": null, \"eos_token\": null}");
    assertTrue(
        assertThrows(
                InvalidRequestException.class, () -> encoder.encode(ScoreRequest.of("", "a")))
            .getMessage()
            .startsWith("prompt: empty (expected: at least one token"));
  }

  @Test
  void theTokenThatBeginsADocumentIsAddedOnce() throws IOException {
    ScoreEncoder encoder = withBos();
    assertSplit(encoder.encode(ScoreRequest.of("ab", "c")), with(1, bytes("ab")), bytes("c"));
    assertSplit(
        encoder.encode(ScoreRequest.of("<|1|>ab", "c")), with(1, bytes("ab")), bytes("c"));
    assertSplit(encoder.encode(ScoreRequest.ofText("abc")), new int[] {1}, bytes("abc"));
    assertSplit(encoder.encode(ScoreRequest.ofText("<|1|>abc")), new int[] {1}, bytes("abc"));
  }

  @Test
  void aTextByItselfHasNoScoreForItsFirstToken() throws IOException {
    ScoreEncoder encoder = plain();
    assertSplit(encoder.encode(ScoreRequest.ofText("abc")), bytes("a"), bytes("bc"));
    assertTrue(
        assertThrows(
                InvalidRequestException.class, () -> encoder.encode(ScoreRequest.ofText("a")))
            .getMessage()
            .startsWith("text: 1 tokens (expected: at least 2"));
  }

  @Test
  void tokensAndTextsGoTogether() throws IOException {
    ScoreEncoder encoder = withBos();
    assertSplit(
        encoder.encode(
            ScoreRequest.builder().promptTokens(5, 6).continuations(" a", "b").build()),
        new int[] {5, 6},
        bytes(" a"),
        bytes("b"));
    assertSplit(
        encoder.encode(
            ScoreRequest.builder()
                .prompt("ab ")
                .continuationTokens(List.of(new int[] {7, 8}))
                .build()),
        with(1, bytes("ab ")),
        new int[] {7, 8});
  }

  @Test
  void messagesAreRenderedAndNothingIsAdded() throws IOException {
    ScoreEncoder.Encoded encoded =
        withBos()
            .encode(
                ScoreRequest.builder()
                    .messages(List.of(ChatMessage.user("hi")))
                    .continuations("A", " B")
                    .build());
    int[] context = {3, BYTE + 'h', BYTE + 'i', 3};
    assertSplit(encoded, context, bytes("A"), bytes(" B"));
    assertEquals(4 + 0 + 1, encoded.promptTokens());
    assertEquals(2, Arrays.stream(encoded.context()).filter(t -> t == 3).count());
  }
}
