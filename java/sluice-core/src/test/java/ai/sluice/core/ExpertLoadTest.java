package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Backend;
import ai.sluice.api.ExpertLoad;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.NativeLoadException;
import ai.sluice.api.Sampling;
import ai.sluice.jni.NativeLibrary;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokens per expert of real models, against the choices that the fixtures expect. */
@Timeout(600)
class ExpertLoadTest {
  private static Engine open(String fixture) {
    return open(fixture, 1);
  }

  private static Engine open(String fixture, int ranks) {
    return Engine.open(
        Fixtures.options(fixture)
            .backend(ranks == 1 ? Backend.AUTO : Backend.CPU)
            .tensorParallelSize(ranks)
            .maxContextLength(64)
            .maxSequences(2)
            .reportExpertCounts(true)
            .prefixCache(false)
            .build());
  }

  /** Ranks are of the CPU; a machine with a GPU may lack what that backend opens. */
  private static void assumeCpu() {
    try {
      NativeLibrary.onednnPath();
    } catch (NativeLoadException e) {
      Assumptions.abort("the CPU backend lacks oneDNN here: " + e.getMessage());
    }
  }

  /** Computes the first prompt alone: the one token that is made is not computed. */
  private static void prefill(Engine engine, String fixture) {
    engine.generate(
        GenerationRequest.builder()
            .promptTokens(Fixtures.ids(fixture, "input_ids_0"))
            .sampling(Sampling.greedy())
            .ignoreEos(true)
            .maxNewTokens(1)
            .build());
  }

  private static List<Long> expected(String fixture, int layer, int experts) {
    long[] counts = new long[experts];
    for (int expert : Fixtures.ids(fixture, "router_idx_0_" + layer)) {
      counts[expert]++;
    }
    List<Long> list = new ArrayList<>();
    for (long count : counts) {
      list.add(count);
    }
    return list;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4})
  void countsAreTheRoutersChoices(int ranks) {
    if (ranks > 1) {
      assumeCpu();
    }
    try (Engine engine = open("mixtral", ranks)) {
      assertEquals(0, engine.expertLoad().steps());
      prefill(engine, "mixtral");
      ExpertLoad load = engine.expertLoad();
      assertEquals(1, load.steps());
      assertEquals(2, load.layers().size());
      for (ExpertLoad.Layer layer : load.layers()) {
        List<Long> want = expected("mixtral", layer.layer(), 8);
        assertEquals(want, layer.tokens());
        assertEquals(want, layer.lastStepTokens());
        assertEquals(layer.imbalance(), layer.lastStepImbalance());
        assertTrue(layer.imbalance() >= 1, layer.toString());
      }
      // The same again: a sum, and a last step that is not.
      prefill(engine, "mixtral");
      ExpertLoad twice = engine.expertLoad();
      for (int i = 0; i < 2; i++) {
        ExpertLoad.Layer layer = twice.layers().get(i);
        assertEquals(
            load.layers().get(i).tokens().stream().map(count -> 2 * count).toList(),
            layer.tokens());
        assertEquals(load.layers().get(i).tokens(), layer.lastStepTokens());
      }
    }
  }

  @Test
  void layersWithoutExpertsAreLeftOut() {
    try (Engine engine = open("deepseek_v2")) {
      prefill(engine, "deepseek_v2");
      ExpertLoad load = engine.expertLoad();
      assertEquals(
          List.of(1, 2), load.layers().stream().map(ExpertLoad.Layer::layer).toList());
      for (ExpertLoad.Layer layer : load.layers()) {
        assertEquals(expected("deepseek_v2", layer.layer(), 6), layer.tokens());
      }
    }
  }

  /** What an expert's capacity dropped is not counted; the engine may be closed by then. */
  @Test
  void droppedChoicesAreNotCounted() {
    Engine engine = open("adaptive_moe");
    try (engine) {
      prefill(engine, "adaptive_moe");
    }
    int dropped = 0;
    for (ExpertLoad.Layer layer : engine.expertLoad().layers()) {
      int[] idx = Fixtures.ids("adaptive_moe", "router_idx_0_" + layer.layer());
      byte[] kept = Fixtures.bytes("adaptive_moe", "router_kept_0_" + layer.layer());
      long[] want = new long[8];
      for (int i = 0; i < idx.length; i++) {
        want[idx[i]] += kept[i];
        dropped += 1 - kept[i];
      }
      for (int expert = 0; expert < want.length; expert++) {
        assertEquals(want[expert], layer.tokens().get(expert), "expert " + expert);
      }
    }
    assertTrue(dropped > 0, "the fixture drops nothing");
  }

  @Test
  void whatIsNotCountedIsRefusedByName() {
    try (Engine engine =
        Engine.open(Fixtures.options("mixtral").maxContextLength(32).maxSequences(1).build())) {
      InvalidRequestException e =
          assertThrows(InvalidRequestException.class, engine::expertLoad);
      assertTrue(e.getMessage().startsWith("reportExpertCounts: false (expected: true"),
          e.getMessage());
    }
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> open("llama"));
    assertTrue(
        e.getMessage().startsWith("reportExpertCounts: true (expected: false"), e.getMessage());
  }
}
