package ai.sluice.cli;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.Chunk;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.StringJoiner;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.TypeConversionException;

/** A conversation: its messages, its settings, and the commands that change them. */
final class ChatSession {
  /** The commands, for completion. */
  static final List<String> COMMANDS =
      List.of("/help", "/reset", "/system", "/set", "/stats", "/save", "/load", "/exit");

  private static final String HELP =
      """
      /reset           forget the conversation
      /system [TEXT]   set the system message and start over; without TEXT: none
      /set             show the settings
      /set NAME VALUE  change one: temperature, top_k, top_p, min_p, repetition_penalty,
                       presence_penalty, frequency_penalty, max_new_tokens, seed
      /stats           timings of the last answer
      /save FILE       write the conversation as JSON
      /load FILE       read a conversation back
      /exit            end (also Ctrl-D); Ctrl-C stops an answer
      \"""              begins and ends a message of several lines
      """;

  private static final Pattern LOWER_CAMEL = Pattern.compile("(?<=[a-z])[A-Z]");
  private static final String BLOCK = "\"\"\"";

  /** Answers a request. */
  @FunctionalInterface
  interface Answerer {
    /**
     * Answers a request.
     *
     * @param chunks receives the answer piece by piece
     * @return the whole answer
     */
    GenerationResult answer(GenerationRequest request, Consumer<Chunk> chunks);
  }

  private final Console console;
  private final ChatInput input;
  private final Answerer answerer;
  private final boolean stats;
  private final GenerationRequest.Builder request;
  private final List<ChatMessage> messages = new ArrayList<>();
  private Sampling sampling;
  private @Nullable Integer maxNewTokens;
  private @Nullable Long seed;
  private @Nullable String system;
  private @Nullable GenerationResult last;

  /**
   * Starts a conversation.
   *
   * @param request the settings of each answer, without an input
   */
  ChatSession(
      Console console,
      ChatInput input,
      Answerer answerer,
      GenerationRequest.Builder request,
      boolean stats) {
    this.console = console;
    this.input = input;
    this.answerer = answerer;
    this.request = request;
    this.stats = stats;
    // A builder cannot be read; a request built from it can.
    GenerationRequest settings = request.messages(List.of(ChatMessage.user("x"))).build();
    sampling = settings.sampling();
    maxNewTokens =
        settings.maxNewTokens().isPresent() ? settings.maxNewTokens().getAsInt() : null;
    seed = settings.seed().isPresent() ? settings.seed().getAsLong() : null;
  }

  /** Reads and answers until the input ends or the user leaves. */
  void run() {
    for (String line = input.readLine("> "); line != null; line = input.readLine("> ")) {
      String message = line.strip();
      try {
        if (message.startsWith(BLOCK)) {
          message = block(message.substring(BLOCK.length()));
        } else if (message.equals("/exit") || message.equals("/quit")) {
          return;
        } else if (message.startsWith("/")) {
          command(message);
          continue;
        }
        if (!message.isBlank()) {
          answer(message);
        }
      } catch (InvalidRequestException | CommandException e) {
        // A value that cannot be served ends neither the conversation nor the program.
        console.err().println("sluice: " + Failures.line(e));
      }
    }
  }

  private String block(String begin) {
    if (begin.strip().endsWith(BLOCK)) {
      return begin.strip().substring(0, begin.strip().length() - BLOCK.length());
    }
    StringBuilder text = new StringBuilder(begin.isEmpty() ? "" : begin + "\n");
    for (String line = input.readLine(". "); line != null; line = input.readLine(". ")) {
      if (line.strip().endsWith(BLOCK)) {
        return text.append(line, 0, line.lastIndexOf(BLOCK)).toString();
      }
      text.append(line).append('\n');
    }
    return text.toString();
  }

  private void answer(String text) {
    List<ChatMessage> conversation = new ArrayList<>();
    if (system != null) {
      conversation.add(ChatMessage.system(system));
    }
    conversation.addAll(messages);
    ChatMessage question = ChatMessage.user(text);
    conversation.add(question);
    request.sampling(sampling).messages(conversation);
    Values.give("max_new_tokens", maxNewTokens, request::maxNewTokens);
    Values.give("seed", seed, request::seed);

    GenerationResult result;
    AnswerPrinter printer = new AnswerPrinter(console);
    try {
      result = answerer.answer(request.build(), printer);
    } catch (InvalidRequestException e) {
      throw new InvalidRequestException(
          e.getMessage() + (messages.isEmpty() ? "" : "; /reset starts over"), e);
    } finally {
      printer.endReasoning();
    }
    last = result;
    console.println("");
    // A cancelled answer stays: the next message may refer to what was said.
    messages.add(question);
    // What it reasoned with is no part of what was said: templates that want it read it by its key.
    messages.add(
        ChatMessage.builder("assistant")
            .content(result.text())
            .reasoning(result.reasoning().isEmpty() ? null : result.reasoning())
            .build());
    if (result.finishReason() != FinishReason.STOP) {
      console.err().println("(ended by " + AnswerStats.reason(result) + ")");
    }
    if (stats) {
      console.err().println(AnswerStats.line(result));
    }
  }

