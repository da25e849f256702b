package ai.sluice.eval.endpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalModel;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.LoopbackServer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class EndpointModelTest {
  private static final GenerationSettings HOW =
      new GenerationSettings(List.of("\nclass", "\ndef", "\n#", "\nif", "\nprint"), 64);
  private static final String KEY = "sk-secret-0815";

  private final FakeEndpoint fake = new FakeEndpoint();
  private LoopbackServer server;

  @AfterEach
  void close() throws IOException {
    if (server != null) {
      server.close();
    }
  }

  private EndpointSettings serve(LoopbackServer.Handler handler) throws IOException {
    server = new LoopbackServer(handler);
    return EndpointSettings.of(server.uri("").toString(), "toy")
        .withPatience(Duration.ofSeconds(60), 3, Duration.ZERO);
  }

  private EndpointModel open(EndpointSettings settings) {
    return EndpointModel.open(settings, Optional.empty());
  }

  private static EvalItem question(String answerStart) {
    EvalPrompt prompt =
        new EvalPrompt(
            "Count.\n\n", List.of(new EvalPrompt.Shot("1 + 1 =", "2")), "2 + 2 =", answerStart);
    return new EvalItem("sums", 0, prompt, List.of(), "4", Map.of());
  }

  private static EvalItem choice(String question, String... choices) {
    return new EvalItem(
        "choices", 0, EvalPrompt.of("", List.of(), question), List.of(choices), "0", Map.of());
  }

  private JsonNode sent(int index) throws IOException {
    return FakeEndpoint.JSON.readTree(server.requests().get(index).body());
  }

  private static <T extends Throwable> T failure(Class<T> type, EvalModel model, EvalItem item) {
    CompletionException e =
        assertThrows(CompletionException.class, () -> model.ask(item, HOW).join());
    return assertInstanceOf(type, e.getCause());
  }

  @Test
  void answersAreGenerated() throws IOException {
    fake.answer = " 4\nprint(4)\nclass X";
    try (EvalModel model = open(serve(fake))) {
      EvalModel.Reply reply = model.ask(question(""), HOW).join();
      assertEquals(List.of(" 4"), reply.answer().texts(), "cut at the stop that was not sent");
      assertEquals(3, reply.newTokens());
      assertEquals(2, reply.cachedTokens());
      assertEquals(fake.tokens(question("").context()).size(), reply.promptTokens());
      assertEquals(question("").context(), model.rendered(question("")));
    }
    JsonNode body = sent(1);
    assertEquals("toy", body.path("model").asText());
    assertEquals("Count.\n\n1 + 1 = 2\n\n2 + 2 =", body.path("prompt").asText());
    assertEquals(64, body.path("max_tokens").asInt());
    assertEquals(0, body.path("temperature").asDouble(1));
    assertEquals(4, body.path("stop").size());
    assertFalse(server.requests().get(1).headers().containsKey("authorization"));
  }

  @Test
  void otherFieldsAreSentAndPartOfTheIdentity() throws IOException {
    EndpointSettings settings =
        serve(fake).withFields(Map.of("repetition_penalty", "1.0", "extra", "{\"a\":[true]}"));
    try (EvalModel model = open(settings)) {
      model.ask(question(""), HOW).join();
      model.ask(choice("Q:", " A"), HOW).join();
      assertEquals("1.0", model.identity().get("endpoint field repetition_penalty"));
    }
    for (int request = 1; request <= 2; request++) {
      assertEquals(1.0, sent(request).path("repetition_penalty").asDouble());
      assertTrue(sent(request).path("extra").path("a").path(0).asBoolean());
    }
    for (String name : List.of("temperature", "prompt", " ")) {
      assertThrows(
          InvalidRequestException.class, () -> settings.withFields(Map.of(name, "1")), name);
    }
    for (String json : List.of("", "{", "off")) {
      assertThrows(
          InvalidRequestException.class, () -> settings.withFields(Map.of("x", json)), json);
    }
  }

  @Test
  void conversationsAreSentAsSuch() throws IOException {
    try (EvalModel model = open(serve(fake).withChat(true))) {
      assertEquals(
          List.of(" 4 and 4"), model.ask(question("It is"), HOW).join().answer().texts());
      assertTrue(model.rendered(question("")).startsWith("[{\"role\":\"system\""));
      model.ask(question(""), HOW).join();
    }
    JsonNode body = sent(1);
    assertEquals("/v1/chat/completions", server.requests().get(1).path());
    List<String> roles = new ArrayList<>();
    body.path("messages").forEach(message -> roles.add(message.path("role").asText()));
    assertEquals(List.of("system", "user", "assistant", "user", "assistant"), roles);
    assertEquals("It is", body.path("messages").path(4).path("content").asText());
    assertTrue(body.path("continue_final_message").asBoolean());
    assertFalse(body.path("add_generation_prompt").asBoolean(true));
    assertTrue(sent(2).path("continue_final_message").isMissingNode());
    assertEquals(4, sent(2).path("messages").size());
  }

  @Test
  void silenceIsAnEmptyAnswer() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) -> {
              if (request.path().endsWith("models")) {
                fake.answer(request, out);
              } else {
                LoopbackServer.respond(
                    out, 200, "", "{\"choices\":[{\"message\":{\"content\":null}}]}");
              }
            });
    try (EvalModel model = open(settings.withChat(true))) {
      assertEquals(List.of(""), model.ask(question(""), HOW).join().answer().texts());
    }
  }

  @Test
  void continuationsAreScored() throws IOException {
    EvalItem item = choice("Which one?\nAnswer:", " A", " B", " two words");
    try (EvalModel model = open(serve(fake))) {
      EvalModel.Reply reply = model.ask(item, HOW).join();
      assertEquals(3, reply.answer().choices().size());
      assertEquals(FakeEndpoint.logprob(" A"), reply.answer().choices().get(0).logprob());
      assertFalse(reply.answer().choices().get(0).greedy());
      assertTrue(reply.answer().choices().get(1).greedy());
      assertEquals(
          FakeEndpoint.logprob(" two") + FakeEndpoint.logprob(" words"),
          reply.answer().choices().get(2).logprob());
      assertEquals(4, reply.newTokens());
      assertEquals(6, reply.cachedTokens());
    }
    assertEquals(4, server.requests().size(), "the models, then one request a continuation");
    JsonNode body = sent(3);
    assertEquals("Which one?\nAnswer: two words", body.path("prompt").asText());
    assertTrue(body.path("echo").asBoolean());
    assertEquals(1, body.path("logprobs").asInt());
    assertEquals(1, body.path("max_tokens").asInt());
  }

  @Test
  void tokensAreCountedWhereTextsDoNotTell() throws IOException {
    fake.stripped = true;
    fake.bos = true;
    EvalItem item = choice("Which one?\nAnswer:", " A", " B");
    try (EvalModel model = open(serve(fake))) {
      EvalModel.Reply reply = model.ask(item, HOW).join();
      assertEquals(FakeEndpoint.logprob(" A"), reply.answer().choices().get(0).logprob());
      assertEquals(FakeEndpoint.logprob(" B"), reply.answer().choices().get(1).logprob());
    }
    assertEquals(4, server.requests().size(), "the context once, for both");
    assertEquals("Which one?\nAnswer:", sent(2).path("prompt").asText());
  }

  /** The token at the joint belongs to whoever has its beginning: here to the context. */
  @Test
  void aTokenOverTheJointIsTheContexts() throws IOException {
    EvalItem item = choice("The answer is un", "known here");
    try (EvalModel model = open(serve(fake))) {
      assertEquals(
          FakeEndpoint.logprob(" here"),
          model.ask(item, HOW).join().answer().choices().get(0).logprob());
    }
    assertEquals("The answer is un", sent(2).path("prompt").asText());
  }

  @Test
  void whiteSpaceBeforeAContinuationIsPartOfIt() throws IOException {
    EvalItem item = choice("Answer: ", "yes");
    try (EvalModel model = open(serve(fake))) {
      assertEquals(
          FakeEndpoint.logprob(" yes"),
          model.ask(item, HOW).join().answer().choices().get(0).logprob());
    }
    assertEquals("Answer: yes", sent(1).path("prompt").asText());
  }

  @Test
  void serversWithoutLogProbabilitiesAreTold() throws IOException {
    List<String> bodies =
        List.of(
            "{\"choices\":[{\"text\":\"x\"}]}",
            "{\"choices\":[{\"logprobs\":null}]}",
            "{\"choices\":[{\"logprobs\":{\"tokens\":[\"x\"],\"token_logprobs\":[-1],"
                + "\"top_logprobs\":[{\"x\":-1}]}}]}",
            "{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\",\"b\",\"x\"],\"token_logprobs\":[-1],"
                + "\"top_logprobs\":[]}}]}");
    for (String body : bodies) {
      EndpointSettings settings =
          serve(
              (request, out) -> {
                if (request.path().endsWith("models")) {
                  fake.answer(request, out);
                } else {
                  LoopbackServer.respond(out, 200, "", body);
                }
              });
      try (EvalModel model = open(settings)) {
        EndpointException e = failure(EndpointException.class, model, choice("Q:", " A"));
        assertTrue(e.getMessage().contains("no log-probabilities of the prompt"), e.getMessage());
        assertTrue(e.getMessage().contains("gsm8k"), e.getMessage());
      }
      server.close();
    }
    EndpointSettings settings = refusing(400, "{\"error\":{\"message\":\"echo: not supported\"}}");
    try (EvalModel model = open(settings)) {
      EndpointException e = failure(EndpointException.class, model, choice("Q:", " A"));
      assertTrue(
          e.getMessage().startsWith(
              server.uri("/v1/completions") + ": HTTP 400: echo: not supported (expected: those of"
                  + " a prompt with echo and logprobs"),
          e.getMessage());
      assertEquals(OptionalInt.of(400), e.status());
    }
    try (EvalModel model = open(settings.withChat(true))) {
      InvalidRequestException e =
          failure(InvalidRequestException.class, model, choice("Q:", " A"));
      assertTrue(e.getMessage().startsWith("apply-chat-template: choices needs log-prob"));
    }
  }

  private EndpointSettings refusing(int status, String body) throws IOException {
    return serve(
        (request, out) -> {
          if (request.path().endsWith("models")) {
            fake.answer(request, out);
          } else {
            LoopbackServer.respond(out, status, "", body);
          }
        });
  }

  @Test
  void theFirstTokenOfAPromptHasNoLogProbability() throws IOException {
    try (EvalModel model = open(serve(fake))) {
      EndpointException e = failure(EndpointException.class, model, choice("", "yes"));
      assertTrue(e.getMessage().contains("token 0 of the prompt has no log-probability"));
    }
  }

  @Test
  void otherCountsAndShortPromptsAreRefused() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) -> {
              JsonNode body = FakeEndpoint.JSON.readTree(request.body());
              if (request.path().endsWith("models")) {
                fake.answer(request, out);
              } else {
                ObjectNode told = (ObjectNode) fake.completion(body);
                ((ObjectNode) told.path("usage")).put("prompt_tokens", 2);
                LoopbackServer.respond(out, 200, "", told.toString());
              }
            });
    try (EvalModel model = open(settings)) {
      EndpointException e = failure(EndpointException.class, model, choice("a b c", " A"));
      assertTrue(e.getMessage().contains("of 4 tokens where the prompt has 2"), e.getMessage());
    }
    server.close();
    FakeEndpoint cutting =
        new FakeEndpoint() {
          @Override
          List<String> tokens(String text) {
            return super.tokens(text).subList(0, 3);
          }
        };
    cutting.stripped = true;
    try (EvalModel model = open(serve(cutting))) {
      EndpointException e = failure(EndpointException.class, model, choice("a b c d", " A"));
      assertTrue(e.getMessage().contains("a prompt of 3 tokens that has 3 with"), e.getMessage());
    }
  }

  @Test
  void overloadIsWaitedOut() throws IOException {
    AtomicInteger faults = new AtomicInteger();
    EndpointSettings settings =
        serve(
            (request, out) -> {
              switch (request.path().endsWith("models") ? -1 : faults.getAndIncrement()) {
                case 0 -> LoopbackServer.respond(out, 429, "Retry-After: 0\r\n", "full");
                case 1 ->
                    LoopbackServer.respond(
                        out, 503, "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", "later");
                default -> fake.answer(request, out);
              }
            });
    try (EvalModel model = open(settings)) {
      assertEquals(List.of(" 4 and 4"), model.ask(question(""), HOW).join().answer().texts());
    }
    assertEquals(4, server.requests().size());
  }

  @Test
  void lastingFaultsAreNamed() throws IOException {
    try (EvalModel model = open(refusing(500, "Internal\nTraceback"))) {
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertEquals(
          server.uri("/v1/completions") + ": HTTP 500: Internal, 3 attempts (expected: 200; remedy:"
              + " run the command again later, it goes on from there)",
          e.getMessage());
      assertEquals(server.uri("/v1/completions"), e.uri());
    }
    assertEquals(4, server.requests().size());
  }

  @Test
  void waitsTooLongAreNotWaited() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) -> {
              if (request.path().endsWith("models")) {
                fake.answer(request, out);
              } else {
                LoopbackServer.respond(out, 429, "Retry-After: 86400\r\n", "quota");
              }
            });
    try (EvalModel model = open(settings)) {
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertTrue(e.getMessage().contains("asks to wait 86400 s"), e.getMessage());
    }
    assertEquals(2, server.requests().size());
  }

  @Test
  void refusalsAreNotRepeated() throws IOException {
    String body = "{\"error\":{\"message\":\"too\\u001b[2J long\"}}";
    try (EvalModel model = open(refusing(400, body))) {
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertTrue(e.getMessage().contains("HTTP 400: too?[2J long (expected"), e.getMessage());
    }
    assertEquals(2, server.requests().size());
  }

  @Test
  void keysAreSentAndNeverShown() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) ->
                LoopbackServer.respond(
                    out, 401, "", "{\"error\":{\"message\":\"wrong key " + KEY + "\"}}"));
    EndpointException e =
        assertThrows(
            EndpointException.class, () -> EndpointModel.open(settings, Optional.of(KEY + "\n")));
    assertEquals("Bearer " + KEY, server.requests().get(0).headers().get("authorization"));
    assertTrue(e.getMessage().contains("HTTP 401: wrong key *** (expected"), e.getMessage());
    assertTrue(e.getMessage().contains("the API key is not the server's"), e.getMessage());
    assertFalse(settings.toString().contains(KEY));
    e = assertThrows(EndpointException.class, () -> open(settings));
    assertTrue(e.getMessage().contains("wants an API key"), e.getMessage());
    String message =
        assertThrows(
                InvalidRequestException.class,
                () -> EndpointModel.open(settings, Optional.of("a\r\n" + KEY)))
            .getMessage();
    assertTrue(message.startsWith("API key: holds white space"), message);
    assertFalse(message.contains(KEY), message);
  }

  @Test
  void redirectsAreNotFollowed() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) ->
                LoopbackServer.respond(out, 307, "Location: http://127.0.0.2/v1\r\n", ""));
    EndpointException e = assertThrows(EndpointException.class, () -> open(settings));
    assertTrue(
        e.getMessage().contains("HTTP 307 (expected: 200; remedy: it is at http://127.0.0.2/v1"),
        e.getMessage());
  }

  @Test
  void whatIsNotTheApiIsNamed() throws IOException {
    try (EvalModel model = open(refusing(200, "<html>\n<body>Welcome</body>"))) {
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertTrue(e.getMessage().contains("not JSON: <html> (expected: an answer"), e.getMessage());
    }
    for (String body : List.of("{}", "[]", "1", "{\"choices\":[]}", "{\"choices\":[{}]}")) {
      server.close();
      try (EvalModel model = open(refusing(200, body))) {
        EndpointException e = failure(EndpointException.class, model, question(""));
        assertTrue(e.getMessage().contains("without a text at choices[0]"), e.getMessage());
      }
    }
  }

  @Test
  void hugeResponsesAreCutOff() throws IOException {
    EndpointSettings settings =
        serve(
            (request, out) -> {
              if (request.path().endsWith("models")) {
                fake.answer(request, out);
                return;
              }
              LoopbackServer.begin(out, 200, "");
              byte[] block = new byte[1 << 20];
              for (int i = 0; i < 64; i++) {
                out.write(block);
              }
            });
    try (EvalModel model = open(settings)) {
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertTrue(e.getMessage().contains("more than 33554432 bytes"), e.getMessage());
    }
    assertEquals(2, server.requests().size(), "not tried again");
  }

  @Test
  void brokenConnectionsAreTriedAgain() throws IOException {
    AtomicInteger faults = new AtomicInteger();
    EndpointSettings settings =
        serve(
            (request, out) -> {
              if (!request.path().endsWith("models") && faults.getAndIncrement() < 2) {
                LoopbackServer.begin(out, 200, "Content-Length: 1000\r\n");
                out.write('{');
              } else {
                fake.answer(request, out);
              }
            });
    try (EvalModel model = open(settings)) {
      assertEquals(List.of(" 4 and 4"), model.ask(question(""), HOW).join().answer().texts());
      faults.set(-1000);
      EndpointException e = failure(EndpointException.class, model, question(""));
      assertTrue(e.getMessage().contains(", 3 attempts (expected: an answer"), e.getMessage());
      assertEquals(OptionalInt.empty(), e.status());
    }
  }

  @Test
  void silentServersAreLeft() throws IOException {
    CountDownLatch end = new CountDownLatch(1);
    for (boolean head : new boolean[] {false, true}) {
      EndpointSettings settings =
          serve(
              (request, out) -> {
                if (head) {
                  LoopbackServer.begin(out, 200, "Content-Length: 10\r\n");
                  out.flush();
                }
                try {
                  end.await();
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              });
      EndpointSettings hasty = settings.withPatience(Duration.ofMillis(300), 2, Duration.ZERO);
      EndpointException e = assertThrows(EndpointException.class, () -> open(hasty));
      assertTrue(e.getMessage().contains("no answer within 0.3 s, 2 attempts"), e.getMessage());
      server.close();
    }
    end.countDown();
  }

  @Test
  void nobodyThereIsSaid() throws IOException {
    EndpointSettings settings = serve(fake);
    server.close();
    EndpointException e = assertThrows(EndpointException.class, () -> open(settings));
    assertTrue(
        e.getMessage().startsWith(settings.url() + "/models: no connection, 2 attempts"),
        e.getMessage());
  }

  @Test
  void identityIsWhatTheServerTells() throws IOException {
    try (EvalModel model = open(serve(fake))) {
      assertEquals("toy", model.identity().get("model"));
      assertEquals("completions", model.identity().get("api"));
      assertEquals("org/toy-1", model.identity().get("endpoint root"));
      assertEquals("4096", model.identity().get("endpoint max_model_len"));
      assertEquals("unknown (behind a server)", model.identity().get("model_sha256"));
      assertFalse(model.identity().containsKey("endpoint parent"));
      assertFalse(model.identity().containsKey("endpoint created"), "changes from day to day");
      assertEquals("7", model.environment().get("endpoint created"));
      assertEquals(8, model.window());
    }
    EndpointSettings settings = serve(fake);
    EndpointSettings wrong = EndpointSettings.of(settings.url().toString(), "Toy");
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> open(wrong));
    assertTrue(e.getMessage().startsWith("model: Toy (expected: one that http://127"));
    assertTrue(e.getMessage().endsWith(" serves: other, toy)"), e.getMessage());
  }

  @Test
  void serversThatListNoModelsAreTaken() throws IOException {
    for (String body : List.of("{\"data\":[]}", "")) {
      EndpointSettings settings =
          serve(
              (request, out) ->
                  LoopbackServer.respond(out, body.isEmpty() ? 404 : 200, "", body));
      try (EvalModel model = open(settings)) {
        assertTrue(model.environment().get("endpoint models").startsWith("not told, "));
      }
      server.close();
    }
  }

  @Test
  void urlsAreReadAsPeopleWriteThem() {
    for (String url :
        List.of(
            "http://h:80", "http://h:80/", "http://h:80/v1", "http://h:80/v1/",
            "http://h:80/v1/completions", "HTTP://h:80/v1/chat/completions/")) {
      assertEquals("http://h:80/v1", EndpointSettings.of(url, "m").url().toString());
    }
    assertEquals(
        "https://h/openai/v1", EndpointSettings.of("https://h/openai/v1/", "m").url().toString());
    for (String url :
        List.of("", "h:80", "ftp://h", "http://", "http://[", "http://h?key=1", "/v1")) {
      InvalidRequestException e =
          assertThrows(InvalidRequestException.class, () -> EndpointSettings.of(url, "m"));
      assertTrue(e.getMessage().startsWith("endpoint: " + url + " (expected: a URL such"), url);
    }
    String message =
        assertThrows(
                InvalidRequestException.class,
                () -> EndpointSettings.of("http://me:" + KEY + "@h/v1", "m"))
            .getMessage();
    assertTrue(message.startsWith("endpoint: a password in the URL of h"), message);
    assertFalse(message.contains(KEY), message);
    EndpointSettings settings = EndpointSettings.of("http://h", "m");
    assertThrows(InvalidRequestException.class, () -> settings.withWindow(0));
    assertThrows(InvalidRequestException.class, () -> EndpointSettings.of("http://h", " "));
    assertThrows(
        InvalidRequestException.class,
        () -> settings.withPatience(Duration.ZERO, 1, Duration.ZERO));
    assertThrows(
        InvalidRequestException.class,
        () -> settings.withPatience(Duration.ofSeconds(1), 0, Duration.ZERO));
  }
}
