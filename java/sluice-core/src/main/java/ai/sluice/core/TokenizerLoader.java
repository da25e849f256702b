package ai.sluice.core;

import ai.sluice.api.SluiceException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.GgufTokenizerData;
import ai.sluice.checkpoint.TokenizerSource;
import ai.sluice.text.GgufVocabulary;
import ai.sluice.text.Tokenizer;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** Loads a checkpoint's tokenizer beside its weights, which take longer. */
final class TokenizerLoader {
  private final CompletableFuture<Optional<Tokenizer>> future = new CompletableFuture<>();

  /** Starts loading. */
  TokenizerLoader(Checkpoint checkpoint) {
    if (checkpoint.tokenizer().isEmpty()) {
      future.complete(Optional.empty());
      return;
    }
    TokenizerSource source = checkpoint.tokenizer().get();
    Thread thread =
        new Thread(
            () -> {
              try {
                future.complete(Optional.of(load(source)));
              } catch (Throwable e) {
                future.completeExceptionally(e);
              }
            },
            "sluice-tokenizer");
    thread.setDaemon(true);
    thread.start();
  }

  /** Waits for the tokenizer; empty when the checkpoint has none. */
  Optional<Tokenizer> get() {
    try {
      return future.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof SluiceException cause) {
        throw cause;
      }
      throw e;
    }
  }

  /** Closes the tokenizer once it is there. */
  void discard() {
    future.thenAccept(tokenizer -> tokenizer.ifPresent(Tokenizer::close));
  }

  private static Tokenizer load(TokenizerSource source) {
    if (source instanceof TokenizerSource.Files files) {
      return Tokenizer.fromFile(files.tokenizerJson());
    }
    return Tokenizer.fromGguf(vocabulary(((TokenizerSource.Gguf) source).data()));
  }

  private static GgufVocabulary vocabulary(GgufTokenizerData data) {
    GgufVocabulary.Builder builder =
        GgufVocabulary.builder(data.model(), data.tokens())
            .pre(data.pre().orElse(null))
            .merges(data.merges())
            .bosId(data.bosTokenId().orElse(-1))
            .eosId(data.eosTokenId().orElse(-1))
            .unkId(data.unknownTokenId().orElse(-1))
            .padId(data.paddingTokenId().orElse(-1))
            .addBos(data.addBos().orElse(null))
            .addEos(data.addEos().orElse(null))
            .addSpacePrefix(data.addSpacePrefix().orElse(null));
    float[] scores = new float[data.scores().size()];
    for (int i = 0; i < scores.length; i++) {
      scores[i] = data.scores().get(i);
    }
    int[] types = new int[data.tokenTypes().size()];
    for (int i = 0; i < types.length; i++) {
      types[i] = Math.toIntExact(data.tokenTypes().get(i));
    }
    return builder.scores(scores).tokenTypes(types).build();
  }
}