  private void command(String line) {
    String[] parts = line.split("\\s+", 2);
    String argument = parts.length > 1 ? parts[1] : "";
    switch (parts[0]) {
      case "/help", "/?" -> console.err().print(HELP);
      case "/reset" -> reset();
      case "/system" -> setSystem(argument);
      case "/set" -> set(argument);
      case "/stats" ->
          console.err().println(last == null ? "no answer yet" : AnswerStats.line(last));
      case "/save" -> {
        ChatFile.save(argument, system, messages);
        console.err().println(messages.size() + " messages saved");
      }
      case "/load" -> load(argument);
      default ->
          throw new InvalidRequestException(
              parts[0] + ": unknown command (expected: " + String.join(", ", COMMANDS) + ")");
    }
    console.err().flush();
  }

  private void reset() {
    messages.clear();
    last = null;
  }

  /** Sets the system message, or removes it if the text is empty; the conversation starts over. */
  void setSystem(String text) {
    system = text.isEmpty() ? null : text;
    reset();
  }

  private void load(String file) {
    List<ChatMessage> loaded = ChatFile.load(file);
    reset();
    system = null;
    for (ChatMessage message : loaded) {
      if (message.role().equals("system") && messages.isEmpty()) {
        system = message.content().orElse(null);
      } else {
        messages.add(message);
      }
    }
    console.err().println(messages.size() + " messages loaded");
  }

  private void set(String argument) {
    if (argument.isEmpty()) {
      console.err().println(settings());
      return;
    }
    String[] parts = argument.split("\\s+");
    if (parts.length != 2) {
      throw new InvalidRequestException("/set: " + argument + " (expected: /set NAME VALUE)");
    }
    try {
      set(parts[0], parts[1]);
    } catch (TypeConversionException e) {
      throw new InvalidRequestException("/set " + parts[0] + ": " + e.getMessage(), e);
    }
  }

  private String settings() {
    StringJoiner text = new StringJoiner(", ", "", "; the model decides the rest");
    text.setEmptyValue("nothing set: the model decides");
    String set = sampling.toString().replaceAll("^Sampling\\[|\\]$", "");
    if (!set.isEmpty()) {
      text.add(set);
    }
    if (maxNewTokens != null) {
      text.add("maxNewTokens=" + maxNewTokens);
    }
    if (seed != null) {
      text.add("seed=" + seed);
    }
    return text.toString();
  }

  private void set(String name, String value) {
    Sampling.Builder builder = sampling.toBuilder();
    // The spellings of options, of Python and of Java are all understood.
    String spelling = LOWER_CAMEL.matcher(name.replace('-', '_')).replaceAll("_$0");
    switch (spelling.toLowerCase(Locale.ROOT)) {
      case "temperature" -> Values.give(name, Values.decimal(value), builder::temperature);
      case "top_k" -> Values.give(name, Values.wholeInt(value), builder::topK);
      case "top_p" -> Values.give(name, Values.decimal(value), builder::topP);
      case "min_p" -> Values.give(name, Values.decimal(value), builder::minP);
      case "repetition_penalty" ->
          Values.give(name, Values.decimal(value), builder::repetitionPenalty);
      case "presence_penalty" ->
          Values.give(name, Values.decimal(value), builder::presencePenalty);
      case "frequency_penalty" ->
          Values.give(name, Values.decimal(value), builder::frequencyPenalty);
      case "max_new_tokens" -> {
        int tokens = Values.wholeInt(value);
        Values.give(name, tokens, request::maxNewTokens);
        maxNewTokens = tokens;
      }
      case "seed" -> seed = Values.wholeLong(value);
      default ->
          throw new InvalidRequestException(
              "/set: " + name + " (expected: temperature, top_k, top_p, min_p,"
                  + " repetition_penalty, presence_penalty, frequency_penalty, max_new_tokens or"
                  + " seed)");
    }
    sampling = builder.build();
  }
}
