package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Where a prompt comes from: words, standard input, a file, or token ids as they are. */
final class PromptArguments {
  @Parameters(
      arity = "0..*",
      paramLabel = "PROMPT",
      description = "The prompt; several words are joined; - reads standard input.")
  List<String> words = new ArrayList<>();

  @Option(names = {"-f", "--file"}, paramLabel = "FILE", description = "Read the prompt from FILE.")
  @Nullable String file;

  @Option(
      names = "--tokens",
      split = ",",
      paramLabel = "ID",
      description = "The prompt as token ids with commas between, for a model without a tokenizer.")
  List<Integer> tokens = new ArrayList<>();

  /** Whether the prompt is token ids. */
  boolean areTokens() {
    return !tokens.isEmpty();
  }

  /** The token ids. */
  int[] ids() {
    return tokens.stream().mapToInt(Integer::intValue).toArray();
  }

  /**
   * The prompt in words; empty if it is token ids.
   *
   * @throws InvalidRequestException unless there is exactly one prompt
   */
  String text(Console console) {
    List<String> given = new ArrayList<>();
    if (!words.isEmpty()) {
      given.add("as words");
    }
    if (file != null) {
      given.add("by --file");
    }
    if (areTokens()) {
      given.add("by --tokens");
    }
    if (given.size() != 1) {
      throw new InvalidRequestException(
          (given.isEmpty() ? "prompt: missing" : "prompt: given twice, " + String.join(" and ",
              given))
              + " (expected: a PROMPT in quotes, - for standard input, --file FILE, or --tokens"
              + " for ids)");
    }
    if (areTokens()) {
      return "";
    }
    String prompt =
        file != null
            ? Utf8.readFile("--file", file)
            : words.equals(List.of("-"))
                ? Utf8.read("standard input", console.in())
                : String.join(" ", words);
    if (prompt.isEmpty()) {
      throw new InvalidRequestException("prompt: empty (expected: at least one character)");
    }
    return prompt;
  }
}
