package ai.sluice.openai;

import ai.sluice.api.GenerationRequest;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads bodies of {@code /v1/chat/completions}. */
final class ChatBody {
  /** As OpenAI's; an engine may bound it lower. */
  private static final int MAX_TOP_LOGPROBS = 20;

  private static final Set<String> EFFORTS =
      Set.of("none", "minimal", "low", "medium", "high", "xhigh");

  private ChatBody() {}

  static OpenAiRequest read(Fields fields, OpenAiRequest.Common common) {
    GenerationRequest.Builder builder = GenerationFields.read(fields);
    fields.give(
        "max_tokens",
        GenerationFields.maxTokens(fields, "max_completion_tokens", "max_tokens", 1),
        builder::maxNewTokens);
    Integer logprobs = logprobs(fields);
    fields.give("top_logprobs", logprobs, builder::logprobs);
    fields.give("chat_template_kwargs", variables(fields), builder::templateVariables);
    fields.give("tools", ToolFields.read(fields), builder::tools);
    unbuilt(fields);
    fields.give(
        "messages",
        MessageFields.read(
            Fields.array("messages", fields.required("messages", "an array of messages"))),
        builder::messages);
    fields.refuseOthers();
    GenerationRequest[] request = new GenerationRequest[1];
    fields.give("messages", builder, made -> request[0] = made.build());
    return common.with(
        Endpoint.CHAT_COMPLETIONS, List.of(request[0]), false, logprobs != null, true);
  }

  private static @Nullable Integer logprobs(Fields fields) {
    boolean wanted = fields.isTrue("logprobs");
    Integer top = fields.whole("top_logprobs");
    if (top != null && (top < 0 || top > MAX_TOP_LOGPROBS)) {
      throw Fields.invalid("top_logprobs", top.toString(), "0 to " + MAX_TOP_LOGPROBS);
    }
    if (!wanted && top != null && top > 0) {
      throw Fields.invalid("top_logprobs", top.toString(), "logprobs: true beside it");
    }
    return wanted ? (top == null ? 0 : top) : null;
  }

  private static @Nullable Map<String, @Nullable Object> variables(Fields fields) {
    Map<String, @Nullable Object> given = fields.map("chat_template_kwargs");
    String effort = fields.text("reasoning_effort");
    if (effort == null) {
      return given;
    }
    if (!EFFORTS.contains(effort)) {
      throw Fields.invalid(
          "reasoning_effort",
          Fields.shown(fields.required("reasoning_effort", "")),
          "none, minimal, low, medium, high or xhigh");
    }
    Map<String, @Nullable Object> variables = new LinkedHashMap<>();
    variables.put("reasoning_effort", effort);
    if (effort.equals("none")) {
      // Templates with a switch instead of a degree know it by this name.
      variables.put("enable_thinking", false);
    }
    if (given != null) {
      variables.putAll(given);
    }
    return variables;
  }

  private static void unbuilt(Fields fields) {
    String text = "answers are text";
    fields.only("modalities", "[\"text\"]", text);
    fields.never("audio", text);
    fields.only("add_generation_prompt", "true", "an answer follows the messages");
    fields.only("continue_final_message", "false", "an answer is a message of its own");
    fields.never("chat_template", "the checkpoint's own is used");
    fields.never("documents", "put them into a message");
    fields.never("functions", "use tools");
    fields.never("function_call", "use tool_choice");
    fields.never("prediction", "drafts are made from the prompt");
    fields.never("web_search_options", "nothing is searched");
    fields.never("verbosity", "say it in a message");
    JsonNode echo = fields.value("echo");
    if (echo != null && !(echo.isBoolean() && !echo.booleanValue())) {
      throw Fields.invalid("echo", Fields.shown(echo), "false; /v1/completions repeats a prompt");
    }
  }
}
