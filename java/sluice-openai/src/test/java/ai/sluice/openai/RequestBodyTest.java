package ai.sluice.openai;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.Sampling;
import ai.sluice.api.ToolCall;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RequestBodyTest {
  private static final String MESSAGES = "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]";

  private static OpenAiRequest chat(String fields) {
    return parse(
        Endpoint.CHAT_COMPLETIONS, "{" + MESSAGES + (fields.isEmpty() ? "" : ",") + fields + "}");
  }

  private static OpenAiRequest completion(String fields) {
    return parse(Endpoint.COMPLETIONS, "{" + fields + "}");
  }

  private static OpenAiRequest parse(Endpoint endpoint, String body) {
    return OpenAiRequest.parse(endpoint, body.getBytes(StandardCharsets.UTF_8));
  }

  private static GenerationRequest one(OpenAiRequest request) {
    assertEquals(1, request.requests().size());
    return request.requests().get(0);
  }

  private static OpenAiError refused(Endpoint endpoint, String body) {
    OpenAiError error =
        assertThrows(OpenAiException.class, () -> parse(endpoint, body)).error();
    assertEquals(400, error.status());
    assertEquals("invalid_request_error", error.type());
    return error;
  }

  @Test
  void everyFieldOfAChatArrives() {
    OpenAiRequest body =
        chat(
            """
            "model":"m","temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.05,"n":2,"seed":-7,
            "repetition_penalty":1.1,"presence_penalty":0.25,"frequency_penalty":-0.5,
            "stop":["a","b"],"stop_token_ids":[3,4],"ignore_eos":true,"max_completion_tokens":9,
            "logit_bias":{"5":-100,"6":1.5},"logprobs":true,"top_logprobs":3,"priority":2,
            "cache_salt":"s","max_reasoning_tokens":0,"speculation":false,"head":"reasoning",
            "response_format":{"type":"json_object"},"reasoning_effort":"low",
            "chat_template_kwargs":{"enable_thinking":true,"x":[1,null]},"request_id":"r1",
            "user":"u","metadata":{"a":"b"},"store":false,"service_tier":"auto",
            "parallel_tool_calls":true,"return_token_ids":true,"stream":true,
            "stream_options":{"include_usage":true}
            """);
    GenerationRequest request = one(body);
    assertEquals("m", body.model().orElseThrow());
    assertEquals("r1", body.requestId().orElseThrow());
    assertTrue(body.stream() && body.streamUsage() && body.logprobs() && body.tokenIds());
    assertEquals(
        Sampling.builder()
            .temperature(0.5)
            .topP(0.9)
            .topK(40)
            .minP(0.05)
            .repetitionPenalty(1.1)
            .presencePenalty(0.25)
            .frequencyPenalty(-0.5)
            .logitBias(5, -100)
            .logitBias(6, 1.5f)
            .build(),
        request.sampling());
    assertEquals(2, request.n());
    assertEquals(-7, request.seed().orElseThrow());
    assertEquals(List.of("a", "b"), request.stop());
    assertEquals(List.of(3, 4), request.stopTokenIds());
    assertTrue(request.ignoreEos());
    assertFalse(request.speculation());
    assertEquals(9, request.maxNewTokens().orElseThrow());
    assertEquals(3, request.logprobs().orElseThrow());
    assertEquals(2, request.priority());
    assertEquals("s", request.cacheSalt());
    assertEquals(0, request.maxReasoningTokens().orElseThrow());
    assertEquals("reasoning", request.head().orElseThrow());
    assertEquals(ResponseFormat.jsonObject(), request.responseFormat());
    assertEquals("low", request.templateVariables().get("reasoning_effort"));
    assertEquals(true, request.templateVariables().get("enable_thinking"));
    assertEquals("[1, null]", request.templateVariables().get("x").toString());
  }

  @Test
  void nullIsAbsent() {
    GenerationRequest request =
        one(
            chat(
                "\"temperature\":null,\"stop\":null,\"n\":null,\"tools\":null,\"logprobs\":null,"
                    + "\"response_format\":null,\"max_tokens\":null,\"seed\":null"));
    assertEquals(Sampling.unset(), request.sampling());
    assertTrue(request.logprobs().isEmpty() && request.maxNewTokens().isEmpty());
  }

  @Test
  void messagesOfEveryKind() {
    OpenAiRequest body =
        parse(
            Endpoint.CHAT_COMPLETIONS,
            """
            {"messages":[
              {"role":"developer","content":"rules","name":"dev"},
              {"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]},
              {"role":"assistant","content":null,"reasoning_content":"think","refusal":null,
               "tool_calls":[{"id":"c1","type":"function","index":0,
                 "function":{"name":"f","arguments":"{\\"a\\":[1,2.5,true,null,{\\"b\\":\\"c\\"}]}"}}]},
              {"role":"tool","tool_call_id":"c1","content":"42"},
              {"role":"assistant","content":"so","annotations":[]}]}
            """);
    List<ChatMessage> messages = one(body).messages();
    assertEquals("dev", messages.get(0).name().orElseThrow());
    assertEquals("one\ntwo", messages.get(1).content().orElseThrow());
    assertEquals("think", messages.get(2).reasoning().orElseThrow());
    ToolCall call = messages.get(2).toolCalls().get(0);
    assertEquals("c1", call.id().orElseThrow());
    assertEquals("{a=[1, 2.5, true, null, {b=c}]}", call.arguments().toString());
    assertEquals(ChatMessage.tool("c1", "42"), messages.get(3));
  }

  @Test
  void toolsAreToldUnlessNoneMayBeCalled() {
    String tools =
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
            + "\"parameters\":{\"type\":\"object\"},\"strict\":false}}]";
    assertEquals(
        Map.of("name", "f", "description", "d", "parameters", Map.of("type", "object"), "strict",
            false),
        one(chat(tools)).tools().get(0).json().get("function"));
    assertEquals(1, one(chat(tools + ",\"tool_choice\":\"auto\"")).tools().size());
    assertEquals(0, one(chat(tools + ",\"tool_choice\":\"none\"")).tools().size());
  }

  @Test
  void formsOfAnswers() {
    assertEquals(
        ResponseFormat.jsonSchema(Map.of("type", "object")),
        one(
                chat(
                    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
                        + "\"strict\":true,\"schema\":{\"type\":\"object\"}}}"))
            .responseFormat());
    assertEquals(
        ResponseFormat.regex("a+"),
        one(chat("\"response_format\":{\"type\":\"regex\",\"pattern\":\"a+\"}"))
            .responseFormat());
    assertEquals(
        ResponseFormat.text(), one(chat("\"response_format\":{\"type\":\"text\"}")).responseFormat());
  }

  @Test
  void promptsOfEveryKind() {
    assertEquals("x", one(completion("\"prompt\":\"x\"")).prompt().orElseThrow());
    assertArrayEquals(
        new int[] {1, 2}, one(completion("\"prompt\":[1,2]")).promptTokens().orElseThrow());
    OpenAiRequest texts = completion("\"prompt\":[\"a\",\"b\"],\"max_tokens\":1,\"echo\":true");
    assertTrue(texts.echo());
    assertEquals("b", texts.requests().get(1).prompt().orElseThrow());
    assertEquals(1, texts.requests().get(1).maxNewTokens().orElseThrow());
    OpenAiRequest ids = completion("\"prompt\":[[1],[2,3]],\"logprobs\":0,\"best_of\":1");
    assertTrue(ids.logprobs());
    assertArrayEquals(new int[] {1}, ids.requests().get(0).promptTokens().orElseThrow());
    assertArrayEquals(new int[] {2, 3}, ids.requests().get(1).promptTokens().orElseThrow());
    assertEquals(0, ids.requests().get(0).logprobs().orElseThrow());
  }

  @Test
  void offIsSaidInTwoWays() {
    assertEquals(0, one(chat("\"top_k\":-1")).sampling().topK().orElseThrow());
    assertEquals(0, one(chat("\"top_k\":0")).sampling().topK().orElseThrow());
    assertEquals(
        false, one(chat("\"reasoning_effort\":\"none\"")).templateVariables().get("enable_thinking"));
    assertEquals(
        7, one(chat("\"max_tokens\":7,\"max_completion_tokens\":7")).maxNewTokens().orElseThrow());
    assertTrue(one(chat("\"logprobs\":false,\"top_logprobs\":0")).logprobs().isEmpty());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "temprature   | 1            | unknown_parameter | did you mean temperature?",
        "zzz          | 1            | unknown_parameter | expected: one of model, stream,",
        "temperature  | -1           | invalid_value | temperature: -1.0 (expected: 0.0 to 100.0)",
        "temperature  | 1e308        | invalid_value | temperature: 1.0E308 (expected: 0.0 to 100.0)",
        "temperature  | 1e999        | invalid_value | (expected: a number below 1.8e308)",
        "temperature  | \"1\"        | invalid_type  | temperature: \"1\" (expected: a number)",
        "temperature  | true         | invalid_type  | temperature: true (expected: a number)",
        "top_p        | 0            | invalid_value | top_p: 0.0 (expected: above 0, at most 1)",
        "top_p        | 1.01         | invalid_value | top_p: 1.01 (expected: above 0, at most 1)",
        "min_p        | 1            | invalid_value | min_p: 1.0 (expected: 0 or more, below 1)",
        "top_k        | -2           | invalid_value | top_k: -2 (expected: 0 to 2147483647)",
        "top_k        | 2147483648   | invalid_value | top_k: 2147483648 (expected: a whole number",
        "n            | -1           | invalid_value | n: -1 (expected: 1 to 128)",
        "n            | 0            | invalid_value | n: 0 (expected: 1 to 128)",
        "n            | 129          | invalid_value | n: 129 (expected: 1 to 128)",
        "n            | 2147483648   | invalid_value | n: 2147483648 (expected: a whole number from",
        "n            | 1.0          | invalid_value | n: 1.0 (expected: a whole number)",
        "n            | 9223372036854775808 | invalid_value | n: 9223372036854775808 (expected:",
        "n            | []           | invalid_type  | n: an array (expected: a whole number)",
        "max_tokens   | -1           | invalid_value | max_tokens: -1 (expected: 1 to 2147483647)",
        "max_tokens   | 0            | invalid_value | max_tokens: 0 (expected: 1 to 2147483647)",
        "max_tokens   | 2147483648   | invalid_value | max_tokens: 2147483648 (expected: a whole",
        "max_completion_tokens | 0   | invalid_value | max_completion_tokens: 0 (expected: 1 to",
        "seed         | 9223372036854775808 | invalid_value | seed: 9223372036854775808 (expected:",
        "seed         | 1.5          | invalid_value | seed: 1.5 (expected: a whole number)",
        "priority     | 2147483648   | invalid_value | priority: 2147483648 (expected: a whole",
        "top_logprobs | 1            | invalid_value | top_logprobs: 1 (expected: logprobs: true",
        "top_logprobs | -1           | invalid_value | top_logprobs: -1 (expected: 0 to 20)",
        "top_logprobs | 21           | invalid_value | top_logprobs: 21 (expected: 0 to 20)",
        "top_logprobs | 2147483648   | invalid_value | top_logprobs: 2147483648 (expected: a whole",
        "logprobs     | 1            | invalid_type  | logprobs: 1 (expected: true or false)",
        "repetition_penalty | 0      | invalid_value | repetition_penalty: 0.0 (expected: 0.01 to",
        "presence_penalty | 1e3      | invalid_value | presence_penalty: 1000.0 (expected: -100",
        "frequency_penalty | -1e3    | invalid_value | frequency_penalty: -1000.0 (expected: -100",
        "stop         | 5            | invalid_type  | stop: 5 (expected: a string or an array of",
        "stop         | [1]          | invalid_type  | stop[0]: 1 (expected: a string)",
        "stop         | \"\"         | invalid_value | stop: length: 0 (expected: 1 to 1024)",
        "stop         | \"\\ud800\"  | invalid_value | stop: half a surrogate pair",
        "stop_token_ids | [-1]       | invalid_value | stop_token_ids[0]: -1 (expected: a whole",
        "stop_token_ids | [2147483648] | invalid_value | stop_token_ids[0]: 2147483648 (expected:",
        "logit_bias   | {\"x\":1}    | invalid_value | logit_bias: \"x\" (expected: token ids as",
        "logit_bias   | {\"-1\":1}   | invalid_value | logit_bias: \"-1\" (expected: token ids as",
        "logit_bias   | {\"2147483648\":1} | invalid_value | logit_bias: \"2147483648\" (expected:",
        "logit_bias   | {\"1\":1e308} | invalid_value | logit_bias: Infinity (expected: a finite",
        "logit_bias   | {\"1\":\"a\"} | invalid_type | logit_bias.1: \"a\" (expected: a number)",
        "max_reasoning_tokens | -1   | invalid_value | max_reasoning_tokens: -1 (expected: 0 to",
        "min_tokens   | 3            | unsupported_value | min_tokens: 3 (expected: 0;",
        "prompt_logprobs | 1         | unsupported_parameter | prompt_logprobs: 1 (expected: none;",
        "store        | true         | unsupported_value | store: true (expected: false; nothing is",
        "tool_choice  | \"required\" | unsupported_value | tool_choice: required (expected: auto or",
        "tool_choice  | {\"type\":\"function\"} | unsupported_value | tool_choice: a named tool",
        "tool_choice  | \"auto\"     | invalid_value | tool_choice: auto without tools (expected:",
        "parallel_tool_calls | false | unsupported_value | parallel_tool_calls: false (expected:",
        "functions    | []           | unsupported_parameter | functions: an array (expected: none;",
        "tools        | [{\"type\":\"x\"}] | invalid_value | tools[0].type: \"x\" (expected: function",
        "tools        | [{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}] | invalid_value | tools[0].function.name: \"a b\" (expected: 1 to 64",
        "tools        | [{\"type\":\"function\",\"function\":{\"name\":\"a\",\"strict\":true}}] | unsupported_value | tools[0].function.strict: true (expected: false",
        "tools        | [{\"type\":\"function\",\"function\":{\"name\":\"a\",\"x\":1}}] | unknown_parameter | tools[0].function.x: unknown",
        "response_format | {\"type\":\"xml\"} | invalid_value | response_format.type: \"xml\"",
        "response_format | {}        | missing_required_parameter | response_format.type: missing",
        "response_format | {\"type\":\"json_schema\"} | missing_required_parameter | response_format.json_schema: missing",
        "response_format | {\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\"}} | missing_required_parameter | response_format.json_schema.schema: missing",
        "response_format | {\"type\":\"text\",\"a\":1} | unknown_parameter | response_format.a: unknown",
        "reasoning_effort | \"lots\" | invalid_value | reasoning_effort: \"lots\" (expected: none,",
        "chat_template | \"{{ x }}\" | unsupported_parameter | chat_template: \"{{ x }}\" (expected:",
        "stream_options | {\"include_usage\":true} | invalid_value | stream_options: given (expected:",
        "request_id   | \"\"         | invalid_value | request_id: 0 characters (expected: 1 to 256",
        "messages     | []           | invalid_json | body: Duplicate field 'messages'",
      })
  void aWrongFieldIsNamed(String field, String value, String code, String message) {
    OpenAiError error =
        refused(
            Endpoint.CHAT_COMPLETIONS, "{" + MESSAGES + ",\"" + field + "\":" + value + "}");
    assertEquals(code, error.code(), error.message());
    assertTrue(error.message().contains(message), error.message());
    if (!code.equals("invalid_json")) {
      assertTrue(String.valueOf(error.param()).startsWith(field), error.toString());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[]                                       | messages: empty (expected: at least one message)",
        "{}                                       | messages: an object (expected: an array)",
        "[1]                                      | messages[0]: 1 (expected: an object)",
        "[{}]                                     | messages[0].role: missing (expected: system,",
        "[{\"role\":\"user\"}]                    | messages[0].content: missing (expected: a string",
        "[{\"role\":\"user\",\"content\":5}]      | messages[0].content: 5 (expected: a string or an",
        "[{\"role\":\"user\",\"content\":[]}]     | messages[0].content: an empty array (expected:",
        "[{\"role\":\"a b\",\"content\":\"\"}]    | messages[0].role: \"a b\" (expected: system,",
        "[{\"role\":\"user\",\"content\":\"\",\"z\":1}] | messages[0].z: unknown (expected: ",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}] | messages[0].content[0].type: \"image_url\" (expected: text",
        "[{\"role\":\"assistant\",\"tool_calls\":[]}] | messages[0].content: missing (expected: a string, an",
        "[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}] | messages[0].tool_calls: in a message of user",
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"[]\"}}]}] | messages[0].tool_calls[0].function.arguments: an array (expected",
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}] | messages[0].tool_calls[0].function.name: missing",
        "[{\"role\":\"user\",\"content\":\"\\udc00\"}] | messages[0].content: half a surrogate pair at index 0",
      })
  void aWrongMessageIsNamed(String messages, String message) {
    OpenAiError error = refused(Endpoint.CHAT_COMPLETIONS, "{\"messages\":" + messages + "}");
    assertTrue(error.message().startsWith(message), error.message());
    assertTrue(String.valueOf(error.param()).startsWith("messages"), error.toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "\"max_tokens\":1               | prompt: missing (expected: a string, token ids, or",
        "\"prompt\":\"\"                | prompt: empty (expected: at least one character)",
        "\"prompt\":[]                  | prompt: an empty array (expected: at least one prompt",
        "\"prompt\":[1,-1]              | prompt[1]: -1 (expected: a whole number from 0 to",
        "\"prompt\":[1,2147483648]      | prompt[1]: 2147483648 (expected: a whole number from 0",
        "\"prompt\":[1,\"a\"]           | prompt[1]: \"a\" (expected: a whole number)",
        "\"prompt\":[1.5]               | prompt[0]: 1.5 (expected: a whole number)",
        "\"prompt\":[[1],\"a\"]         | prompt[1]: \"a\" (expected: an array)",
        "\"prompt\":[[1],[]]            | prompt[1]: empty (expected: at least one token id)",
        "\"prompt\":[\"a\",[1]]         | prompt[1]: an array (expected: a string)",
        "\"prompt\":[true]              | prompt[0]: true (expected: a string or an array of token",
        "\"prompt\":{}                  | prompt: an object (expected: a string, token ids, or",
        "\"prompt\":\"a\",\"logprobs\":-1 | logprobs: -1 (expected: 0 to 1000)",
        "\"prompt\":\"a\",\"logprobs\":true | logprobs: true (expected: a whole number)",
        "\"prompt\":\"a\",\"best_of\":2 | best_of: 2 (expected: the same as n;",
        "\"prompt\":\"a\",\"suffix\":\"b\" | suffix: \"b\" (expected: none;",
        "\"prompt\":\"a\",\"messages\":[] | messages: unknown (expected: ",
        "\"prompt\":\"a\",\"tools\":[]  | tools: unknown (expected: ",
        "\"prompt\":\"a\",\"max_tokens\":1,\"max_completion_tokens\":2 | max_tokens: 1 with max_completion_tokens: 2 (expected",
      })
  void aWrongCompletionIsNamed(String fields, String message) {
    OpenAiError error = refused(Endpoint.COMPLETIONS, "{" + fields + "}");
    assertTrue(error.message().startsWith(message), error.message());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "", " ", "null", "[]", "1", "{", "{}x", "{\"a\":NaN}", "{\"a\":Infinity}", "{'a':1}",
        "{\"a\":1,\"a\":2}", "{\"a\":01}", "{/**/\"a\":1}", "{\"a\":\"\t\"}", "{\"a\":1,}"
      })
  void whatIsNoJsonIsSaid(String body) {
    OpenAiError error = refused(Endpoint.CHAT_COMPLETIONS, body);
    assertEquals("invalid_json", error.code());
    assertTrue(error.message().startsWith("body: "), error.message());
    assertTrue(
        error.message().endsWith(" (expected: one JSON object in UTF-8)"), error.message());
  }

  @Test
  void otherEncodingsAreRefused() {
    for (byte[] bytes :
        List.of(
            new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'},
            ("{" + MESSAGES + "}").getBytes(StandardCharsets.UTF_16))) {
      OpenAiException refused =
          assertThrows(
              OpenAiException.class, () -> OpenAiRequest.parse(Endpoint.COMPLETIONS, bytes));
      assertEquals(
          "body: not UTF-8 (expected: one JSON object in UTF-8)", refused.error().message());
    }
  }

  @Test
  void hugeBodiesAreBounded() {
    String deep = "[".repeat(10_000) + "]".repeat(10_000);
    assertTrue(
        refused(Endpoint.CHAT_COMPLETIONS, "{\"messages\":" + deep + "}")
            .message()
            .contains("depth"));
    String digits = "9".repeat(100_000);
    assertTrue(
        refused(Endpoint.CHAT_COMPLETIONS, "{\"seed\":" + digits + "}").message().length() < 500);
    byte[] text = new byte[100 << 20];
    Arrays.fill(text, (byte) 'a');
    byte[] open = "{\"prompt\":\"".getBytes(StandardCharsets.UTF_8);
    System.arraycopy(open, 0, text, 0, open.length);
    text[text.length - 2] = '"';
    text[text.length - 1] = '}';
    OpenAiException refused =
        assertThrows(OpenAiException.class, () -> OpenAiRequest.parse(Endpoint.COMPLETIONS, text));
    assertTrue(
        refused.error().message().length() < 500 && refused.error().message().contains("length"),
        refused.error().message());
    String name = "x".repeat(1_000_000);
    assertTrue(
        refused(Endpoint.COMPLETIONS, "{\"prompt\":\"a\",\"" + name + "\":1}").message().length()
            < 1500);
    StringBuilder prompts = new StringBuilder("\"a\"");
    for (int i = 0; i < 2048; i++) {
      prompts.append(",\"a\"");
    }
    assertEquals(
        "prompt: 2049 prompts (expected: at most 2048)",
        refused(Endpoint.COMPLETIONS, "{\"prompt\":[" + prompts + "]}").message());
  }
}
