package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.core.scheduler.SamplingParams;
import ai.sluice.core.scheduler.Sequence;
import ai.sluice.core.scheduler.TokenSink;
import ai.sluice.text.Tokenizer;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Turns requests into sequences: everything that can be wrong with one is found here. */
final class RequestPlanner {
  private final LoadedModel model;
  private final PromptEncoder encoder;
  private final SamplingResolver sampling;
  private final int[] eosTokens;
  private final int vocabSize;
  private final ModelHeads heads;
  private final @Nullable Tokenizer tokenizer;
  private final boolean prefixCache;

  RequestPlanner(
      LoadedModel model,
      PromptEncoder encoder,
      SamplingResolver sampling,
      List<Integer> eosTokens,
      @Nullable Tokenizer tokenizer,
      boolean prefixCache) {
    this.prefixCache = prefixCache;
    this.model = model;
    this.encoder = encoder;
    this.sampling = sampling;
    this.eosTokens = eosTokens.stream().mapToInt(Integer::intValue).toArray();
    this.vocabSize = model.options().spec().getVocabSize();
    this.tokenizer = tokenizer;
    this.heads = new ModelHeads(model.options().spec());
  }

  ModelHeads heads() {
    return heads;
  }

  /** What a sink needs to know of its sequence. */
  record Facts(int promptTokens, int topN, long seed) {}

  /**
   * Plans a request.
   *
   * @param submitted now, in nanoseconds of the engine's clock
   * @param sink makes the sequence's sink
   * @throws InvalidRequestException if the request does not fit the model or the engine
   */
  Sequence plan(GenerationRequest request, long submitted, Function<Facts, TokenSink> sink) {
    return plan(request, heads.forTokens(request.head()), submitted, sink);
  }

  /**
   * Plans a request for what a certain head gives.
   *
   * @throws InvalidRequestException if the request does not fit the model or the engine
   */
  Sequence plan(
      GenerationRequest request,
      HeadChoice head,
      long submitted,
      Function<Facts, TokenSink> sink) {
    refuseUnbuilt(request);
    int topN = request.logprobs().orElse(Sequence.NO_LOGPROBS);
    if (topN > model.options().maxTopN()) {
      throw new InvalidRequestException(
          "logprobs: " + topN + " (expected: at most " + model.options().maxTopN()
              + ", the engine's maxLogprobs)");
    }
    if (!request.stop().isEmpty() && tokenizer == null) {
      encoder.requireTokenizer();
    }
    SamplingParams params = sampling.resolve(request.sampling());
    int[] stopTokens = stopTokens(request);
    int[] prompt = encoder.encode(request);
    int context = model.options().maxContextLength();
    // Values are taken at the last position of the prompt; nothing is put behind it.
    boolean givesTokens = head.numValues() == 0;
    int longest = givesTokens ? context - 1 : context;
    if (prompt.length > longest) {
      throw new InvalidRequestException(
          "prompt: " + prompt.length + " tokens (expected: at most " + longest
              + (givesTokens ? ", which leaves room for one new token in a context of " + context
                  : ", the context")
              + contextRemedy() + ")");
    }
    int room = givesTokens ? context - prompt.length : 1;
    int maxNew = Math.min(request.maxNewTokens().orElse(room), room);
    long seed = request.seed().orElseGet(() -> ThreadLocalRandom.current().nextLong());
    Sequence sequence =
        new Sequence(
            prompt,
            maxNew,
            head,
            params,
            seed,
            topN,
            stopTokens,
            model.ropes(prompt.length),
            submitted,
            deadline(submitted, request.timeout()),
            sink.apply(new Facts(prompt.length, topN, seed)));
    sequence.prioritize(request.priority());
    if (prefixCache) {
      sequence.cachePrefix(request.cacheSalt(), model.options().blockSize());
    }
    return sequence;
  }

  private static void refuseUnbuilt(GenerationRequest request) {
    if (request.n() > 1
        || request.maxReasoningTokens().isPresent()
        || !(request.responseFormat() instanceof ResponseFormat.Text)
        || request.queueTimeout().isPresent()
        || request.firstTokenTimeout().isPresent()) {
      throw new InvalidRequestException(
          "n, maxReasoningTokens, responseFormat, queueTimeout, firstTokenTimeout: set (expected:"
              + " none of them; not built yet)");
    }
  }

  private String contextRemedy() {
    int most = model.checkpoint().maxPositions();
    return model.options().maxContextLength() < most
        ? "; maxContextLength can be raised to " + most
        : "";
  }

  private int[] stopTokens(GenerationRequest request) {
    for (int token : request.stopTokenIds()) {
      if (token >= vocabSize) {
        throw new InvalidRequestException(
            "stopTokenIds: " + token + " (expected: 0 to " + (vocabSize - 1) + ")");
      }
    }
    IntStream eos = request.ignoreEos() ? IntStream.empty() : IntStream.of(eosTokens);
    IntStream asked = request.stopTokenIds().stream().mapToInt(Integer::intValue);
    return IntStream.concat(IntStream.concat(eos, asked), specialStops(request))
        .distinct()
        .sorted()
        .toArray();
  }

  /** A special token has no text in the output, so a stop text that is one stops at the token. */
  private IntStream specialStops(GenerationRequest request) {
    Tokenizer known = tokenizer;
    if (known == null) {
      return IntStream.empty();
    }
    return request.stop().stream()
        .map(known::tokenToId)
        .flatMapToInt(OptionalInt::stream)
        .filter(id -> id < vocabSize && known.isSpecial(id));
  }

  private static long deadline(long submitted, Optional<Duration> timeout) {
    if (timeout.isEmpty() || timeout.get().toDays() > 36_500) {
      return Sequence.NO_DEADLINE;
    }
    return submitted + timeout.get().toNanos();
  }
}
