package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ExpertLoadTest {
  @Test
  void imbalanceIsTheBusiestOverTheMean() {
    ExpertLoad.Layer layer =
        new ExpertLoad.Layer(2, List.of(4L, 0L, 10L, 10L), List.of(0L, 0L, 3L, 0L));
    assertEquals(10 / 6.0, layer.imbalance(), 1e-12);
    assertEquals(4, layer.lastStepImbalance(), 1e-12);
    assertEquals(2, layer.busiestExpert());
    assertEquals(1, layer.unusedExperts());
    assertEquals(1, new ExpertLoad.Layer(0, List.of(7L, 7L), List.of(1L, 1L)).imbalance());
  }

  @Test
  void nothingComputedIsNoImbalance() {
    ExpertLoad.Layer layer = new ExpertLoad.Layer(0, List.of(0L, 0L), List.of(0L, 0L));
    assertEquals(0, layer.imbalance());
    assertEquals(2, layer.unusedExperts());
    assertEquals(0, layer.busiestExpert());
  }

  @Test
  void countsCannotBeChanged() {
    List<Long> mine = new ArrayList<>(List.of(1L));
    ExpertLoad.Layer layer = new ExpertLoad.Layer(0, mine, List.of(0L));
    mine.set(0, 9L);
    assertEquals(List.of(1L), layer.tokens());
    assertThrows(UnsupportedOperationException.class, () -> layer.tokens().set(0, 2L));
  }
}
