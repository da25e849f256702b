package ai.sluice.core;

import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.GgufTokenizerData;
import ai.sluice.checkpoint.TokenizerSource;
import ai.sluice.text.GgufVocabulary;
import ai.sluice.text.Tokenizer;
import java.util.Optional;

/** Loads a checkpoint's tokenizer. */
final class TokenizerLoader {
  private TokenizerLoader() {}

  /** Starts loading, beside the weights, which take longer. Empty where there is none. */
  static Background<Optional<Tokenizer>> start(Checkpoint checkpoint) {
    return Background.start(
        "sluice-tokenizer", () -> checkpoint.tokenizer().map(TokenizerLoader::load));
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
