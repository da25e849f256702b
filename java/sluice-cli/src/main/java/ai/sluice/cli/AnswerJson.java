package ai.sluice.cli;

import ai.sluice.api.ExpertLoad;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import ai.sluice.api.TopLogprob;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.Locale;
import java.util.Optional;

/** An answer as one JSON object on one line. */
final class AnswerJson {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private AnswerJson() {}

  static String of(String model, GenerationResult result, Optional<ExpertLoad> load) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
      json.setCodec(MAPPER);
      json.writeStartObject();
      json.writeStringField("model", model);
      write(json, result);
      if (!result.alternatives().isEmpty()) {
        json.writeArrayFieldStart("alternatives");
        for (GenerationResult alternative : result.alternatives()) {
          json.writeStartObject();
          write(json, alternative);
          json.writeEndObject();
        }
        json.writeEndArray();
      }
      if (load.isPresent()) {
        ExpertLoadText.write(json, load.get());
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text.toString();
  }

  private static void write(JsonGenerator json, GenerationResult result) throws IOException {
    json.writeStringField("text", result.text());
    if (!result.reasoning().isEmpty()) {
      json.writeStringField("reasoning", result.reasoning());
    }
    if (!result.toolCalls().isEmpty()) {
      json.writeArrayFieldStart("tool_calls");
      for (ToolCall call : result.toolCalls()) {
        json.writeStartObject();
        json.writeStringField("id", call.id().orElse(""));
        json.writeStringField("name", call.name());
        json.writePOJOField("arguments", call.arguments());
        json.writeEndObject();
      }
      json.writeEndArray();
    }
    json.writeArrayFieldStart("tokens");
    for (int token : result.tokens()) {
      json.writeNumber(token);
    }
    json.writeEndArray();
    json.writeStringField(
        "finish_reason", result.finishReason().name().toLowerCase(Locale.ROOT));
    if (!result.detail().isEmpty()) {
      json.writeStringField("detail", result.detail());
    }
    json.writeNumberField("seed", result.seed());
    json.writeObjectFieldStart("usage");
    json.writeNumberField("prompt_tokens", result.usage().promptTokens());
    json.writeNumberField("cached_prompt_tokens", result.usage().cachedPromptTokens());
    json.writeNumberField("new_tokens", result.usage().newTokens());
    json.writeEndObject();
    json.writeObjectFieldStart("timings");
    json.writeNumberField("queue_micros", result.timings().queueMicros());
    json.writeNumberField("prefill_micros", result.timings().prefillMicros());
    json.writeNumberField("decode_micros", result.timings().decodeMicros());
    json.writeNumberField("total_micros", result.timings().totalMicros());
    json.writeEndObject();
    if (!result.logprobs().isEmpty()) {
      json.writeArrayFieldStart("logprobs");
      for (TokenLogprob logprob : result.logprobs()) {
        write(json, logprob);
      }
      json.writeEndArray();
    }
  }

  private static void write(JsonGenerator json, TokenLogprob logprob) throws IOException {
    json.writeStartObject();
    json.writeNumberField("token", logprob.token());
    json.writeStringField("text", logprob.text());
    json.writeNumberField("logprob", logprob.logprob());
    json.writeNumberField("rank", logprob.rank());
    json.writeArrayFieldStart("top");
    for (TopLogprob top : logprob.top()) {
      json.writeStartObject();
      json.writeNumberField("token", top.token());
      json.writeStringField("text", top.text());
      json.writeNumberField("logprob", top.logprob());
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
  }
}
