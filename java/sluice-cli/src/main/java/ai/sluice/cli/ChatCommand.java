package ai.sluice.cli;

import ai.sluice.api.Chunk;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.Engine;
import ai.sluice.core.Generation;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A conversation with the model. */
@Command(
    name = "chat",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Talk with the model, message by message.",
      "Ctrl-C stops an answer, Ctrl-D or /exit ends the conversation, /help lists the commands."
    },
    footer = {
      "",
      "Examples:",
      "  sluice chat",
      "  sluice chat -t 0.7 --system \"You are a patient teacher.\"",
      "  printf 'Hello\\n/exit\\n' | sluice chat"
    })
final class ChatCommand implements Callable<Integer> {
  private final Console console;

  @Option(
      names = {"-s", "--system"},
      paramLabel = "TEXT",
      description = "A system message before the conversation.")
  @Nullable String system;

  @Mixin EngineArguments engineArguments = new EngineArguments();
  @Mixin RequestArguments requestArguments = new RequestArguments();

  @Option(names = "--stats", description = "Print timings to standard error after each answer.")
  boolean stats;

  ChatCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    GenerationRequest.Builder request = requestArguments.request();
    try (EngineArguments.LoadLine line = new EngineArguments.LoadLine(console);
        Engine engine = Engine.open(engineArguments.singleUser(console, line).build())) {
      line.wipe();
      if (!engine.modelInfo().hasChatTemplate()) {
        throw new InvalidRequestException(
            "chat: " + engine.modelInfo().path() + " has no chat template (expected: an instruct"
                + " model; 'sluice generate --raw' continues a text with any model)");
      }
      if (console.interactive()) {
        console.err().println(banner(engine.modelInfo()));
      }
      try (ChatInput input =
          console.interactive() ? new TerminalInput(console) : new PipedInput(console.in())) {
        ChatSession session =
            new ChatSession(
                console,
                input,
                (answer, chunks) -> answer(engine, input, answer, chunks),
                request,
                stats);
        if (system != null) {
          session.setSystem(system);
        }
        session.run();
      }
    }
    return Failures.OK;
  }

  private static String banner(ModelInfo model) {
    return ModelStore.nameOf(model.path().toAbsolutePath()) + ", "
        + model.dtype().name().toLowerCase(Locale.ROOT) + ", context "
        + Sizes.count(model.maxContextLength()) + " tokens, sampling " + model.sampling().source()
        + "; /help lists the commands";
  }

  private static GenerationResult answer(
      Engine engine, ChatInput input, GenerationRequest request, Consumer<Chunk> chunks) {
    try (Generation generation = engine.submit(request)) {
      input.interruptible(
          () -> generation.forEach(chunks), generation::cancel);
      return GenerateCommand.resultOf(generation);
    }
  }
}
