package ai.sluice.openai;

import ai.sluice.api.GenerationRequest;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A request body, read. Immutable.
 *
 * @param endpoint what it was sent to
 * @param requests what to generate: one for each prompt, in order; a chat has one
 * @param model the model that it names, if it names one
 * @param stream whether the answer is wanted in pieces
 * @param streamUsage whether a streamed answer ends with its usage
 * @param echo whether the prompt is repeated before its continuation
 * @param logprobs whether log-probabilities are wanted; with {@code echo} those of the prompt too
 * @param generates whether anything is generated; false where a prompt is only scored
 * @param tokenIds whether choices tell the ids of their tokens
 * @param requestId what the sender calls it, if he does
 */
public record OpenAiRequest(
    Endpoint endpoint,
    List<GenerationRequest> requests,
    Optional<String> model,
    boolean stream,
    boolean streamUsage,
    boolean echo,
    boolean logprobs,
    boolean generates,
    boolean tokenIds,
    Optional<String> requestId) {
  /** Copies the list. */
  public OpenAiRequest {
    requests = List.copyOf(requests);
  }

  /**
   * Reads a body.
   *
   * @param json in UTF-8
   * @throws OpenAiException if it cannot be served, with the field that is wrong
   */
  public static OpenAiRequest parse(Endpoint endpoint, byte[] json) {
    return parse(endpoint, StrictBody.parse(json));
  }

  /**
   * Reads a body that is parsed already.
   *
   * @param body made by {@link StrictBody}
   * @throws OpenAiException if it cannot be served, with the field that is wrong
   */
  public static OpenAiRequest parse(Endpoint endpoint, ObjectNode body) {
    Fields fields = new Fields(body, "");
    Common common = Common.read(fields);
    return endpoint == Endpoint.CHAT_COMPLETIONS
        ? ChatBody.read(fields, common)
        : CompletionBody.read(fields, common);
  }

  /** The same with other requests in place of its own, as many. */
  public OpenAiRequest withRequests(List<GenerationRequest> others) {
    return new OpenAiRequest(
        endpoint, others, model, stream, streamUsage, echo, logprobs, generates, tokenIds,
        requestId);
  }

  /** Whether the prompts' own tokens are scored. */
  public boolean scoresPrompts() {
    return echo && logprobs;
  }

  /** Fields that bodies of both endpoints have and that are no part of what is generated. */
  record Common(
      @Nullable String model,
      boolean stream,
      boolean streamUsage,
      boolean tokenIds,
      @Nullable String requestId) {
    private static final int MAX_ID_LENGTH = 256;

    static Common read(Fields fields) {
      String model = fields.text("model");
      boolean stream = fields.isTrue("stream");
      boolean usage = false;
      Fields options = fields.object("stream_options");
      if (options != null) {
        if (!stream) {
          throw Fields.invalid("stream_options", "given", "none without stream: true");
        }
        usage = options.isTrue("include_usage");
        options.ignore("include_obfuscation");
        options.only("continuous_usage_stats", "false", "usage comes at the end");
        options.refuseOthers();
      }
      String id = fields.text("request_id");
      if (id != null && (id.isEmpty() || id.length() > MAX_ID_LENGTH)) {
        throw Fields.invalid(
            "request_id", id.length() + " characters", "1 to " + MAX_ID_LENGTH + " characters");
      }
      return new Common(model, stream, usage, fields.isTrue("return_token_ids"), id);
    }

    OpenAiRequest with(
        Endpoint endpoint,
        List<GenerationRequest> requests,
        boolean echo,
        boolean logprobs,
        boolean generates) {
      return new OpenAiRequest(
          endpoint,
          requests,
          Optional.ofNullable(model),
          stream,
          streamUsage,
          echo,
          logprobs,
          generates,
          tokenIds,
          Optional.ofNullable(requestId));
    }
  }
}
