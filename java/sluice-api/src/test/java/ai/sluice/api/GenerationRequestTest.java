package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class GenerationRequestTest {
  private static void refused(String start, Executable action) {
    InvalidRequestException e = assertThrows(InvalidRequestException.class, action);
    assertTrue(e.getMessage().startsWith(start), e.getMessage());
    assertTrue(e.getMessage().contains("(expected:"), e.getMessage());
  }

  private static GenerationRequest.Builder builder() {
    return GenerationRequest.builder().prompt("hello");
  }

  @Test
  void exactlyOneInput() {
    refused("input: 0", () -> GenerationRequest.builder().build());
    refused("input: 2", () -> builder().promptTokens(1).build());
    refused("input: 3", () -> builder().promptTokens(1)
        .messages(List.of(ChatMessage.user("x"))).build());
  }

  @Test
  void emptyInputsAreRefused() {
    refused("prompt: empty", () -> GenerationRequest.of(""));
    refused("promptTokens: empty", () -> GenerationRequest.builder().promptTokens());
    refused("messages: empty", () -> GenerationRequest.builder().messages(List.of()));
    refused("prompt: null", () -> GenerationRequest.of(null));
  }

  @Test
  void halfASurrogatePairIsRefused() {
    refused("prompt: half a surrogate pair at index 1", () -> GenerationRequest.of("a\ud83d"));
    refused("prompt: half a surrogate pair at index 0", () -> GenerationRequest.of("\ude00b"));
    refused("prompt: half a surrogate pair at index 0", () -> GenerationRequest.of("\ud83dx"));
    refused("messages.content: half", () -> GenerationRequest.builder()
        .messages(List.of(ChatMessage.user("\ud83d"))));
    assertEquals("\ud83d\ude00", GenerationRequest.of("\ud83d\ude00").prompt().orElseThrow());
  }

  @Test
  void tokensAreCopiedAndChecked() {
    int[] tokens = {1, 2};
    GenerationRequest request = GenerationRequest.builder().promptTokens(tokens).build();
    tokens[0] = 9;
    request.promptTokens().orElseThrow()[1] = 9;
    assertArrayEquals(new int[] {1, 2}, request.promptTokens().orElseThrow());
    refused("promptTokens[1]: -1", () -> GenerationRequest.builder().promptTokens(0, -1));
  }

  @Test
  void numbersAreHeldToTheirRanges() {
    for (int wrong : new int[] {0, -1, Integer.MIN_VALUE}) {
      refused("maxNewTokens: " + wrong, () -> builder().maxNewTokens(wrong));
    }
    assertEquals(Integer.MAX_VALUE,
        builder().maxNewTokens(Integer.MAX_VALUE).build().maxNewTokens().orElseThrow());
    for (int wrong : new int[] {-1, 1001, Integer.MAX_VALUE}) {
      refused("logprobs: " + wrong, () -> builder().logprobs(wrong));
    }
    refused("stopTokenIds: -1", () -> builder().stopTokenIds(3, -1));
    refused("stopTokenIds: 1025", () -> builder().stopTokenIds(new int[1025]));
    refused("timeout: PT0S", () -> builder().timeout(Duration.ZERO));
    refused("timeout: PT-1S", () -> builder().timeout(Duration.ofSeconds(-1)));
    for (Duration wrong : new Duration[] {Duration.ZERO, Duration.ofNanos(-1)}) {
      refused("queueTimeout: " + wrong, () -> builder().queueTimeout(wrong));
      refused("firstTokenTimeout: " + wrong, () -> builder().firstTokenTimeout(wrong));
    }
    for (int wrong : new int[] {Integer.MIN_VALUE, -1, 0, 129, Integer.MAX_VALUE}) {
      refused("n: " + wrong, () -> builder().n(wrong));
    }
    assertEquals(128, builder().n(128).build().n());
    for (int wrong : new int[] {Integer.MIN_VALUE, -1}) {
      refused("maxReasoningTokens: " + wrong, () -> builder().maxReasoningTokens(wrong));
    }
    assertEquals(
        Integer.MAX_VALUE,
        builder().maxReasoningTokens(Integer.MAX_VALUE).build().maxReasoningTokens().orElse(0));
    for (int priority : new int[] {Integer.MIN_VALUE, Integer.MAX_VALUE}) {
      assertEquals(priority, builder().priority(priority).build().priority());
    }
    assertEquals(Long.MIN_VALUE, builder().seed(Long.MIN_VALUE).build().seed().orElseThrow());
  }

  @Test
  void stopStringsAreHeldToTheirRanges() {
    refused("stop: length: 0", () -> builder().stop(""));
    refused("stop: length: 1025", () -> builder().stop("x".repeat(1025)));
    refused("stop: 65 entries", () -> builder().stop(Collections.nCopies(65, "x")));
    refused("stop: null", () -> builder().stop((List<String>) null));
  }

  @Test
  void toolsNeedMessages() {
    ToolDefinition tool = ToolDefinition.function("f", "does f", Map.of());
    refused("tools: 1", () -> builder().tools(List.of(tool)).build());
    GenerationRequest.builder().messages(List.of(ChatMessage.user("x"))).tools(List.of(tool))
        .build();
  }

  @Test
  void samplingNumbersAreHeldToTheirRanges() {
    for (double wrong :
        new double[] {-1, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 1e300}) {
      refused("temperature", () -> Sampling.builder().temperature(wrong));
      refused("topP", () -> Sampling.builder().topP(wrong));
      refused("minP", () -> Sampling.builder().minP(wrong));
      refused("repetitionPenalty", () -> Sampling.builder().repetitionPenalty(wrong));
    }
    for (double wrong : new double[] {-101, 101, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused("presencePenalty", () -> Sampling.builder().presencePenalty(wrong));
      refused("frequencyPenalty", () -> Sampling.builder().frequencyPenalty(wrong));
    }
    refused("topP: 0.0", () -> Sampling.builder().topP(0));
    refused("minP: 1.0", () -> Sampling.builder().minP(1));
    refused("repetitionPenalty: 0.0", () -> Sampling.builder().repetitionPenalty(0));
    refused("topK: -1", () -> Sampling.builder().topK(-1));
    assertEquals(OptionalDouble.of(1), Sampling.builder().topP(1).build().topP());
  }

  @Test
  void logitBiasIsChecked() {
    refused("logitBias token: -1", () -> Sampling.builder().logitBias(-1, 0));
    refused("logitBias[3]: NaN", () -> Sampling.builder().logitBias(3, Float.NaN));
    refused("logitBias[3]: Inf", () -> Sampling.builder().logitBias(3, Float.POSITIVE_INFINITY));
    Sampling.Builder full = Sampling.builder();
    for (int i = 0; i < Sampling.MAX_LOGIT_BIASES; i++) {
      full.logitBias(i, Float.NEGATIVE_INFINITY);
    }
    full.logitBias(0, 1f);
    refused("logitBias: 1025 entries", () -> full.logitBias(Sampling.MAX_LOGIT_BIASES, 1f));
  }

  @Test
  void toBuilderKeepsEveryValue() {
    Sampling sampling =
        Sampling.builder().temperature(0.5).topK(3).topP(0.9).minP(0.1).repetitionPenalty(1.1)
            .presencePenalty(0.2).frequencyPenalty(0.3).logitBias(4, 1f).build();
    assertEquals(sampling, sampling.toBuilder().build());
    assertFalse(sampling.equals(Sampling.unset()));
    GenerationRequest request =
        builder().sampling(sampling).maxNewTokens(7).stop("a", "b").stopTokenIds(5, 6).seed(1)
            .logprobs(2).timeout(Duration.ofSeconds(3)).ignoreEos(true).n(3).priority(-4)
            .queueTimeout(Duration.ofSeconds(4)).firstTokenTimeout(Duration.ofSeconds(5))
            .responseFormat(ResponseFormat.regex("a")).maxReasoningTokens(6).speculation(false)
            .reasoningFormat(ReasoningFormat.THINK).toolCallFormat(ToolCallFormat.OFF)
            .literalContent(true)
            .cacheSalt("salt").head("reasoning")
            .templateVariables(Map.of("enable_thinking", true)).build();
    GenerationRequest copy = request.toBuilder().build();
    assertEquals(request.prompt(), copy.prompt());
    assertEquals(request.sampling(), copy.sampling());
    assertEquals(request.maxNewTokens(), copy.maxNewTokens());
    assertEquals(request.stop(), copy.stop());
    assertEquals(request.stopTokenIds(), copy.stopTokenIds());
    assertEquals(request.seed(), copy.seed());
    assertEquals(request.logprobs(), copy.logprobs());
    assertEquals(request.timeout(), copy.timeout());
    assertEquals(request.templateVariables(), copy.templateVariables());
    assertTrue(copy.ignoreEos());
    assertEquals(3, copy.n());
    assertEquals(-4, copy.priority());
    assertEquals(request.queueTimeout(), copy.queueTimeout());
    assertEquals(request.firstTokenTimeout(), copy.firstTokenTimeout());
    assertEquals(request.responseFormat(), copy.responseFormat());
    assertEquals(6, copy.maxReasoningTokens().orElse(0));
    assertEquals(request.reasoningFormat(), copy.reasoningFormat());
    assertEquals(request.toolCallFormat(), copy.toolCallFormat());
    assertTrue(copy.literalContent());
    assertFalse(copy.speculation());
    assertEquals("salt", copy.cacheSalt());
    assertEquals("reasoning", copy.head().orElse(""));
  }

  @Test
  void toStringDoesNotShowThePrompt() {
    assertFalse(builder().build().toString().contains("hello"));
  }
}
