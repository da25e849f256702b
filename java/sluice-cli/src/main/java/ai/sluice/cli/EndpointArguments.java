package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.endpoint.EndpointModel;
import ai.sluice.eval.endpoint.EndpointSettings;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;

/** The options that ask a server instead of an engine in this process. */
final class EndpointArguments {
  private static final String KEY_VARIABLE = "SLUICE_API_KEY";
  private static final String MODEL = "--model";

  @Option(
      names = "--endpoint",
      paramLabel = "URL",
      description = {
        "Ask a server with the OpenAI API, such as",
        "http://localhost:8000/v1, for its model --model."
      })
  @Nullable String url;

  @Option(
      names = "--api-key-env",
      paramLabel = "NAME",
      description = {
        "The environment variable that holds the server's API",
        "key; default: " + KEY_VARIABLE + "."
      })
  @Nullable String keyVariable;

  @Option(
      names = "--endpoint-field",
      paramLabel = "NAME=JSON",
      description = {
        "What else stands in each request: repeat_penalty=1.0",
        "where a server does not leave it alone. Several."
      })
  Map<String, String> fields = new LinkedHashMap<>();

  /** Whether a server is asked. */
  boolean isGiven() {
    return url != null;
  }

  /**
   * How the server is asked.
   *
   * @param commandLine what was given: options of an engine say nothing to a server
   * @param engine those options
   * @throws InvalidRequestException if one of them was given, or no model, or the URL is none
   */
  EndpointSettings settings(CommandLine commandLine, Iterable<OptionSpec> engine) {
    @Nullable String model = null;
    for (OptionSpec option : engine) {
      if (commandLine.getParseResult().hasMatchedOption(option)) {
        if (!option.longestName().equals(MODEL)) {
          throw new InvalidRequestException(
              option.longestName() + ": an option of the engine (expected: none beside --endpoint,"
                  + " whose server has its own)");
        }
        model = option.getValue();
      }
    }
    if (model == null) {
      throw new InvalidRequestException(
          MODEL + ": missing (expected: with --endpoint, the name that the server has for it)");
    }
    return EndpointSettings.of(String.valueOf(url), model).withFields(fields);
  }

  /** Fails if what only a server is told is given without one. */
  void checkUnused() {
    if (!fields.isEmpty()) {
      throw new InvalidRequestException(
          "--endpoint-field: " + fields + " (expected: --endpoint beside it)");
    }
    if (keyVariable != null) {
      throw new InvalidRequestException(
          "--api-key-env: " + keyVariable + " (expected: --endpoint beside it)");
    }
  }

  /** Asks the server for its models. */
  EndpointModel open(Console console, EndpointSettings settings) {
    Optional<String> key =
        console.environment(keyVariable == null ? KEY_VARIABLE : keyVariable);
    if (keyVariable != null && key.isEmpty()) {
      throw new InvalidRequestException(
          "--api-key-env: " + keyVariable + " is not set (expected: the name of an environment"
              + " variable that holds the key, not the key)");
    }
    return EndpointModel.open(settings, key);
  }
}
