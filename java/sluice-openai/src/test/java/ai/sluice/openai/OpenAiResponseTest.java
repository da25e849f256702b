package ai.sluice.openai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ContinuationScore;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.Timings;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import ai.sluice.api.TopLogprob;
import ai.sluice.api.Usage;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Bodies compared as a whole, so that no field comes or goes unseen. */
class OpenAiResponseTest {
  private static final ServedModel MODEL =
      new ServedModel(Set.of("tiny"), "fp_1", Optional.empty());
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private static OpenAiRequest request(Endpoint endpoint, String body) {
    return OpenAiRequest.parse(endpoint, body.getBytes(StandardCharsets.UTF_8));
  }

  private static OpenAiRequest chat(String more) {
    return request(
        Endpoint.CHAT_COMPLETIONS,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" + more + "}");
  }

  private static void check(String expected, OpenAiRequest request, GenerationResult... results)
      throws IOException {
    String body =
        OpenAiResponse.of(
                request,
                done(request, results),
                MODEL,
                OpenAiResponse.idOf(request, "77"),
                1_700_000_000L)
            .toString();
    assertEquals(MAPPER.readTree(expected).toPrettyString(), MAPPER.readTree(body).toPrettyString());
  }

  private static List<CompletionWork.Done> done(
      OpenAiRequest request, GenerationResult... results) {
    List<CompletionWork> work = CompletionWork.of(request, MODEL);
    List<CompletionWork.Done> done = new ArrayList<>();
    for (int i = 0; i < results.length; i++) {
      done.add(
          new CompletionWork.Done(work.get(i), Optional.of(results[i]), Optional.empty()));
    }
    return done;
  }

  private static TokenLogprob logprob(String text, double value, TopLogprob... top) {
    return new TokenLogprob(5, text, value, 0, List.of(top));
  }

  @Test
  void aChat() throws IOException {
    check(
        """
        {"id":"chatcmpl-77","object":"chat.completion","created":1700000000,"model":"tiny",
         "choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},
           "logprobs":null,"finish_reason":"stop"}],
         "usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,
           "prompt_tokens_details":{"cached_tokens":1}},
         "system_fingerprint":"fp_1"}
        """,
        chat(",\"model\":\"tiny\""),
        Results.answer("Hello"));
  }

  @Test
  void aChatWithLogprobsAndTokenIds() throws IOException {
    check(
        """
        {"id":"chatcmpl-mine","object":"chat.completion","created":1700000000,"model":"tiny",
         "choices":[{"index":0,"message":{"role":"assistant","content":"é","refusal":null},
           "logprobs":{"content":[
             {"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":[
               {"token":"é","logprob":-0.5,"bytes":[195,169]},
               {"token":"\\uFFFD","logprob":-2.0,"bytes":null}]}],"refusal":null},
           "finish_reason":"length","token_ids":[233]}],
         "usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5,
           "prompt_tokens_details":{"cached_tokens":0}},
         "system_fingerprint":"fp_1"}
        """,
        chat(",\"logprobs\":true,\"top_logprobs\":2,\"request_id\":\"mine\",\"return_token_ids\":true"),
        Results.of(
            "é",
            FinishReason.LENGTH,
            "",
            List.of(
                logprob("é", -0.5, new TopLogprob(5, "é", -0.5), new TopLogprob(6, "\uFFFD", -2))),
            new Usage(4, 0, 1)));
  }

