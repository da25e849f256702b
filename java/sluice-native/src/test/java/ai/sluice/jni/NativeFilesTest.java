package ai.sluice.jni;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.NativeLoadException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeFilesTest {
  private static final String MODULE_PATH = "jdk.module.path";

  @TempDir Path folder;
  private final String libraryPath = System.getProperty(NativeFiles.LIBRARY_PATH);
  private final String modulePath = System.getProperty(MODULE_PATH);

  @AfterEach
  void restore() {
    restore(NativeFiles.LIBRARY_PATH, libraryPath);
    restore(MODULE_PATH, modulePath);
  }

  private static void restore(String key, String value) {
    if (value == null) {
      System.clearProperty(key);
    } else {
      System.setProperty(key, value);
    }
  }

  @Test
  void theFirstFolderOfThePropertyThatHasTheFileWins() throws IOException {
    Path empty = Files.createDirectory(folder.resolve("empty"));
    Path full = Files.createDirectory(folder.resolve("full"));
    Path library = Files.writeString(full.resolve("libsluice.so"), "");
    System.setProperty(NativeFiles.LIBRARY_PATH, empty + File.pathSeparator + full);
    NativeFile found = NativeFiles.locate().sluice();
    assertEquals(library, found.path());
    assertEquals("-Dsluice.library.path", found.origin());
  }

  @Test
  void aPropertyThatNamesNothingIsNotReplacedByTheJar() {
    System.setProperty(NativeFiles.LIBRARY_PATH, folder.toString());
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> NativeFiles.locate().sluice());
    String message = String.valueOf(e.getMessage());
    assertTrue(message.startsWith("libsluice.so: not found (remedy: "), message);
    assertTrue(message.contains(folder.resolve("libsluice.so") + ": no such file"), message);
  }

  @Test
  void withoutPropertyAndJarEveryPlaceIsNamed() {
    System.clearProperty(NativeFiles.LIBRARY_PATH);
    System.setProperty(MODULE_PATH, folder.toString());
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> NativeFiles.locate().jni());
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains("libjnisluice.so: not found"), message);
    assertTrue(message.contains("natives.sha256: not on the class path"), message);
    assertTrue(message.contains("not in " + folder + " (module path)"), message);
    assertTrue(message.contains("ai.sluice:sluice-native with classifier"), message);
  }

  @Test
  void ofTwoJarsTheOneWithCudaIsTaken() throws IOException {
    System.clearProperty(NativeFiles.LIBRARY_PATH);
    for (String variant : NativeFiles.VARIANTS) {
      String root = "ai/sluice/natives/" + variant + "/";
      try (ZipOutputStream zip =
          new ZipOutputStream(Files.newOutputStream(folder.resolve("a" + variant + ".jar")))) {
        zip.putNextEntry(new ZipEntry(root + "natives.sha256"));
        zip.write(("0".repeat(64) + "  " + root + "lib.so").getBytes(StandardCharsets.UTF_8));
      }
    }
    System.setProperty(MODULE_PATH, folder.toString());
    // Neither jar has the library, so the message tells which index was believed.
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> NativeFiles.locate().named("lib.so"));
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains(NativeFiles.PLATFORM + "-cuda13/lib.so: not on"), message);
    assertTrue(!message.contains(NativeFiles.PLATFORM + "/lib.so"), message);
  }

  @Test
  void aJarOfTheModulePathIsLookedThrough() throws IOException {
    Path jar = folder.resolve("natives.jar");
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(jar))) {
      zip.putNextEntry(new ZipEntry("some/linux-x86_64/resource"));
      zip.write("content".getBytes(StandardCharsets.UTF_8));
    }
    Files.writeString(folder.resolve("broken.jar"), "not a jar");
    for (String path : List.of(folder.toString(), jar.toString())) {
      System.setProperty(MODULE_PATH, path);
      ResourceLookup.Found found =
          ResourceLookup.find("some/linux-x86_64/resource", new ArrayList<>());
      assertEquals(jar + "!/some/linux-x86_64/resource", found.origin());
      try (InputStream in = found.open()) {
        assertEquals("content", new String(in.readAllBytes(), StandardCharsets.UTF_8));
      }
    }
  }
}
