package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.HeadSpec;
import ai.sluice.proto.ModelSpec;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ModelHeadsTest {
  private static HeadSpec head(HeadKind kind, String name) {
    return HeadSpec.newBuilder().setKind(kind).setName(name).build();
  }

  private final ModelHeads heads =
      new ModelHeads(
          ModelSpec.newBuilder()
              .addHeads(head(HeadKind.GENERATION, "lm"))
              .addHeads(head(HeadKind.REASONING, "reasoning"))
              .addHeads(head(HeadKind.CLASSIFICATION, "topic").toBuilder().setNumLabels(5))
              .addHeads(head(HeadKind.VALUE, "worth"))
              .build());

  @Test
  void theFirstHeadThatSuitsIsMeant() {
    assertEquals(HeadChoice.tokens(0), heads.forTokens(Optional.empty()));
    assertEquals(HeadChoice.tokens(1), heads.forTokens(Optional.of("reasoning")));
    assertEquals(new HeadChoice(2, 5), heads.forValues(Optional.empty()));
    assertEquals(new HeadChoice(3, 1), heads.forValues(Optional.of("worth")));
    assertEquals(5, heads.maxValues());
  }

  @Test
  void aHeadThatDoesNotSuitIsRefusedWithThoseThatDo() {
    InvalidRequestException tokens =
        assertThrows(
            InvalidRequestException.class, () -> heads.forTokens(Optional.of("topic")));
    assertEquals(
        "head: topic (expected: lm, reasoning, which give tokens)", tokens.getMessage());
    InvalidRequestException values =
        assertThrows(
            InvalidRequestException.class, () -> heads.forValues(Optional.of("nobody")));
    assertTrue(values.getMessage().contains("topic, worth"), values.getMessage());
  }

  @Test
  void aModelWithoutScoresSaysSo() {
    ModelHeads plain =
        new ModelHeads(ModelSpec.newBuilder().addHeads(head(HeadKind.GENERATION, "lm")).build());
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class, () -> plain.forValues(Optional.empty()));
    assertTrue(e.getMessage().contains("this model has lm"), e.getMessage());
    assertEquals(0, plain.maxValues());
  }
}
