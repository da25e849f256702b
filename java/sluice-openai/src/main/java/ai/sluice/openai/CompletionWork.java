package ai.sluice.openai;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What an engine has to do for one prompt of a body: generate, score the prompt, or both.
 * Immutable.
 *
 * @param generation what to generate, unless the prompt is only scored
 * @param score the prompt's own tokens, where the body wants their log-probabilities and there is a
 *     second token that could have one
 * @param prompt the prompt's token ids where it is scored; else empty
 */
public record CompletionWork(
    Optional<GenerationRequest> generation, Optional<ScoreRequest> score, List<Integer> prompt) {
  /** Copies the list. */
  public CompletionWork {
    prompt = List.copyOf(prompt);
  }

  /**
   * The work of a body, one for each of its prompts.
   *
   * @throws OpenAiException if a prompt that is scored cannot be made tokens of
   */
  public static List<CompletionWork> of(OpenAiRequest request, ServedModel model) {
    List<CompletionWork> work = new ArrayList<>();
    for (GenerationRequest each : request.requests()) {
      work.add(
          request.scoresPrompts()
              ? scored(each, request.generates(), model)
              : new CompletionWork(Optional.of(each), Optional.empty(), List.of()));
    }
    return work;
  }

  private static CompletionWork scored(
      GenerationRequest request, boolean generates, ServedModel model) {
    int[] ids = model.promptTokens(request);
    List<Integer> prompt = new ArrayList<>(ids.length);
    for (int id : ids) {
      prompt.add(id);
    }
    return new CompletionWork(
        generates ? Optional.of(request) : Optional.empty(),
        ids.length < 2 ? Optional.empty() : Optional.of(score(request, ids)),
        prompt);
  }

  private static ScoreRequest score(GenerationRequest request, int[] ids) {
    try {
      ScoreRequest.Builder score =
          ScoreRequest.builder()
              .textTokens(ids)
              .logprobs(request.logprobs().orElse(0))
              .cacheSalt(request.cacheSalt())
              .priority(request.priority());
      request.timeout().ifPresent(score::timeout);
      request.queueTimeout().ifPresent(score::queueTimeout);
      request.head().ifPresent(score::head);
      return score.build();
    } catch (InvalidRequestException e) {
      throw new OpenAiException(OpenAiError.of(e), e);
    }
  }

  /** The result of a prompt that is only scored. */
  GenerationResult nothingGenerated(int cachedTokens) {
    return new GenerationResult(
        "",
        List.of(),
        List.of(),
        FinishReason.LENGTH,
        "",
        0,
        new Usage(prompt.size(), cachedTokens, 0),
        new Timings(0, 0, 0, 0));
  }

  /**
   * What came of it.
   *
   * @param result what was generated, if anything was asked for
   * @param score the prompt's score, if it was asked for
   */
  public record Done(
      CompletionWork work, Optional<GenerationResult> result, Optional<ScoreResult> score) {
    /** What was generated; nothing, where the prompt was only scored. */
    public GenerationResult generated() {
      return result.orElseGet(
          () ->
              work.nothingGenerated(
                  score.map(scored -> scored.usage().cachedPromptTokens()).orElse(0)));
    }
  }
}
