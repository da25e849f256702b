package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.text.SpecialTokens;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class EosTokensTest {
  private static SpecialTokens eos(int id) {
    return new SpecialTokens(
        Optional.empty(),
        Optional.of(new SpecialTokens.Token(id, "<|im_end|>")),
        Optional.empty(),
        Optional.empty());
  }

  @Test
  void theTokenizersOwnEndIsAddedWithANote() {
    EosTokens tokens = EosTokens.of(List.of(5, 6), eos(9), 10);
    assertEquals(List.of(5, 6, 9), tokens.ids());
    assertEquals(
        "eos_token_id: [5, 6] by the settings; the tokenizer's own end, 9 (<|im_end|>), ends a"
            + " generation too",
        tokens.note().orElseThrow());
  }

  @Test
  void whereTheyAgreeNothingIsSaid() {
    EosTokens tokens = EosTokens.of(List.of(5, 9), eos(9), 10);
    assertEquals(List.of(5, 9), tokens.ids());
    assertTrue(tokens.note().isEmpty());
  }

  @Test
  void oneOfTheTwoIsEnough() {
    assertEquals(List.of(9), EosTokens.of(List.of(), eos(9), 10).ids());
    assertTrue(EosTokens.of(List.of(), eos(9), 10).note().isEmpty());
    assertEquals(List.of(5), EosTokens.of(List.of(5), SpecialTokens.NONE, 10).ids());
    assertEquals(List.of(), EosTokens.of(List.of(), SpecialTokens.NONE, 10).ids());
  }

  @Test
  void anEndThatTheModelCannotSayIsLeftOut() {
    assertEquals(List.of(5), EosTokens.of(List.of(5), eos(10), 10).ids());
  }
}
