package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.proto.ModelSpec;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What the module lets others see. */
class ModuleTest {
  /** A method that returns a type is of no use to who cannot see the type. */
  @Test
  void whoSeesCheckpointsSeesWhatTheyReturn() {
    Module module = Checkpoint.class.getModule();
    assertTrue(module.isNamed(), "the tests run on the module path");
    assertFalse(module.isExported(Checkpoint.class.getPackageName()));
    for (Class<?> type : List.of(Checkpoint.class, ModelSpec.class)) {
      String name = type.getPackageName();
      assertEquals(
          List.of("ai.sluice.cli", "ai.sluice.core", "ai.sluice.eval"),
          module.getDescriptor().exports().stream()
              .filter(export -> export.source().equals(name))
              .flatMap(export -> export.targets().stream())
              .sorted()
              .toList(),
          name);
    }
  }
}
