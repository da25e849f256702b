package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class MemoryPlanTest {
  @Test
  void withoutAnEngineTheMissingModuleIsNamed() {
    EngineOptions options = EngineOptions.builder().model(Path.of("nowhere")).build();
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> MemoryPlan.estimate(options));
    assertTrue(e.getMessage().contains("artifact sluice-core"), e.getMessage());
    assertThrows(InvalidRequestException.class, () -> MemoryPlan.estimate(null));
  }

  @Test
  void theTotalIsTheSum() {
    assertEquals(111, new MemoryPlan(100, 10, 2, 1, 7, -1, 5).totalBytes());
  }
}
