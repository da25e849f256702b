package ai.sluice.jni;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.NativeLoadException;
import ai.sluice.api.OutOfDeviceMemoryException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import java.lang.reflect.Field;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class StatusMappingTest {
  private static final Map<String, Class<? extends SluiceException>> EXPECTED =
      Map.ofEntries(
          Map.entry("INVALID_ARGUMENT", InvalidRequestException.class),
          Map.entry("UNSUPPORTED", UnsupportedModelException.class),
          Map.entry("OUT_OF_HOST_MEMORY", OutOfDeviceMemoryException.class),
          Map.entry("OUT_OF_DEVICE_MEMORY", OutOfDeviceMemoryException.class),
          Map.entry("IO", CheckpointFormatException.class),
          Map.entry("CORRUPT_DATA", CheckpointFormatException.class),
          Map.entry("INCOMPLETE", CheckpointFormatException.class),
          Map.entry("TIMEOUT", EngineFailedException.class),
          Map.entry("ABORTED", EngineClosedException.class),
          Map.entry("WRONG_STATE", EngineFailedException.class),
          Map.entry("DEVICE_LOST", EngineFailedException.class),
          Map.entry("ENGINE_FAILED", EngineFailedException.class),
          Map.entry("BUFFER_TOO_SMALL", EngineFailedException.class),
          Map.entry("LIBRARY_MISSING", NativeLoadException.class),
          Map.entry("INTERNAL", EngineFailedException.class));

  /** Every status of the header but OK, from the class generated from it. */
  private static Map<String, Integer> statuses() throws IllegalAccessException {
    NativeLibrary.load();
    Map<String, Integer> found = new TreeMap<>();
    for (Field field : SluiceAbi.class.getFields()) {
      String name = field.getName();
      if (name.startsWith("SLUICE_STATUS_") && !name.endsWith("_COUNT") && !name.endsWith("_OK")) {
        found.put(name.substring("SLUICE_STATUS_".length()), field.getInt(null));
      }
    }
    return found;
  }

  @Test
  void everyStatusOfTheHeaderHasItsException() throws IllegalAccessException {
    Map<String, Integer> statuses = statuses();
    assertEquals(EXPECTED.keySet(), statuses.keySet());
    assertEquals(SluiceAbi.SLUICE_STATUS_COUNT - 1, statuses.size());
    for (Map.Entry<String, Integer> status : statuses.entrySet()) {
      SluiceException e = StatusMapping.toException(status.getValue(), "text", "a.cc:1", 3, 2);
      assertEquals(EXPECTED.get(status.getKey()), e.getClass(), status.getKey());
      assertTrue(String.valueOf(e.getMessage()).startsWith("text"), status.getKey());
    }
  }

  @Test
  void bothSidesNameEachStatusAlike() throws IllegalAccessException {
    for (Map.Entry<String, Integer> status : statuses().entrySet()) {
      assertEquals(
          status.getKey(), SluiceAbi.sluice_status_name(status.getValue()).getString());
    }
  }

  @Test
  void memoryNumbersAreKept() {
    OutOfDeviceMemoryException e =
        assertInstanceOf(
            OutOfDeviceMemoryException.class,
            StatusMapping.toException(
                SluiceAbi.SLUICE_STATUS_OUT_OF_DEVICE_MEMORY, "text", "a.cc:1", 300, 200));
    assertEquals(300, e.neededBytes());
    assertEquals(200, e.freeBytes());
  }

  @Test
  void unknownStatusSaysWhatToDo() {
    SluiceException e =
        StatusMapping.toException(SluiceAbi.SLUICE_STATUS_COUNT, "text", "a.cc:1", -1, -1);
    assertInstanceOf(EngineFailedException.class, e);
    assertTrue(String.valueOf(e.getMessage()).contains("expected: 0 to 15; remedy:"));
  }
}
