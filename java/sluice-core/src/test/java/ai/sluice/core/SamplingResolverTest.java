package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import ai.sluice.core.scheduler.SamplingParams;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class SamplingResolverTest {
  private static final Sampling CHECKPOINT =
      Sampling.builder().temperature(0.6).topP(0.9).repetitionPenalty(1.05).build();

  private static SamplingResolver resolver(Sampling checkpoint, String source) {
    return new SamplingResolver(checkpoint, Optional.ofNullable(source), 100);
  }

  @Test
  void theRequestWinsOverTheCheckpoint() {
    SamplingParams params =
        resolver(CHECKPOINT, "generation_config.json")
            .resolve(Sampling.builder().temperature(0.1).topK(7).build());
    assertEquals(0.1f, params.temperature());
    assertEquals(7, params.topK());
    assertEquals(0.9f, params.topP());
    assertEquals(1.05f, params.repetitionPenalty());
  }

  @Test
  void withoutAnySourceItIsGreedy() {
    SamplingParams params = resolver(Sampling.unset(), null).resolve(Sampling.unset());
    assertEquals(0, params.temperature());
    assertEquals(1, params.topP());
    assertEquals(1, params.repetitionPenalty());
    assertEquals("built in", resolver(Sampling.unset(), null).defaults().source());
  }

  @Test
  void theSourceInForceIsNamed() {
    assertEquals(
        "generation_config.json",
        resolver(CHECKPOINT, "generation_config.json").defaults().source());
    assertEquals(
        "built in (generation_config.json sets none)",
        resolver(Sampling.unset(), "generation_config.json").defaults().source());
    assertEquals(
        0.6,
        resolver(CHECKPOINT, "x").defaults().sampling().temperature().orElseThrow());
  }

  @Test
  void aFilterWithoutATemperatureMeansTemperatureOne() {
    SamplingResolver resolver = resolver(Sampling.unset(), null);
    assertEquals(1, resolver.resolve(Sampling.builder().topP(0.5).build()).temperature());
    assertEquals(1, resolver.resolve(Sampling.builder().topK(5).build()).temperature());
    assertEquals(1, resolver.resolve(Sampling.builder().minP(0.1).build()).temperature());
    assertEquals(
        0, resolver.resolve(Sampling.builder().topK(5).temperature(0).build()).temperature());
  }

  @Test
  void whatRoundsOutOfRangeInFloatStaysInRange() {
    SamplingParams params =
        resolver(Sampling.unset(), null)
            .resolve(Sampling.builder().topP(1e-300).minP(Math.nextDown(1.0)).build());
    assertTrue(params.topP() > 0);
    assertTrue(params.minP() < 1);
  }

  @Test
  void aTopKBeyondTheVocabularyIsOff() {
    assertEquals(
        0,
        resolver(Sampling.unset(), null)
            .resolve(Sampling.builder().topK(Integer.MAX_VALUE).build())
            .topK());
  }

  @Test
  void biasedTokensMustBeInTheVocabulary() {
    SamplingResolver resolver = resolver(Sampling.unset(), null);
    SamplingParams params = resolver.resolve(Sampling.builder().logitBias(99, 2f).build());
    assertArrayEquals(new int[] {99}, params.biasTokens());
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> resolver.resolve(Sampling.builder().logitBias(100, 2f).build()));
    assertEquals("logitBias token: 100 (expected: 0 to 99)", e.getMessage());
  }
}
