package ai.sluice.eval;

import ai.sluice.api.ContinuationScore;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.Sampling;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.core.Engine;
import ai.sluice.core.ScoreTokens;
import ai.sluice.text.SpecialTokens;
import ai.sluice.text.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/**
 * An engine that is evaluated, by lm-eval's rules: prompts that are too long lose their beginning,
 * generation is greedy, the text that ends a document is a stop text. Thread-safe.
 */
public final class EngineModel implements EvalModel {
  private static final int MAX_ENCODERS = 8;

  private final Engine engine;
  private final ModelInfo info;
  private final Optional<ChatPrompts> chat;
  private final Map<String, String> asked;
  private final FutureTask<String> modelHash;
  private final FileHashes hashes;
  private final ExecutorService encoders;

  private EngineModel(
      Engine engine,
      EngineOptions options,
      boolean applyChatTemplate,
      FileHashes hashes,
      FutureTask<String> modelHash) {
    this.engine = engine;
    this.hashes = hashes;
    this.modelHash = modelHash;
    info = engine.modelInfo();
    chat =
        applyChatTemplate
            ? Optional.of(
                new ChatPrompts(engine.chatTemplate(), engine.tokenizer().specialTokens()))
            : Optional.empty();
    asked = Map.of("tensor_parallel_size", String.valueOf(options.tensorParallelSize()));
    int threads =
        Math.max(1, Math.min(MAX_ENCODERS, Runtime.getRuntime().availableProcessors() / 2));
    encoders =
        Executors.newFixedThreadPool(
            threads,
            work -> {
              Thread thread = new Thread(work, "sluice-eval-prompts");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * Opens an engine to evaluate it. Its files are hashed beside the load, which they do not delay;
   * {@link #identity} waits for that.
   *
   * @param applyChatTemplate whether prompts become conversations
   * @param hashes tells the SHA-256 of files
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}, and where the model has no
   *     tokenizer or no chat template and needs it
   */
  public static EngineModel open(
      EngineOptions options, boolean applyChatTemplate, FileHashes hashes) {
    FutureTask<String> hash =
        new FutureTask<>(() -> hashes.of(FileHashes.ofModel(options.model())));
    Thread thread = new Thread(hash, "sluice-eval-hash");
    thread.setDaemon(true);
    thread.start();
    Engine engine = null;
    try {
      engine = Engine.open(options);
      engine.tokenizer();
      return new EngineModel(engine, options, applyChatTemplate, hashes, hash);
    } catch (RuntimeException e) {
      hash.cancel(true);
      if (engine != null) {
        engine.close();
      }
      throw e;
    }
  }

  /** The engine, which lives as long as this. */
  public Engine engine() {
    return engine;
  }

  @Override
  public String rendered(EvalItem item) {
    return chat.map(prompts -> prompts.render(item.prompt())).orElseGet(item::context);
  }

  // A chat template ends where an answer begins, so no space parts them.
  @Override
  public List<String> continuations(EvalItem item) {
    return chat.isEmpty()
        ? item.continuations()
        : item.continuations().stream().map(EngineModel::withoutSpace).toList();
  }

  @Override
  public CompletableFuture<Reply> ask(EvalItem item, GenerationSettings settings) {
    Pending pending = new Pending();
    encoders.execute(
        () -> {
          try {
            if (pending.isDone()) {
              return;
            }
            if (item.continuations().isEmpty()) {
              generate(item, settings, pending);
            } else {
              score(item, pending);
            }
          } catch (RuntimeException e) {
            pending.completeExceptionally(e);
          }
        });
    return pending;
  }

  /** An answer to come; cancelling it cancels what is computed for it. */
  private static final class Pending extends CompletableFuture<Reply> {
    void owns(CompletableFuture<?> work) {
      whenComplete(
          (reply, failure) -> {
            if (isCancelled()) {
              work.cancel(true);
            }
          });
    }
  }

  // Continuations of one cut share a request.
  private void score(EvalItem item, Pending pending) {
    List<String> texts = continuations(item);
    ScoreTokens tokens =
        engine.tokens(
            ScoreRequest.builder().prompt(rendered(item)).continuations(texts).build());
    int[] context = tokens.context();
    Map<Integer, List<Integer>> cuts = new TreeMap<>();
    for (int i = 0; i < texts.size(); i++) {
      int length = tokens.continuations().get(i).length;
      if (length > info.maxContextLength()) {
        throw new InvalidRequestException(
            item.task() + ", item " + item.index() + ": a continuation of " + length
                + " tokens (expected: at most the context, " + info.maxContextLength()
                + "; remedy: --context-length)");
      }
      int cut = Math.max(0, context.length + length - (info.maxContextLength() + 1));
      cuts.computeIfAbsent(cut, none -> new ArrayList<>()).add(i);
    }
    List<List<Integer>> members = List.copyOf(cuts.values());
    List<CompletableFuture<ScoreResult>> parts = new ArrayList<>();
    cuts.forEach(
        (cut, indices) ->
            parts.add(
                engine.submit(
                    ScoreRequest.builder()
                        .promptTokens(Arrays.copyOfRange(context, cut, context.length))
                        .continuationTokens(
                            indices.stream().map(tokens.continuations()::get).toList())
                        .build())));
    parts.forEach(pending::owns);
    int most = cuts.keySet().stream().mapToInt(Integer::intValue).max().orElse(0);
    CompletableFuture.allOf(parts.toArray(CompletableFuture[]::new))
        .whenComplete(
            (none, failure) -> {
              if (failure != null) {
                pending.completeExceptionally(failure);
                return;
              }
              try {
                pending.complete(scored(item, tokens, members, parts, most));
              } catch (RuntimeException e) {
                pending.completeExceptionally(e);
              }
            });
  }

  private static Reply scored(
      EvalItem item,
      ScoreTokens tokens,
      List<List<Integer>> members,
      List<CompletableFuture<ScoreResult>> parts,
      int cut) {
    EvalAnswer.Choice[] choices = new EvalAnswer.Choice[tokens.continuations().size()];
    int computed = 0;
    long micros = 0;
    for (int p = 0; p < parts.size(); p++) {
      ScoreResult result = parts.get(p).join();
      requireEnd(item, result.finishReason(), result.detail());
      for (int i = 0; i < members.get(p).size(); i++) {
        ContinuationScore score = result.scores().get(i);
        choices[members.get(p).get(i)] =
            new EvalAnswer.Choice(score.logprob(), score.isGreedy());
      }
      computed += result.usage().promptTokens() - result.usage().cachedPromptTokens();
      micros = Math.max(micros, result.timings().totalMicros());
    }
    // The prompt counts once, however many continuations stand behind it.
    int prompt = tokens.context().length - cut;
    int news = 0;
    for (int[] continuation : tokens.continuations()) {
      prompt += continuation.length - 1;
      news += continuation.length;
    }
    return new Reply(
        EvalAnswer.ofChoices(List.of(choices)), prompt, Math.max(0, prompt - computed), cut, news,
        seconds(micros));
  }

  private static String withoutSpace(String text) {
    return text.startsWith(" ") ? text.substring(1) : text;
  }

  private void generate(EvalItem item, GenerationSettings settings, Pending pending) {
    Tokenizer tokenizer = engine.tokenizer();
    SpecialTokens special = tokenizer.specialTokens();
    String text = rendered(item);
    // As in scoring: no second token that begins a document.
    boolean begun = special.bos().isPresent() && text.startsWith(special.bos().get().text());
    int[] tokens = tokenizer.encode(text, !begun, true);
    int room = info.maxContextLength() - settings.maxNewTokens();
    if (room < 1) {
      throw new InvalidRequestException(
          item.task() + ": answers of " + settings.maxNewTokens() + " tokens in a context of "
              + info.maxContextLength() + " (expected: a longer context; remedy: --context-length,"
              + " or another model)");
    }
    int cut = Math.max(0, tokens.length - room);
    List<String> stops = new ArrayList<>(settings.stops());
    special.eos().ifPresent(eos -> stops.add(eos.text()));
    // A stop text that is a token of its own never shows in the text.
    int[] stopTokens =
        stops.stream()
            .map(tokenizer::tokenToId)
            .filter(OptionalInt::isPresent)
            .mapToInt(OptionalInt::getAsInt)
            .filter(tokenizer::isSpecial)
            .filter(id -> id < info.vocabSize())
            .distinct()
            .toArray();
    CompletableFuture<GenerationResult> work =
        engine
            .submit(
                GenerationRequest.builder()
                    .promptTokens(Arrays.copyOfRange(tokens, cut, tokens.length))
                    .sampling(Sampling.greedy())
                    .maxNewTokens(settings.maxNewTokens())
                    .stop(stops)
                    .stopTokenIds(stopTokens)
                    .build())
            .result();
    pending.owns(work);
    work.whenComplete(
        (result, failure) -> {
          if (failure != null) {
            pending.completeExceptionally(failure);
            return;
          }
          try {
            requireEnd(item, result.finishReason(), result.detail());
            pending.complete(
                new Reply(
                    EvalAnswer.ofText(cut(result.text(), stops)), result.usage().promptTokens(),
                    result.usage().cachedPromptTokens(), cut, result.usage().newTokens(),
                    seconds(result.timings().totalMicros())));
          } catch (RuntimeException e) {
            pending.completeExceptionally(e);
          }
        });
  }

  /** What is before the first occurrence of each text in turn. */
  static String cut(String text, List<String> stops) {
    String out = text;
    for (String stop : stops) {
      int at = out.indexOf(stop);
      out = at < 0 ? out : out.substring(0, at);
    }
    return out;
  }

  private static double seconds(long micros) {
    return micros / (double) TimeUnit.SECONDS.toMicros(1);
  }

  private static void requireEnd(EvalItem item, FinishReason reason, String detail) {
    if (reason != FinishReason.STOP && reason != FinishReason.LENGTH) {
      throw new EvalException(
          item.task() + ", item " + item.index() + ": the engine ended with " + reason
              + (detail.isEmpty() ? "" : ", " + detail) + " (expected: an answer)");
    }
  }

  /** Twice as many as run at once, so that none of them waits for the next. */
  @Override
  public int window() {
    return 2 * info.maxSequences();
  }

  @Override
  public Map<String, String> identity() {
    Map<String, String> out = new LinkedHashMap<>();
    try {
      out.put("model_sha256", modelHash.get());
    } catch (ExecutionException e) {
      if (e.getCause() instanceof InvalidRequestException cause) {
        throw cause;
      }
      throw new EvalException(info.path() + ": not hashed: " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new EvalException(info.path() + ": interrupted while it was hashed", e);
    }
    out.put("tokenizer_sha256", tokenizerHash());
    out.put("chat_template_sha256", chat.map(ChatPrompts::sha256).orElse("none"));
    out.put("dtype", info.dtype().toString());
    out.put("numerics", info.numerics().toString());
    out.put("backend", info.backend().toString());
    out.put("max_length", String.valueOf(info.maxContextLength()));
    out.putAll(asked);
    return out;
  }

  private String tokenizerHash() {
    Path folder = info.path();
    List<Path> files = new ArrayList<>();
    for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
      if (Files.isRegularFile(folder.resolve(name))) {
        files.add(folder.resolve(name));
      }
    }
    if (!files.isEmpty()) {
      return hashes.of(files);
    }
    // Inside the model's own file, whose hash covers how texts are split too: its tokens in order.
    Tokenizer tokenizer = engine.tokenizer();
    StringBuilder tokens = new StringBuilder();
    for (int id = 0; id < tokenizer.vocabSize(); id++) {
      tokens.append(tokenizer.idToToken(id).orElse("")).append('\n');
    }
    return FileHashes.ofText(tokens.toString());
  }

  @Override
  public Map<String, String> environment() {
    Map<String, String> out = new LinkedHashMap<>();
    out.put("model", info.path().toString());
    out.put("architecture", info.architecture());
    out.put("parameters", String.valueOf(info.numParameters()));
    out.put("threads", String.valueOf(info.threads()));
    out.put("max_sequences", String.valueOf(info.maxSequences()));
    out.put("max_step_tokens", String.valueOf(info.maxStepTokens()));
    out.put("kv_cache_bytes", String.valueOf(info.kvCacheBytes()));
    info.kernels().entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .forEach(kernel -> out.put("kernel." + kernel.getKey(), kernel.getValue()));
    return out;
  }

  @Override
  public void close() {
    modelHash.cancel(true);
    encoders.shutdownNow();
    engine.close();
  }
}
