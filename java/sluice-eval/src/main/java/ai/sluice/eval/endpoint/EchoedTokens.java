package ai.sluice.eval.endpoint;

import ai.sluice.eval.EvalAnswer;
import com.fasterxml.jackson.databind.JsonNode;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A prompt that a server gave back token by token, with the log-probability of each. */
final class EchoedTokens {
  private final URI uri;
  private final List<String> tokens = new ArrayList<>();
  private final JsonNode logprobs;
  private final JsonNode likeliest;
  private final int prompt;

  /**
   * Reads a response to {@code echo} with {@code logprobs}.
   *
   * @throws EndpointException when it holds none for the prompt
   */
  EchoedTokens(URI uri, JsonNode response) {
    this.uri = uri;
    JsonNode told = response.path("choices").path(0).path("logprobs");
    told.path("tokens").forEach(token -> tokens.add(token.asText()));
    logprobs = told.path("token_logprobs");
    likeliest = told.path("top_logprobs");
    // One token is generated, since not every server takes none.
    int generated = response.path("usage").path("completion_tokens").asInt(1);
    prompt = tokens.size() - generated;
    if (prompt <= 0 || logprobs.size() != tokens.size() || likeliest.size() != tokens.size()) {
      throw unsupported(uri, "no log-probabilities of the prompt's tokens", null);
    }
    int counted = response.path("usage").path("prompt_tokens").asInt(prompt);
    if (counted != prompt) {
      throw unsupported(
          uri, "log-probabilities of " + prompt + " tokens where the prompt has " + counted, null);
    }
  }

  /** What is said of a server that cannot score continuations. */
  static EndpointException unsupported(
      URI uri, String met, @Nullable EndpointException cause) {
    return new EndpointException(
        uri, cause == null ? 200 : cause.status().orElse(0),
        met + " (expected: those of a prompt with echo and logprobs, which tasks with choices"
            + " need; remedy: a server that has them, such as vLLM, or a task that is generated:"
            + " gsm8k, gsm8k_cot, humaneval, humaneval_instruct)",
        cause);
  }

  /** Tokens of the prompt. */
  int prompt() {
    return prompt;
  }

  /**
   * Where a continuation begins.
   *
   * @param continuation the end of the prompt
   * @return the first of the tokens whose texts together are exactly it; empty: a token lies over
   *     the joint, or the server does not show tokens as the text has them
   */
  OptionalInt begin(String continuation) {
    String end = "";
    for (int at = prompt - 1; at >= 0 && end.length() < continuation.length(); at--) {
      end = tokens.get(at) + end;
      if (end.equals(continuation)) {
        // A token without text before it may be the beginning of a character of the continuation.
        boolean sure = at == 0 || !tokens.get(at - 1).isEmpty();
        return sure ? OptionalInt.of(at) : OptionalInt.empty();
      }
    }
    return OptionalInt.empty();
  }

  /**
   * The score of the tokens from one on.
   *
   * @throws EndpointException when one has none, as the first of a prompt
   */
  EvalAnswer.Choice score(int begin) {
    double sum = 0;
    boolean greedy = true;
    for (int at = begin; at < prompt; at++) {
      if (!logprobs.path(at).isNumber()) {
        throw unsupported(uri, "token " + at + " of the prompt has no log-probability", null);
      }
      double own = logprobs.path(at).asDouble();
      sum += own;
      for (JsonNode other : likeliest.path(at)) {
        greedy &= own >= other.asDouble();
      }
    }
    return new EvalAnswer.Choice(sum, greedy);
  }
}
