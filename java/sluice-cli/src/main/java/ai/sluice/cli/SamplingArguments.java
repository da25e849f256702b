package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options that say how tokens are chosen. What is not given, the checkpoint decides. */
final class SamplingArguments {
  @Option(
      names = {"-t", "--temperature"},
      paramLabel = "T",
      description = "0 always takes the likeliest token; higher is more varied.")
  @Nullable Double temperature;

  @Option(names = "--top-k", paramLabel = "K", description = "Draw from the K likeliest; 0: off.")
  @Nullable Integer topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      description = "Draw from the likeliest that together reach P; 1: off.")
  @Nullable Double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Draw from those at least P times as likely as the likeliest; 0: off.")
  @Nullable Double minP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "F",
      description = "Divides the logits of tokens already seen; 1: off.")
  @Nullable Double repetitionPenalty;

  @Option(
      names = "--presence-penalty",
      paramLabel = "X",
      description = "Subtracted from the logits of tokens in the answer; 0: off.")
  @Nullable Double presencePenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "X",
      description = "The same, times the token's count; 0: off.")
  @Nullable Double frequencyPenalty;

  @Option(
      names = "--logit-bias",
      paramLabel = "ID=X",
      description = "Adds X to the logit of token ID; may be repeated.")
  List<String> logitBias = new ArrayList<>();

  /**
   * The sampling values given.
   *
   * @throws InvalidRequestException if one is out of range; the message names the option
   */
  Sampling sampling() {
    Sampling.Builder builder = Sampling.builder();
    Values.give("--temperature", temperature, builder::temperature);
    Values.give("--top-k", topK, builder::topK);
    Values.give("--top-p", topP, builder::topP);
    Values.give("--min-p", minP, builder::minP);
    Values.give("--repetition-penalty", repetitionPenalty, builder::repetitionPenalty);
    Values.give("--presence-penalty", presencePenalty, builder::presencePenalty);
    Values.give("--frequency-penalty", frequencyPenalty, builder::frequencyPenalty);
    for (String entry : logitBias) {
      bias(builder, entry);
    }
    return builder.build();
  }

  private static void bias(Sampling.Builder builder, String entry) {
    int equals = entry.indexOf('=');
    if (equals <= 0) {
      throw new InvalidRequestException(
          "--logit-bias: " + entry + " (expected: ID=X, for example 42=-5)");
    }
    try {
      int token = Values.wholeInt(entry.substring(0, equals));
      double bias = Values.decimal(entry.substring(equals + 1));
      Values.give("--logit-bias", (float) bias, value -> builder.logitBias(token, value));
    } catch (TypeConversionException e) {
      throw new InvalidRequestException("--logit-bias: " + e.getMessage(), e);
    }
  }
}
