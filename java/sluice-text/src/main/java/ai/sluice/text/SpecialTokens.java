package ai.sluice.text;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The tokens with a fixed meaning that a tokenizer names. Any may be absent.
 *
 * @param bos begins a document
 * @param eos ends a document or, in chat models, a turn
 * @param unk stands for text outside the vocabulary
 * @param pad fills batches
 */
public record SpecialTokens(
    Optional<Token> bos, Optional<Token> eos, Optional<Token> unk, Optional<Token> pad) {

  /**
   * A token.
   *
   * @param id its id
   * @param text its text
   */
  public record Token(int id, String text) {}

  /** No special tokens at all. */
  public static final SpecialTokens NONE =
      new SpecialTokens(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());

  static SpecialTokens of(
      @Nullable Token bos, @Nullable Token eos, @Nullable Token unk, @Nullable Token pad) {
    return new SpecialTokens(
        Optional.ofNullable(bos),
        Optional.ofNullable(eos),
        Optional.ofNullable(unk),
        Optional.ofNullable(pad));
  }

  /**
   * The texts by the names that chat templates know: bos_token, eos_token, unk_token, pad_token.
   */
  Map<String, String> templateVariables() {
    Map<String, String> variables = new LinkedHashMap<>();
    bos.ifPresent(token -> variables.put("bos_token", token.text()));
    eos.ifPresent(token -> variables.put("eos_token", token.text()));
    unk.ifPresent(token -> variables.put("unk_token", token.text()));
    pad.ifPresent(token -> variables.put("pad_token", token.text()));
    return variables;
  }
}