  @Test
  void alternativesReasoningAndToolCalls() throws IOException {
    GenerationResult first =
        new GenerationResult(
            "",
            "I need it",
            List.of(
                ToolCall.of("f", Map.of("a", List.of(1, 2.5))), ToolCall.of("mine", "g", Map.of())),
            List.of(1, 2),
            List.of(),
            FinishReason.STOP,
            "",
            1,
            new Usage(3, 1, 2),
            new Timings(0, 0, 0, 0),
            List.of(Results.answer("other")));
    check(
        """
        {"id":"chatcmpl-77","object":"chat.completion","created":1700000000,"model":"tiny",
         "choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,
             "reasoning_content":"I need it","tool_calls":[
               {"id":"call_77_0_0","type":"function",
                "function":{"name":"f","arguments":"{\\"a\\":[1,2.5]}"}},
               {"id":"mine","type":"function","function":{"name":"g","arguments":"{}"}}]},
           "logprobs":null,"finish_reason":"tool_calls"},
          {"index":1,"message":{"role":"assistant","content":"other","refusal":null},
           "logprobs":null,"finish_reason":"stop"}],
         "usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10,
           "prompt_tokens_details":{"cached_tokens":1}},
         "system_fingerprint":"fp_1"}
        """,
        chat(",\"n\":2"),
        first);
  }

  @Test
  void completionsOfTwoPrompts() throws IOException {
    check(
        """
        {"id":"cmpl-77","object":"text_completion","created":1700000000,"model":"tiny",
         "choices":[{"index":0,"text":"onetwo","logprobs":null,"finish_reason":"stop"},
           {"index":1,"text":"threefour","logprobs":null,"finish_reason":"stop"}],
         "usage":{"prompt_tokens":6,"completion_tokens":7,"total_tokens":13,
           "prompt_tokens_details":{"cached_tokens":2}},
         "system_fingerprint":"fp_1"}
        """,
        request(Endpoint.COMPLETIONS, "{\"prompt\":[\"one\",\"three\"],\"echo\":true}"),
        Results.answer("two"),
        Results.answer("four"));
  }

  @Test
  void aCompletionWithLogprobs() throws IOException {
    check(
        """
        {"id":"cmpl-77","object":"text_completion","created":1700000000,"model":"tiny",
         "choices":[{"index":0,"text":"abc","logprobs":{"tokens":["ab","c"],
           "token_logprobs":[-0.25,-1.5],
           "top_logprobs":[{"ab":-0.25,"x":-3.0},{"d":-1.0,"c":-1.5}],
           "text_offset":[0,2]},"finish_reason":"length"}],
         "usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4,
           "prompt_tokens_details":{"cached_tokens":0}},
         "system_fingerprint":"fp_1"}
        """,
        request(Endpoint.COMPLETIONS, "{\"prompt\":[1,2],\"logprobs\":2}"),
        Results.of(
            "abc",
            FinishReason.LENGTH,
            "",
            List.of(
                logprob("ab", -0.25, new TopLogprob(1, "ab", -0.25), new TopLogprob(2, "x", -3)),
                logprob("c", -1.5, new TopLogprob(3, "d", -1), new TopLogprob(4, "c", -1.5))),
            new Usage(2, 0, 2)));
  }

  @Test
  void aPromptThatIsScored() throws IOException {
    // As evaluation harnesses send it.
    OpenAiRequest request =
        request(
            Endpoint.COMPLETIONS,
            "{\"model\":\"tiny\",\"prompt\":[[7,8,9]],\"max_tokens\":0,\"logprobs\":1,"
                + "\"echo\":true,\"temperature\":0,\"seed\":1234}");
    CompletionWork work = CompletionWork.of(request, MODEL).get(0);
    assertTrue(work.generation().isEmpty());
    assertEquals(1, work.score().orElseThrow().logprobs());
    ScoreResult score =
        new ScoreResult(
            List.of(
                new ContinuationScore(
                    -3,
                    false,
                    List.of(
                        new TokenLogprob(8, "", -1, 0, List.of(new TopLogprob(8, "", -1))),
                        new TokenLogprob(9, "", -2, 1, List.of(new TopLogprob(5, "", -0.5)))))),
            FinishReason.STOP,
            "",
            new Usage(3, 2, 0),
            new Timings(0, 0, 0, 0));
    CompletionWork.Done done =
        new CompletionWork.Done(work, Optional.empty(), Optional.of(score));
    ObjectNode logprobs = MAPPER.createObjectNode();
    new LogprobsJson(logprobs).prompt(done, MODEL);
    assertEquals(
        MAPPER.readTree(
            """
            {"tokens":["token_id:7","token_id:8","token_id:9"],"token_logprobs":[null,-1.0,-2.0],
             "top_logprobs":[null,{"token_id:8":-1.0},{"token_id:5":-0.5,"token_id:9":-2.0}],
             "text_offset":[0,0,0]}
            """),
        logprobs);
    assertEquals(new Usage(3, 2, 0), OpenAiResponse.usage(List.of(done)));
    // Without a tokenizer there is no text to repeat.
    assertEquals(
        "echo",
        assertThrows(
                OpenAiException.class,
                () -> OpenAiResponse.of(request, List.of(done), MODEL, "x", 0))
            .error()
            .param());
  }

