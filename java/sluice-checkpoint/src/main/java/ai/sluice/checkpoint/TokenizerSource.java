package ai.sluice.checkpoint;

import java.nio.file.Path;
import java.util.Optional;

/** Where a checkpoint's tokenizer is. */
public sealed interface TokenizerSource {
  /**
   * Files of a Hugging Face folder.
   *
   * @param tokenizerJson tokenizer.json
   * @param tokenizerConfig tokenizer_config.json, if there is one
   */
  record Files(Path tokenizerJson, Optional<Path> tokenizerConfig) implements TokenizerSource {}

  /**
   * The vocabulary inside a GGUF file.
   *
   * @param data its fields
   */
  record Gguf(GgufTokenizerData data) implements TokenizerSource {}
}
