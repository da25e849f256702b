package ai.sluice.openai;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Usage;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** Makes response bodies of results. */
public final class OpenAiResponse {
  private OpenAiResponse() {}

  /**
   * The body that answers a request.
   *
   * @param done one for each of its requests, in their order, all of them answers
   * @param model what answered
   * @param id of the response, for example {@code chatcmpl-…}
   * @param created in seconds of the epoch
   * @throws OpenAiException if a result is no answer, or the request names another model
   */
  public static ObjectNode of(
      OpenAiRequest request,
      List<CompletionWork.Done> done,
      ServedModel model,
      String id,
      long created) {
    if (done.size() != request.requests().size()) {
      throw new IllegalArgumentException(
          "done: " + done.size() + " (expected: " + request.requests().size() + ")");
    }
    boolean chat = request.endpoint() == Endpoint.CHAT_COMPLETIONS;
    ObjectNode body = JsonNodeFactory.instance.objectNode();
    body.put("id", id);
    body.put("object", chat ? "chat.completion" : "text_completion");
    body.put("created", created);
    body.put("model", model.nameFor(request));
    ArrayNode choices = body.putArray("choices");
    for (int i = 0; i < done.size(); i++) {
      CompletionWork.Done each = done.get(i);
      each.score()
          .flatMap(score -> OpenAiError.of(score.finishReason(), score.detail()))
          .ifPresent(
              error -> {
                throw new OpenAiException(error);
              });
      for (GenerationResult result : each.generated().all()) {
        OpenAiError.of(result)
            .ifPresent(
                error -> {
                  throw new OpenAiException(error);
                });
        ObjectNode choice = choices.addObject().put("index", choices.size() - 1);
        if (chat) {
          chatChoice(choice, request, result, id);
        } else {
          textChoice(choice, request, request.requests().get(i), result, each, model);
        }
      }
    }
    usage(body, usage(done));
    body.put("system_fingerprint", model.fingerprint());
    return body;
  }

  /**
   * The id of a response.
   *
   * @param unique what no other response has, where the sender has not named it
   */
  public static String idOf(OpenAiRequest request, String unique) {
    String prefix = request.endpoint() == Endpoint.CHAT_COMPLETIONS ? "chatcmpl-" : "cmpl-";
    return prefix + request.requestId().orElse(unique);
  }

  /** The tokens of all results: each prompt once, however many alternatives it has. */
  public static Usage usage(List<CompletionWork.Done> done) {
    int prompt = 0;
    int cached = 0;
    int completion = 0;
    for (CompletionWork.Done each : done) {
      GenerationResult first = each.generated();
      prompt += first.usage().promptTokens();
      cached += first.usage().cachedPromptTokens();
      for (GenerationResult result : first.all()) {
        completion += result.usage().newTokens();
      }
    }
    return new Usage(prompt, cached, completion);
  }

  private static void chatChoice(
      ObjectNode choice, OpenAiRequest request, GenerationResult result, String id) {
    ObjectNode message = choice.putObject("message");
    message.put("role", "assistant");
    // A message that only calls tools has no content, which is not the same as an empty one.
    boolean silent = result.text().isBlank() && !result.toolCalls().isEmpty();
    message.put("content", silent ? null : result.text());
    message.putNull("refusal");
    if (!result.reasoning().isEmpty()) {
      message.put("reasoning_content", result.reasoning());
    }
    if (!result.toolCalls().isEmpty()) {
      String prefix = "call_" + id.substring(id.indexOf('-') + 1) + "_" + choice.get("index");
      ToolCallJson.write(message.putArray("tool_calls"), result.toolCalls(), prefix);
    }
    if (request.logprobs()) {
      LogprobsJson.chat(choice.putObject("logprobs"), result.logprobs());
    } else {
      choice.putNull("logprobs");
    }
    finish(choice, request, result);
  }

  private static void textChoice(
      ObjectNode choice,
      OpenAiRequest request,
      GenerationRequest asked,
      GenerationResult result,
      CompletionWork.Done done,
      ServedModel model) {
    String prompt = request.echo() ? promptText(asked, model) : "";
    choice.put("text", prompt + result.text());
    if (request.logprobs()) {
      LogprobsJson json = new LogprobsJson(choice.putObject("logprobs"));
      if (request.scoresPrompts()) {
        json.prompt(done, model);
      }
      json.completion(result.logprobs(), prompt.length());
    } else {
      choice.putNull("logprobs");
    }
    finish(choice, request, result);
  }

  private static void finish(ObjectNode choice, OpenAiRequest request, GenerationResult result) {
    boolean calls =
        request.endpoint() == Endpoint.CHAT_COMPLETIONS && !result.toolCalls().isEmpty();
    choice.put(
        "finish_reason",
        calls && result.finishReason() == FinishReason.STOP
            ? finishReason(FinishReason.TOOL_CALLS)
            : finishReason(result.finishReason()));
    if (request.tokenIds()) {
      ArrayNode ids = choice.putArray("token_ids");
      result.tokens().forEach(ids::add);
    }
  }

  /** What OpenAI calls the end of an answer. */
  static String finishReason(FinishReason reason) {
    return switch (reason) {
      case STOP -> "stop";
      case TOOL_CALLS -> "tool_calls";
      case LENGTH -> "length";
      default -> "error";
    };
  }

  private static String promptText(GenerationRequest asked, ServedModel model) {
    if (asked.prompt().isPresent()) {
      return asked.prompt().get();
    }
    return model.requireTokenizer("echo").decode(asked.promptTokens().orElseThrow(), false);
  }

  private static void usage(ObjectNode body, Usage usage) {
    ObjectNode json = body.putObject("usage");
    json.put("prompt_tokens", usage.promptTokens());
    json.put("completion_tokens", usage.newTokens());
    json.put("total_tokens", usage.totalTokens());
    json.putObject("prompt_tokens_details").put("cached_tokens", usage.cachedPromptTokens());
  }
}