  @Test
  void tokensThatLookAlikeKeepTheLikeliest() throws IOException {
    OpenAiRequest request = request(Endpoint.COMPLETIONS, "{\"prompt\":[1],\"logprobs\":2}");
    GenerationResult result =
        Results.of(
            "\uFFFD",
            FinishReason.LENGTH,
            "",
            List.of(
                logprob(
                    "\uFFFD", -3, new TopLogprob(1, "\uFFFD", -1), new TopLogprob(2, "\uFFFD", -3))),
            new Usage(1, 0, 1));
    assertEquals(
        "{\"\uFFFD\":-1.0}",
        OpenAiResponse.of(request, done(request, result), MODEL, "x", 0)
            .at("/choices/0/logprobs/top_logprobs/0")
            .toString());
  }

  @Test
  void theTextOfTokensNeedsATokenizer() {
    OpenAiRequest request = request(Endpoint.COMPLETIONS, "{\"prompt\":[1],\"echo\":true}");
    OpenAiException refused =
        assertThrows(
            OpenAiException.class,
            () -> OpenAiResponse.of(request, done(request, Results.answer("a")), MODEL, "x", 0));
    assertEquals("echo", refused.error().param());
  }

  @Test
  void anotherModelIsNotFound() {
    OpenAiException refused =
        assertThrows(
            OpenAiException.class, () -> MODEL.nameFor(chat(",\"model\":\"gpt-4o\"")));
    assertEquals(404, refused.error().status());
    assertEquals("model_not_found", refused.error().code());
    assertEquals("model: \"gpt-4o\" (expected: tiny)", refused.getMessage());
    assertEquals("tiny", MODEL.nameFor(chat("")));
  }

  @ParameterizedTest
  @CsvSource({
    "TIMEOUT, 408, timeout, true", "REJECTED, 429, queue_full, true",
    "CANCELLED, 499, cancelled, true", "ERROR, 500, engine_error, false"
  })
  void whatIsNoAnswerIsAnError(FinishReason reason, int status, String code, boolean retryable) {
    GenerationResult result = Results.ended(reason, "for a reason");
    OpenAiError error = OpenAiError.of(result).orElseThrow();
    assertEquals(status, error.status());
    assertEquals(code, error.code());
    assertEquals(retryable, error.isRetryable());
    assertEquals(
        error,
        assertThrows(
                OpenAiException.class,
                () -> OpenAiResponse.of(chat(""), done(chat(""), result), MODEL, "x", 0))
            .error());
  }

  @Test
  void failuresOfTheLibraryAsErrors() throws IOException {
    OpenAiError tooLong =
        OpenAiError.of(
            new InvalidRequestException(
                "prompt: 300 tokens (expected: at most 255, which leaves room)"));
    assertEquals(
        MAPPER.readTree(
            """
            {"error":{"message":"prompt: 300 tokens (expected: at most 255, which leaves room)",
              "type":"invalid_request_error","param":"prompt","code":"context_length_exceeded"}}
            """),
        tooLong.toJson());
    assertEquals(400, tooLong.status());
    assertEquals(
        "prompt",
        OpenAiError.of(new InvalidRequestException("promptTokens[3]: 9 (expected: 0 to 8)"))
            .param());
    assertEquals(503, OpenAiError.of(new EngineClosedException("closed")).status());
    assertEquals(500, OpenAiError.of(new IllegalStateException("x")).status());
  }
}
