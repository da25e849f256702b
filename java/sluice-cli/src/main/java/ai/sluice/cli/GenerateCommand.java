package ai.sluice.cli;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.Chunk;
import ai.sluice.api.ExpertLoad;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.core.Engine;
import ai.sluice.core.Generation;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Answers one prompt. */
@Command(
    name = "generate",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Answer one prompt, streamed to standard output as it comes.",
      "A model with a chat template sees the prompt as a user's message, unless --raw is given."
    },
    footer = {
      "",
      "Examples:",
      "  sluice generate \"Why is the sky blue?\"",
      "  sluice generate --raw -n 40 \"Once upon a time\"",
      "  sluice generate -t 0.7 --seed 1 --system \"Answer in one sentence.\" --file question.txt",
      "  echo \"Hello\" | sluice generate - --json"
    })
final class GenerateCommand implements Callable<Integer> {
  private final Console console;

  @Mixin PromptArguments promptArguments = new PromptArguments();

  @Option(
      names = {"-s", "--system"},
      paramLabel = "TEXT",
      description = "A system message before the prompt.")
  @Nullable String system;

  @Option(names = "--raw", description = "Continue the prompt as it is, without a chat template.")
  boolean raw;

  @Option(
      names = "--head",
      paramLabel = "NAME",
      description = "The head that chooses tokens; default: the model's generation head.")
  @Nullable String head;

  @Option(
      names = "--tools",
      paramLabel = "FILE",
      description = "Tools that the model may call: a JSON list as in OpenAI's requests.")
  @Nullable String tools;

  @Mixin EngineArguments engineArguments = new EngineArguments();
  @Mixin RequestArguments requestArguments = new RequestArguments();

  @Option(
      names = "--alternatives",
      paramLabel = "N",
      description = "Answer N times, each in its own way; the prompt is computed once.")
  @Nullable Integer alternatives;

  @Option(
      names = "--logprobs",
      paramLabel = "N",
      description = "With --json: log-probabilities, with the N likeliest tokens each.")
  @Nullable Integer logprobs;

  @Option(names = "--json", description = "Print one JSON object at the end instead of the text.")
  boolean json;

  @Option(
      names = "--expert-load",
      description = "Print how evenly experts were used to standard error, or into the JSON.")
  boolean expertLoad;

  @Option(names = "--stats", description = "Print timings to standard error; a terminal has them.")
  boolean stats;

  GenerateCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    console.mark("options read");
    GenerationRequest.Builder request = requestArguments.request();
    Values.give("--logprobs", logprobs, request::logprobs);
    Values.give("--alternatives", alternatives, request::n);
    if (raw && system != null) {
      throw new InvalidRequestException(
          "--system: given with --raw (expected: one of them; --raw has no place for a system"
              + " message)");
    }
    if (logprobs != null && !json) {
      throw new InvalidRequestException(
          "--logprobs: " + logprobs
              + " without --json (expected: --logprobs together with --json)");
    }
    Values.give("--head", head, request::head);
    if (promptArguments.areTokens() && system != null) {
      throw new InvalidRequestException(
          "--system: given with --tokens (expected: one of them; token ids are taken as they are)");
    }
    if (tools != null) {
      if (raw || promptArguments.areTokens()) {
        throw new InvalidRequestException(
            "--tools: given with " + (raw ? "--raw" : "--tokens") + " (expected: one of them; only"
                + " chat templates have a place for tools)");
      }
      Values.give("--tools", ToolFile.read(tools), request::tools);
    }
    String prompt = promptArguments.text(console);
    try (EngineArguments.LoadLine line = new EngineArguments.LoadLine(console);
        Engine engine =
            Engine.open(
                engineArguments
                    .singleUser(console, line)
                    .maxSequences(alternatives == null ? 1 : alternatives)
                    .reportExpertCounts(expertLoad)
                    .build())) {
      line.wipe();
      console.mark("engine open");
      return answer(engine, input(engine, request, prompt).build());
    }
  }

  private GenerationRequest.Builder input(
      Engine engine, GenerationRequest.Builder request, String prompt) {
    if (promptArguments.areTokens()) {
      Values.give("--tokens", promptArguments.ids(), request::promptTokens);
      return request;
    }
    if (raw
        || system == null && tools == null && !engine.modelInfo().hasChatTemplate()) {
      return request.prompt(prompt);
    }
    if (!engine.modelInfo().hasChatTemplate()) {
      throw new InvalidRequestException(
          (system != null ? "--system" : "--tools") + ": given, but " + engine.modelInfo().path() + " has no chat template (expected:"
              + " a model with one, or the instructions as part of the prompt)");
    }
    List<ChatMessage> messages = new ArrayList<>();
    if (system != null) {
      messages.add(ChatMessage.system(system));
    }
    messages.add(ChatMessage.user(prompt));
    return request.messages(messages);
  }

  private int answer(Engine engine, GenerationRequest request) {
    GenerationResult result;
    AnswerPrinter printer = new AnswerPrinter(console);
    try (Generation generation = engine.submit(request)) {
      boolean first = true;
      for (Chunk chunk : generation) {
        if (first) {
          console.mark("first token");
          first = false;
        }
        if (!json) {
          printer.accept(chunk);
        }
      }
      result = resultOf(generation);
    } finally {
      printer.endReasoning();
    }
    Optional<ExpertLoad> load = expertLoad ? Optional.of(engine.expertLoad()) : Optional.empty();
    if (json) {
      console.print(AnswerJson.of(engine.modelInfo().path().toString(), result, load) + "\n");
    } else {
      console.print((engine.modelInfo().hasTokenizer() ? "" : ids(result)) + "\n");
      int number = 2;
      for (GenerationResult other : result.alternatives()) {
        console.print(
            "\n[" + number++ + "]\n"
                + (engine.modelInfo().hasTokenizer() ? other.text() : ids(other)) + "\n");
      }
      load.ifPresent(counts -> console.err().print(ExpertLoadText.table(counts)));
    }
    if (stats || console.errTerminal()) {
      console.err().println(AnswerStats.line(result));
    }
    return check(result);
  }

  /** The tokens of a model that has no words for them. */
  private static String ids(GenerationResult result) {
    return result.tokens().stream().map(String::valueOf).collect(Collectors.joining(","));
  }

  /** The result of a generation; the engine's failure is thrown as it is. */
  static GenerationResult resultOf(Generation generation) {
    try {
      return generation.result().join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw e;
    }
  }

  /** An answer that ran out of time is what was asked for, but not whole: that is said. */
  int check(GenerationResult result) {
    if (result.finishReason() == FinishReason.TIMEOUT) {
      if (!stats && !console.errTerminal()) {
        console.err().println("(ended by " + AnswerStats.reason(result) + ")");
      }
      return Failures.OK;
    }
    if (result.finishReason() == FinishReason.STOP
        || result.finishReason() == FinishReason.TOOL_CALLS
        || result.finishReason() == FinishReason.LENGTH) {
      return Failures.OK;
    }
    throw new CommandException(
        "generation: " + result.finishReason() + (result.detail().isEmpty() ? "" : ", ")
            + result.detail() + " (expected: STOP, TOOL_CALLS, LENGTH or TIMEOUT)");
  }
}
