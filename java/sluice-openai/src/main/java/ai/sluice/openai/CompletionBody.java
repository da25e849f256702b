package ai.sluice.openai;

import ai.sluice.api.GenerationRequest;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;

/** Reads bodies of {@code /v1/completions}. */
final class CompletionBody {
  /** Prompts that one body may have. */
  static final int MAX_PROMPTS = 2048;

  private CompletionBody() {}

  static OpenAiRequest read(Fields fields, OpenAiRequest.Common common) {
    GenerationRequest.Builder builder = GenerationFields.read(fields);
    boolean echo = fields.isTrue("echo");
    Integer logprobs = fields.whole("logprobs");
    fields.give("logprobs", logprobs, builder::logprobs);
    // Who asks for no token wants the prompt scored, as evaluation harnesses do.
    boolean mayBeNone = echo && logprobs != null;
    Integer most =
        GenerationFields.maxTokens(
            fields, "max_tokens", "max_completion_tokens", mayBeNone ? 0 : 1);
    boolean generates = most == null || most > 0;
    fields.give("max_tokens", generates ? most : null, builder::maxNewTokens);
    fields.never("suffix", "nothing is filled in between");
    Integer best = fields.whole("best_of");
    Integer n = fields.whole("n");
    if (best != null && best != (n == null ? 1 : n)) {
      throw Fields.invalid("best_of", best.toString(), "the same as n; none is chosen among more");
    }
    List<GenerationRequest> requests = new ArrayList<>();
    JsonNode prompt = fields.required("prompt", "a string, token ids, or an array of these");
    prompts(fields, prompt, builder, requests);
    fields.refuseOthers();
    return common.with(Endpoint.COMPLETIONS, requests, echo, logprobs != null, generates);
  }

  private static void prompts(
      Fields fields,
      JsonNode prompt,
      GenerationRequest.Builder builder,
      List<GenerationRequest> requests) {
    if (prompt.isTextual()) {
      requests.add(text(fields, "prompt", prompt, builder));
      return;
    }
    if (!(prompt instanceof ArrayNode array)) {
      throw Fields.wrongType("prompt", prompt, "a string, token ids, or an array of these");
    }
    if (array.isEmpty()) {
      throw Fields.invalid("prompt", "an empty array", "at least one prompt or token id");
    }
    JsonNode first = array.get(0);
    if (first.isNumber()) {
      requests.add(tokens(fields, "prompt", array, builder));
      return;
    }
    if (array.size() > MAX_PROMPTS) {
      throw Fields.invalid("prompt", array.size() + " prompts", "at most " + MAX_PROMPTS);
    }
    if (!first.isTextual() && !first.isArray()) {
      throw Fields.wrongType("prompt[0]", first, "a string or an array of token ids");
    }
    for (JsonNode element : array) {
      String path = "prompt[" + requests.size() + "]";
      requests.add(
          first.isTextual()
              ? text(fields, path, element, builder)
              : tokens(fields, path, Fields.array(path, element), builder));
    }
  }

  private static GenerationRequest text(
      Fields fields, String path, JsonNode prompt, GenerationRequest.Builder builder) {
    fields.give(path, Fields.text(path, prompt), builder::prompt);
    return builder.build();
  }

  private static GenerationRequest tokens(
      Fields fields, String path, ArrayNode ids, GenerationRequest.Builder builder) {
    fields.give(path, GenerationFields.wholes(path, ids), builder::promptTokens);
    return builder.build();
  }
}
