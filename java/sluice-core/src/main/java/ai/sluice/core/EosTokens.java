package ai.sluice.core;

import ai.sluice.text.SpecialTokens;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The tokens that end a generation.
 *
 * @param ids token ids, those of the checkpoint's settings first
 * @param note what a user may want to know of them
 */
record EosTokens(List<Integer> ids, Optional<String> note) {
  EosTokens {
    ids = List.copyOf(ids);
  }

  /**
   * Joins what the settings and the tokenizer say. They differ in chat models made from base ones:
   * the settings still name the end of a document, the tokenizer the end of a turn. Without the
   * latter such a model would talk on for both sides.
   *
   * @param configured ids that the checkpoint's settings name
   * @param special the tokenizer's own tokens
   * @param vocabSize rows of the embedding; an id from it on cannot be generated
   */
  static EosTokens of(List<Integer> configured, SpecialTokens special, int vocabSize) {
    Optional<SpecialTokens.Token> own =
        special.eos().filter(token -> token.id() < vocabSize && !configured.contains(token.id()));
    if (own.isEmpty()) {
      return new EosTokens(configured, Optional.empty());
    }
    List<Integer> all = new ArrayList<>(configured);
    all.add(own.get().id());
    Optional<String> note =
        configured.isEmpty()
            ? Optional.empty()
            : Optional.of(
                "eos_token_id: " + configured + " by the settings; the tokenizer's own end, "
                    + own.get().id() + " (" + own.get().text() + "), ends a generation too");
    return new EosTokens(all, note);
  }
}
