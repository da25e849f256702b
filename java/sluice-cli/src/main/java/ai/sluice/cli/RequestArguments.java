package ai.sluice.cli;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that say how one answer is generated. */
final class RequestArguments {
  @Mixin SamplingArguments sampling = new SamplingArguments();

  @Option(
      names = {"-n", "--max-new-tokens"},
      paramLabel = "N",
      description = "Stop after N tokens; default: when the model ends or the context is full.")
  @Nullable Integer maxNewTokens;

  @Option(names = "--seed", paramLabel = "N", description = "Makes random choices repeatable.")
  @Nullable Long seed;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "Stop before this text; may be repeated.")
  List<String> stop = new ArrayList<>();

  @Option(
      names = "--timeout",
      paramLabel = "SECONDS",
      description = "Stop after this time, with what there is.")
  @Nullable Double timeout;

  @Option(
      names = "--queue-timeout",
      paramLabel = "SECONDS",
      description = "Give up what has not begun to be computed after this time.")
  @Nullable Double queueTimeout;

  @Option(
      names = "--first-token-timeout",
      paramLabel = "SECONDS",
      description = "Give up what has no first token after this time.")
  @Nullable Double firstTokenTimeout;

  @Option(
      names = "--priority",
      paramLabel = "N",
      description = "The higher number goes first; default: 0.")
  @Nullable Integer priority;

  @Option(
      names = "--cache-salt",
      paramLabel = "TEXT",
      description = "Share cached prefixes only with requests of the same text.")
  @Nullable String cacheSalt;

  @Mixin FormatArguments format = new FormatArguments();

  @Option(
      names = "--max-reasoning-tokens",
      paramLabel = "N",
      description = "Make a reasoning model answer after N tokens of reasoning.")
  @Nullable Integer maxReasoningTokens;

  /**
   * A request without its input.
   *
   * @throws InvalidRequestException if a value is out of range; the message names the option
   */
  GenerationRequest.Builder request() {
    GenerationRequest.Builder builder = GenerationRequest.builder().sampling(sampling.sampling());
    Values.give("--max-new-tokens", maxNewTokens, builder::maxNewTokens);
    Values.give("--seed", seed, builder::seed);
    Values.give(
        "--max-reasoning-tokens", maxReasoningTokens, builder::maxReasoningTokens);
    Values.give("--stop", stop, builder::stop);
    Values.giveSeconds("--timeout", timeout, builder::timeout);
    Values.giveSeconds("--queue-timeout", queueTimeout, builder::queueTimeout);
    Values.giveSeconds("--first-token-timeout", firstTokenTimeout, builder::firstTokenTimeout);
    Values.give("--priority", priority, builder::priority);
    Values.give("--cache-salt", cacheSalt, builder::cacheSalt);
    format.apply(builder);
    return builder;
  }
}
