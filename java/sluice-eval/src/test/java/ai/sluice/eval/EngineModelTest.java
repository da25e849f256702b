package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.ContinuationScore;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import ai.sluice.api.ScoreRequest;
import ai.sluice.core.Engine;
import ai.sluice.core.ScoreTokens;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.SpecialTokens;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletionException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class EngineModelTest {
  private static final GenerationSettings SHORT = new GenerationSettings(List.of("zzz"), 12);

  private static EngineModel open(int context, boolean chat) {
    return EngineModel.open(
        EngineOptions.builder()
            .model(SmallData.golden("tiny_chat.gguf"))
            .numerics(Numerics.BATCH_INVARIANT)
            .dtype(ComputeDtype.FLOAT32)
            .maxContextLength(context)
            .threads(1)
            .build(),
        chat,
        new FileHashes(Optional.empty()));
  }

  private static EvalItem item(EvalPrompt prompt, String... continuations) {
    return new EvalItem("own", 3, prompt, List.of(continuations), "0", Map.of());
  }

  private static EvalPrompt prompt(String question) {
    return EvalPrompt.of(
        "Answer.\n\n", List.of(new EvalPrompt.Shot("Up or down?", "Up")), question);
  }

  /** As lm-eval cuts: the last tokens of both together, then without the very last. */
  @Test
  void aPromptThatIsTooLongToScoreLosesItsBeginning() {
    EvalItem item = item(prompt("What is the colour of the sea today?"), " A", " the sea is");
    try (EngineModel wide = open(256, false);
        EngineModel narrow = open(40, false)) {
      Engine engine = wide.engine();
      EvalModel.Reply whole = wide.ask(item, SHORT).join();
      EvalModel.Reply cut = narrow.ask(item, SHORT).join();
      assertEquals(0, whole.truncatedTokens());
      ScoreTokens tokens =
          engine.tokens(ScoreRequest.builder().prompt(item.context())
              .continuations(item.continuations()).build());
      int most = 0;
      for (int i = 0; i < 2; i++) {
        int[] continuation = tokens.continuations().get(i);
        int[] both =
            IntStream.concat(Arrays.stream(tokens.context()), Arrays.stream(continuation))
                .toArray();
        int begin = Math.max(0, both.length - 41);
        most = Math.max(most, begin);
        ContinuationScore expected =
            engine.score(
                    ScoreRequest.builder()
                        .promptTokens(
                            Arrays.copyOfRange(both, begin, both.length - continuation.length))
                        .continuationTokens(List.of(continuation))
                        .build())
                .scores()
                .get(0);
        assertEquals(expected.logprob(), cut.answer().choices().get(i).logprob(), "choice " + i);
        assertNotEquals(
            whole.answer().choices().get(i).logprob(), cut.answer().choices().get(i).logprob());
      }
      assertTrue(most > 0);
      assertEquals(most, cut.truncatedTokens());
      assertNotEquals(
          tokens.continuations().get(0).length, tokens.continuations().get(1).length);
    }
  }

  @Test
  void aContinuationLongerThanTheContextIsRefused() {
    EvalItem item = item(prompt("?"), " A", " " + "q".repeat(60));
    try (EngineModel narrow = open(40, false)) {
      CompletionException e =
          assertThrows(CompletionException.class, () -> narrow.ask(item, SHORT).join());
      assertTrue(e.getCause() instanceof InvalidRequestException, e.toString());
      assertTrue(e.getMessage().contains("own, item 3: a continuation of "), e.getMessage());
    }
  }

  @Test
  void aPromptThatIsTooLongToAnswerLosesItsBeginning() {
    EvalItem item = item(prompt("Which way does the wind blow at sea?"));
    try (EngineModel wide = open(256, false);
        EngineModel narrow = open(40, false)) {
      int[] tokens = wide.engine().tokenizer().encode(item.context(), true, true);
      EvalModel.Reply cut = narrow.ask(item, SHORT).join();
      assertEquals(tokens.length - 28, cut.truncatedTokens());
      assertEquals(28, cut.promptTokens());
      String expected =
          wide.engine()
              .generate(
                  GenerationRequest.builder()
                      .promptTokens(
                          Arrays.copyOfRange(tokens, tokens.length - 28, tokens.length))
                      .sampling(Sampling.greedy())
                      .maxNewTokens(12)
                      .build())
              .text();
      assertEquals(expected, cut.answer().texts().get(0));
      assertTrue(cut.newTokens() <= 12);
      // A stop text within the answer ends it, and is no part of it.
      String stop = expected.substring(3, 5);
      EvalModel.Reply stopped =
          narrow.ask(item, new GenerationSettings(List.of(stop), 12)).join();
      assertEquals(
          expected.substring(0, expected.indexOf(stop)), stopped.answer().texts().get(0));
      CompletionException e =
          assertThrows(
              CompletionException.class,
              () -> narrow.ask(item, new GenerationSettings(List.of(), 40)).join());
      assertTrue(e.getMessage().contains("answers of 40 tokens in a context of 40"));
    }
  }

  @Test
  void textIsCutAtEachStopInTurn() {
    assertEquals("a", EngineModel.cut("aQ:b\nc", List.of("Q:", "\n")));
    assertEquals("a", EngineModel.cut("a\nbQ:", List.of("Q:", "\n")));
    assertEquals("", EngineModel.cut("Q:", List.of("Q:")));
    assertEquals("Q", EngineModel.cut("Q", List.of("Q:")));
  }

  @Test
  void aConversationHasShotsAsTurnsAndChoicesWithoutTheirSpace() {
    EvalItem item = item(prompt("Left or right?"), " Left", " Right");
    String text =
        "<|im_start|>system\nAnswer.\n\n<|im_end|>\n<|im_start|>user\nUp or down?<|im_end|>\n"
            + "<|im_start|>assistant\nUp<|im_end|>\n<|im_start|>user\nLeft or right?<|im_end|>\n"
            + "<|im_start|>assistant\n";
    try (EngineModel model = open(256, true)) {
      assertEquals(text, model.rendered(item));
      EvalModel.Reply reply = model.ask(item, SHORT).join();
      List<ContinuationScore> expected =
          model.engine().score(ScoreRequest.of(text, "Left", "Right")).scores();
      for (int i = 0; i < 2; i++) {
        assertEquals(
            expected.get(i).logprob(), reply.answer().choices().get(i).logprob());
      }
      EvalPrompt begun = new EvalPrompt("", List.of(), "Write f.", "Here:\ndef f():\n");
      assertEquals(
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWrite f.<|im_end|>\n"
              + "<|im_start|>assistant\nHere:\ndef f():\n",
          model.rendered(item(begun)));
      assertEquals(64, model.identity().get("chat_template_sha256").length());
      assertEquals(List.of("Left", "Right"), model.continuations(item));
    }
    try (EngineModel model = open(256, false)) {
      assertEquals(item.context(), model.rendered(item));
      assertEquals(item.continuations(), model.continuations(item));
      assertEquals("none", model.identity().get("chat_template_sha256"));
    }
  }

  @Test
  void aTemplateThatTrimsEndsTheAnswersStartEarlier() {
    EvalPrompt begun = new EvalPrompt("", List.of(), "Write f.", "Here:\ndef f():\n");
    ChatPrompts trims =
        new ChatPrompts(
            ChatTemplate.parse(
                "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}</s>{% endfor %}"),
            SpecialTokens.NONE);
    assertEquals("[user]Write f.</s>[assistant]Here:\ndef f():", trims.render(begun));
    ChatPrompts drops =
        new ChatPrompts(ChatTemplate.parse("{{ messages[0].content }}"), SpecialTokens.NONE);
    assertThrows(InvalidRequestException.class, () -> drops.render(begun));
  }

  @Test
  void identityNamesWhatNumbersDependOn() {
    try (EngineModel one = open(256, false);
        EngineModel other = open(128, false)) {
      assertEquals(
          new FileHashes(Optional.empty())
              .of(List.of(SmallData.golden("tiny_chat.gguf"))),
          one.identity().get("model_sha256"));
      assertEquals("FLOAT32", one.identity().get("dtype"));
      assertEquals("BATCH_INVARIANT", one.identity().get("numerics"));
      assertEquals("256", one.identity().get("max_length"));
      assertEquals("128", other.identity().get("max_length"));
      assertEquals(
          one.identity().get("tokenizer_sha256"), other.identity().get("tokenizer_sha256"));
    }
  }

  @Test
  void aCancelledQuestionIsNotComputed() {
    try (EngineModel model = open(256, false)) {
      for (int i = 0; i < 50; i++) {
        model.ask(item(prompt("Is it " + i + "?")), new GenerationSettings(List.of(), 100))
            .cancel(true);
      }
      assertEquals(4, model.ask(item(prompt("?"), " A", " B", " C", " D"), SHORT).join()
          .answer().choices().size());
    }
  }
}
