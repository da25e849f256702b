package ai.sluice.cli;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.core.Engine;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Prints the scores of a classification head. */
@Command(
    name = "classify",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Print the scores that a model's classification head gives a prompt, one line per label.",
      "The prompt is taken as it is; 'sluice inspect' names a model's heads."
    },
    footer = {
      "",
      "Examples:",
      "  sluice classify -m ~/models/mine \"A fine day\"",
      "  sluice classify -m tests/golden/fixtures/adaptive_moe --tokens 5,17,42 --json"
    })
final class ClassifyCommand implements Callable<Integer> {
  private final Console console;

  @Mixin PromptArguments promptArguments = new PromptArguments();

  @Option(
      names = "--head",
      paramLabel = "NAME",
      description = "The head; default: the first that gives scores.")
  @Nullable String head;

  @Mixin EngineArguments engineArguments = new EngineArguments();

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      description = "Give up after this time.")
  @Nullable Double timeout;

  @Option(names = "--json", description = "Print one JSON object instead of lines.")
  boolean json;

  ClassifyCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ClassificationRequest.Builder request = ClassificationRequest.builder();
    String text = promptArguments.text(console);
    if (promptArguments.areTokens()) {
      Values.give("--tokens", promptArguments.ids(), request::promptTokens);
    } else {
      request.prompt(text);
    }
    Values.give("--head", head, request::head);
    Values.giveSeconds("--timeout", timeout, request::timeout);
    try (EngineArguments.LoadLine line = new EngineArguments.LoadLine(console);
        Engine engine = Engine.open(engineArguments.singleUser(console, line).build())) {
      line.wipe();
      ClassificationResult result = engine.classify(request.build());
      if (!result.succeeded()) {
        throw new CommandException(
            "classification: " + result.finishReason()
                + (result.detail().isEmpty() ? "" : ", " + result.detail())
                + " (expected: STOP)");
      }
      console.print(
          json ? json(engine.modelInfo().path().toString(), result) + "\n" : lines(result));
    }
    return Failures.OK;
  }

  /** A line per label, and which is the highest. */
  static String lines(ClassificationResult result) {
    StringBuilder lines = new StringBuilder();
    for (int label = 0; label < result.scores().size(); label++) {
      lines.append(
          String.format(
              Locale.ROOT, "label %-3d  %12.6f%s%n", label, result.scores().get(label),
              label == result.label() ? "  highest" : ""));
    }
    return lines.toString();
  }

  static String json(String model, ClassificationResult result) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
      json.writeStartObject();
      json.writeStringField("model", model);
      json.writeNumberField("label", result.label());
      json.writeArrayFieldStart("scores");
      for (float score : result.scores()) {
        json.writeNumber(score);
      }
      json.writeEndArray();
      json.writeObjectFieldStart("usage");
      json.writeNumberField("prompt_tokens", result.usage().promptTokens());
      json.writeEndObject();
      json.writeObjectFieldStart("timings");
      json.writeNumberField("queue_micros", result.timings().queueMicros());
      json.writeNumberField("prefill_micros", result.timings().prefillMicros());
      json.writeNumberField("total_micros", result.timings().totalMicros());
      json.writeEndObject();
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text.toString();
  }
}
