package ai.sluice.openai;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * An error as OpenAI's API tells it. Immutable.
 *
 * @param status the HTTP status
 * @param type the kind, for example {@code invalid_request_error}
 * @param message the value met, what was expected, and the remedy
 * @param param the field of the body that is wrong, if it is one
 * @param code a word for programs, if there is one
 */
public record OpenAiError(
    int status, String type, String message, @Nullable String param, @Nullable String code) {
  /** The kind of every error that the sender of a body can avoid. */
  public static final String INVALID = "invalid_request_error";

  private static final String SERVER = "server_error";
  private static final Pattern FIELD = Pattern.compile("([A-Za-z_][\\w.\\[\\]]*): ");

  /** Names of the library for what a body calls otherwise. */
  private static final Map<String, String> PARAMS =
      Map.of(
          "promptTokens", "prompt",
          "maxNewTokens", "max_tokens",
          "stopTokenIds", "stop_token_ids",
          "logitBias", "logit_bias",
          "responseFormat", "response_format",
          "maxReasoningTokens", "max_reasoning_tokens");

  /** A wrong body: status 400. */
  static OpenAiError invalid(@Nullable String param, @Nullable String code, String message) {
    return new OpenAiError(400, INVALID, message, param, code);
  }

  /**
   * What a failure of the library is to the sender of a request.
   *
   * @param failure of any kind; one that the library did not mean is a defect and says so
   */
  public static OpenAiError of(Throwable failure) {
    String message = String.valueOf(failure.getMessage());
    if (failure instanceof OpenAiException known) {
      return known.error();
    }
    if (failure instanceof InvalidRequestException) {
      Matcher field = FIELD.matcher(message);
      String param = field.lookingAt() ? field.group(1) : null;
      boolean tooLong = "prompt".equals(param) && message.contains(" tokens (expected: at most ");
      return invalid(
          param == null ? null : PARAMS.getOrDefault(param.replaceAll("[.\\[].*", ""), param),
          tooLong ? "context_length_exceeded" : "invalid_value",
          message);
    }
    if (failure instanceof CheckpointFormatException
        || failure instanceof UnsupportedModelException) {
      return invalid(null, "unsupported_by_model", message);
    }
    if (failure instanceof EngineFailedException || failure instanceof EngineClosedException) {
      return new OpenAiError(503, SERVER, message, null, "engine_unavailable");
    }
    return new OpenAiError(500, SERVER, "defect: " + failure, null, "internal_error");
  }

  /** The error that a result is, unless it is an answer. */
  public static Optional<OpenAiError> of(GenerationResult result) {
    return of(result.finishReason(), result.detail());
  }

  /** The error that an end is, unless it is an answer's. */
  public static Optional<OpenAiError> of(FinishReason reason, String words) {
    String detail = words.isEmpty() ? "" : ": " + words;
    return switch (reason) {
      case STOP, LENGTH, TOOL_CALLS -> Optional.empty();
      case TIMEOUT ->
          Optional.of(
              new OpenAiError(
                  408, SERVER, "timeout: passed before the end" + detail, null, "timeout"));
      case REJECTED ->
          Optional.of(
              new OpenAiError(
                  429, "rate_limit_error", "rejected" + detail, null, "queue_full"));
      case CANCELLED ->
          Optional.of(new OpenAiError(499, SERVER, "cancelled" + detail, null, "cancelled"));
      default ->
          Optional.of(
              new OpenAiError(500, SERVER, "generation failed" + detail, null, "engine_error"));
    };
  }

  /** Whether the same body may be answered another time. */
  public boolean isRetryable() {
    return status == 408 || status == 429 || status == 499 || status == 503;
  }

  /** The error as a response body. */
  public ObjectNode toJson() {
    ObjectNode body = JsonNodeFactory.instance.objectNode();
    body.putObject("error")
        .put("message", message)
        .put("type", type)
        .put("param", param)
        .put("code", code);
    return body;
  }
}
