package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.core.scheduler.SamplingParams;
import ai.sluice.core.scheduler.Sequence;
import ai.sluice.core.scheduler.TokenSink;
import ai.sluice.text.TokenConstraint;
import ai.sluice.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;
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
  private final @Nullable ResponseFormats formats;
  private final OutputPlanner outputs;
  private final boolean prefixCache;

  RequestPlanner(
      LoadedModel model,
      PromptEncoder encoder,
      SamplingResolver sampling,
      List<Integer> eosTokens,
      @Nullable Tokenizer tokenizer,
      @Nullable ResponseFormats formats,
      OutputPlanner outputs,
      boolean prefixCache) {
    this.formats = formats;
    this.outputs = outputs;
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

  /**
   * What a sink needs to know of its sequence.
   *
   * @param index which of the request's alternatives it is, from 0
   * @param output how it is read
   */
  record Facts(int index, int promptTokens, int topN, long seed, OutputPlan output) {}

  /**
   * The prompt's token ids.
   *
   * @throws InvalidRequestException if it has none, or one is not in the vocabulary
   * @throws ai.sluice.api.CheckpointFormatException if the checkpoint lacks what makes tokens of it
   */
  int[] encode(GenerationRequest request) {
    return encoder.encode(request);
  }

  /**
   * Plans a request for what a certain head gives.
   *
   * @param prompt what {@link #encode} made of it; not copied
   * @param submitted now, in nanoseconds of the engine's clock
   * @param sink makes a sequence's sink
   * @return a sequence for each alternative, all of which take over the first one's prompt
   * @throws InvalidRequestException if the request does not fit the model or the engine
   */
  List<Sequence> plan(
      GenerationRequest request,
      int[] prompt,
      HeadChoice head,
      long submitted,
      Function<Facts, TokenSink> sink) {
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
    int context = model.mostTokens();
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
    OutputPlan output = outputs.plan(request, prompt);
    Function<int[], TokenConstraint> grammars = grammars(request, givesTokens);
    List<Sequence> sequences = new ArrayList<>(request.n());
    for (int i = 0; i < request.n(); i++) {
      Sequence sequence =
          new Sequence(
              prompt,
              maxNew,
              head,
              params,
              seed + i,
              topN,
              stopTokens,
              model.ropes(prompt.length),
              submitted,
              Deadlines.of(submitted, request.timeout()),
              sink.apply(new Facts(i, prompt.length, topN, seed + i, output)));
      sequence.prioritize(request.priority());
      sequence.expire(
          Deadlines.of(submitted, request.queueTimeout()),
          Deadlines.of(submitted, request.firstTokenTimeout()));
      if (i > 0) {
        sequence.forkOf(sequences.get(0));
        sequence.prepareAs(sequences.get(0));
      } else {
        prepare(sequence, request);
      }
      TokenConstraint constraint =
          output.constraint(
              request, stopTokens, grammars == null ? null : grammars.apply(stopTokens));
      if (constraint != null) {
        sequence.constrain(constraint);
      }
      sequences.add(sequence);
    }
    return sequences;
  }

  /** Does here, on the caller's thread, what takes as long as the prompt is. */
  private void prepare(Sequence sequence, GenerationRequest request) {
    if (prefixCache) {
      sequence.cachePrefix(request.cacheSalt(), model.options().blockSize());
    }
    if (request.speculation()) {
      sequence.speculate(model.options().message().getMaxDraftLen());
    }
  }

  private @Nullable Function<int[], TokenConstraint> grammars(
      GenerationRequest request, boolean givesTokens) {
    if (request.responseFormat() instanceof ResponseFormat.Text || !givesTokens) {
      return null;
    }
    if (formats == null) {
      encoder.requireTokenizer();
      throw new IllegalStateException("tokenizer: not loaded (a defect of Sluice)");
    }
    return formats.compile(request.responseFormat());
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
}
