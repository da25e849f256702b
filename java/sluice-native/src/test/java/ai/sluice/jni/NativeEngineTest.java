package ai.sluice.jni;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.SluiceException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** What can be asked of the real library without a model; sluice-core's tests run models. */
class NativeEngineTest {
  private static final byte[] NOTHING = {};

  private static NativeEngine create(byte[] spec, byte[] options, byte[] commId) {
    return NativeEngine.create(spec, options, new int[] {0}, 0, 1, commId, 0, 0);
  }

  @Test
  void bothSidesHaveOneVersion() {
    assertEquals(NativeLibrary.javaVersion().replace("-SNAPSHOT", ""), NativeLibrary.version());
    assertEquals("-Dsluice.library.path", NativeLibrary.origin());
    assertEquals("libsluice.so", NativeLibrary.path().getFileName().toString());
  }

  @Test
  void structsHaveTheSizesThatTheHeaderPromises() {
    assertEquals(256, NativeLibrary.sizeOf("sluice_step_header"));
    assertEquals(64, NativeLibrary.sizeOf("sluice_step_result"));
    assertEquals(128, NativeLibrary.sizeOf("sluice_output_row"));
    assertEquals(16, NativeLibrary.sizeOf("sluice_block_update"));
    assertEquals(16, NativeLibrary.offsetOf("sluice_output_row", "seed"));
    assertThrows(IllegalArgumentException.class, () -> NativeLibrary.sizeOf("no_such_struct"));
  }

  @Test
  void systemInfoNamesOnednn() {
    String info = new String(NativeLibrary.systemInfo(), StandardCharsets.UTF_8);
    assertTrue(info.contains("libdnnl.so.3"), info);
  }

  @Test
  void aLibraryIsLookedForWhereItIsSaidToBe() {
    String path = "/nonexistent/libdnnl.so.3";
    String info =
        new String(NativeLibrary.libraryInfo("oneDNN", Path.of(path)), StandardCharsets.UTF_8);
    assertTrue(info.contains(path), info);
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> NativeLibrary.libraryInfo("cuFFT", null));
    assertTrue(String.valueOf(e.getMessage()).startsWith("name: cuFFT (expected: oneDNN, cuBLASLt"));
  }

  @Test
  void bytesThatAreNoModelAreRefused() {
    byte[] garbage = new byte[100];
    Arrays.fill(garbage, (byte) 0xff);
    for (byte[] spec : new byte[][] {NOTHING, {0x7f}, garbage}) {
      SluiceException e =
          assertThrows(SluiceException.class, () -> create(spec, NOTHING, null).close());
      assertFalse(String.valueOf(e.getMessage()).isEmpty());
      assertThrows(
          SluiceException.class,
          () -> NativeEngine.plan(spec, NOTHING, new int[] {0}, 0, 1, 0, 0));
    }
  }

  @Test
  void optionsThatAreNoMessageAreRefused() {
    assertThrows(SluiceException.class, () -> create(NOTHING, new byte[] {0x7f}, null).close());
  }

  @Test
  void aGroupIdOfAnotherLengthIsRefusedBeforeItIsRead() {
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class, () -> create(NOTHING, NOTHING, new byte[3]).close());
    assertTrue(String.valueOf(e.getMessage()).startsWith("comm_id: 3 bytes (expected: 128"));
  }
}
