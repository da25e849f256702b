package ai.sluice.cli.soak;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.Sampling;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.core.Engine;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Supplier;

/**
 * The requests of a soak, and what each gives when it runs alone. Prompts share a few headers, so
 * that prefixes are found, also inside a block.
 */
final class SoakCatalog {
  private static final int NUM_HEADERS = 4;

  /** Most answers are short, some grow until they need the blocks of others. */
  private static final int SHORT_ANSWER = 24;

  private static final int MOST_TAIL_TOKENS = 16;

  /** No other request has it, so that references share no state with what is compared to them. */
  private static final String REFERENCE_SALT = "reference ";

  private final Engine engine;
  private final SoakFault fault;
  private final Random random;
  private final int context;
  private final int[][] headers = new int[NUM_HEADERS][];
  private final List<SoakCase> cases = new ArrayList<>();
  private final List<SoakScore> scores = new ArrayList<>();
  private final Map<String, String> refused = new LinkedHashMap<>();

  private SoakCatalog(Engine engine, SoakSettings settings) {
    this.engine = engine;
    fault = settings.fault();
    random = new Random(settings.seed());
    context = engine.modelInfo().maxContextLength();
    int longest = Math.max(2, context / 2 - MOST_TAIL_TOKENS);
    for (int i = 0; i < headers.length; i++) {
      headers[i] = tokens(longest / 4 + 1 + random.nextInt(longest - longest / 4 - 1));
    }
  }

  /**
   * Makes the requests and runs each alone.
   *
   * @throws IllegalStateException if one does not end by itself
   */
  static SoakCatalog of(Engine engine, SoakSettings settings) {
    SoakCatalog catalog = new SoakCatalog(engine, settings);
    catalog.fill();
    return catalog;
  }

  /** May be empty. */
  List<SoakScore> scores() {
    return scores;
  }

  /** At least one. */
  List<SoakCase> cases() {
    return cases;
  }

  /** Kinds of requests that this engine or model refuses, and why. */
  Map<String, String> refused() {
    return refused;
  }

  private void fill() {
    Sampling greedy =
        Sampling.greedy().toBuilder()
            .repetitionPenalty(1)
            .presencePenalty(0)
            .frequencyPenalty(0)
            .build();
    add("greedy", 8, () -> random(greedy));
    add(
        "penalties",
        2,
        () -> random(greedy.toBuilder().repetitionPenalty(1.3).frequencyPenalty(0.2).build()));
    add("sampled", 4, () -> random(sampled()).seed(random.nextLong()));
    add("logprobs", 2, () -> random(greedy).logprobs(2));
    add("alternatives", 3, () -> random(sampled()).seed(random.nextLong()).n(3));
    addScores();
    ModelInfo model = engine.modelInfo();
    if (!model.hasTokenizer()) {
      return;
    }
    add("text", 2, () -> limited(greedy).prompt("The number " + random.nextInt(1000) + " is"));
    if (model.hasChatTemplate()) {
      add(
          "chat",
          2,
          () -> limited(greedy).messages(List.of(ChatMessage.user("Say " + random.nextInt(1000)))));
    }
    add(
        "json schema",
        2,
        () ->
            limited(greedy)
                .prompt("A person: ")
                .responseFormat(
                    ResponseFormat.jsonSchema(
                        Map.of(
                            "type", "object",
                            "properties", Map.of("age", Map.of("type", "integer")),
                            "required", List.of("age"),
                            "additionalProperties", false))));
    add(
        "regex",
        2,
        () -> limited(greedy).prompt("A date: ").responseFormat(
            ResponseFormat.regex("[0-9]{4}-[0-9]{2}-[0-9]{2}")));
  }

  private static Sampling sampled() {
    return Sampling.builder()
        .temperature(1)
        .topP(0.95)
        .topK(0)
        .minP(0)
        .repetitionPenalty(1)
        .presencePenalty(0)
        .frequencyPenalty(0)
        .build();
  }

  private GenerationRequest.Builder random(Sampling sampling) {
    int[] header = headers[random.nextInt(headers.length)];
    // A shorter header too: then the prefix ends inside a block.
    int length = random.nextInt(4) == 0 ? 1 + random.nextInt(header.length) : header.length;
    int room = Math.min(MOST_TAIL_TOKENS, context - 1 - length);
    int[] tail = tokens(room <= 0 ? 0 : random.nextInt(room + 1));
    int[] prompt = new int[length + tail.length];
    System.arraycopy(header, 0, prompt, 0, length);
    System.arraycopy(tail, 0, prompt, length, tail.length);
    boolean isLong = random.nextInt(3) == 0;
    int most = isLong ? context - prompt.length : Math.min(SHORT_ANSWER, context - prompt.length);
    return base(sampling)
        .promptTokens(prompt)
        .maxNewTokens(isLong ? most - random.nextInt(1 + most / 4) : 1 + random.nextInt(most))
        .ignoreEos(random.nextInt(4) > 0);
  }

  private static GenerationRequest.Builder base(Sampling sampling) {
    return GenerationRequest.builder().sampling(sampling).seed(1);
  }

  private GenerationRequest.Builder limited(Sampling sampling) {
    return base(sampling).maxNewTokens(1 + random.nextInt(SHORT_ANSWER));
  }

  private int[] tokens(int length) {
    return random.ints(length, 0, engine.modelInfo().vocabSize()).toArray();
  }

  private void add(String name, int count, Supplier<GenerationRequest.Builder> maker) {
    for (int i = 0; i < count; i++) {
      GenerationRequest request = maker.get().build();
      GenerationResult reference;
      try {
        reference =
            engine.generate(
                request.toBuilder()
                    .cacheSalt(REFERENCE_SALT + cases.size())
                    .speculation(false)
                    .build());
      } catch (InvalidRequestException e) {
        refused.put(name, String.valueOf(e.getMessage()));
        return;
      }
      if (reference.finishReason() != FinishReason.STOP
          && reference.finishReason() != FinishReason.LENGTH) {
        throw new IllegalStateException(
            name + ": ended with " + reference.finishReason() + " " + reference.detail()
                + " though nothing ran beside it (expected: STOP or LENGTH)");
      }
      cases.add(new SoakCase(name, request, falsified(reference)));
    }
  }

  private void addScores() {
    for (int i = 0; i < NUM_HEADERS; i++) {
      int[] prompt = headers[i];
      int most = Math.max(1, Math.min(MOST_TAIL_TOKENS, context - prompt.length) / 2);
      List<int[]> continuations =
          List.of(tokens(1), tokens(1), tokens(1 + random.nextInt(most)));
      ScoreResult reference;
      try {
        reference =
            engine.score(SoakScore.request(prompt, continuations, REFERENCE_SALT + "score " + i));
      } catch (InvalidRequestException | UnsupportedModelException e) {
        refused.put("scores", String.valueOf(e.getMessage()));
        return;
      }
      if (!reference.succeeded()) {
        throw new IllegalStateException(
            "scores: ended with " + reference.finishReason() + " " + reference.detail()
                + " though nothing ran beside them (expected: STOP)");
      }
      scores.add(new SoakScore(prompt, continuations, reference.scores()));
    }
  }

  private GenerationResult falsified(GenerationResult result) {
    if (fault != SoakFault.OUTPUT || !cases.isEmpty()) {
      return result;
    }
    List<Integer> tokens = new ArrayList<>(result.tokens());
    tokens.set(0, tokens.get(0) + 1);
    return new GenerationResult(
        result.text(),
        tokens,
        result.logprobs(),
        result.finishReason(),
        result.detail(),
        result.seed(),
        result.usage(),
        result.timings());
  }
}
