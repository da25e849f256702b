package ai.sluice.jni;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeCacheTest {
  private static final byte[] CONTENT = "a library".getBytes(StandardCharsets.UTF_8);

  @TempDir Path root;
  private final List<String> tried = new ArrayList<>();
  private final AtomicInteger opened = new AtomicInteger();

  private ResourceLookup.Found source(byte[] content) {
    return new ResourceLookup.Found() {
      @Override
      public String origin() {
        return "test.jar!/lib.so";
      }

      @Override
      public InputStream open() {
        opened.incrementAndGet();
        return new ByteArrayInputStream(content);
      }
    };
  }

  private static String hash(byte[] content) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
  }

  private Path extract() throws Exception {
    Path file = new NativeCache(root, tried).extract("lib.so", hash(CONTENT), source(CONTENT));
    assertNotNull(file, tried.toString());
    return file;
  }

  @Test
  void extractsOnceIntoAPrivateFolderNamedByTheHash() throws Exception {
    Path file = extract();
    assertEquals(root.resolve(hash(CONTENT)).resolve("lib.so"), file);
    assertArrayEquals(CONTENT, Files.readAllBytes(file));
    assertEquals(
        PosixFilePermissions.fromString("rwx------"),
        Files.getPosixFilePermissions(file.getParent()));
    assertEquals(file, extract());
    assertEquals(1, opened.get());
  }

  @Test
  void replacesADamagedFile() throws Exception {
    Files.write(extract(), "another".getBytes(StandardCharsets.UTF_8));
    assertArrayEquals(CONTENT, Files.readAllBytes(extract()));
    assertEquals(2, opened.get());
  }

  @Test
  void refusesContentThatIsNotWhatTheIndexSays() throws Exception {
    byte[] other = "a forged library".getBytes(StandardCharsets.UTF_8);
    assertNull(new NativeCache(root, tried).extract("lib.so", hash(CONTENT), source(other)));
    assertTrue(
        tried.get(0).startsWith(
            "test.jar!/lib.so: SHA-256 " + hash(other) + " (expected: " + hash(CONTENT)),
        tried.toString());
    try (Stream<Path> left = Files.list(root.resolve(hash(CONTENT)))) {
      assertEquals(0, left.count());
    }
  }

  @Test
  void refusesAFolderThatOthersCanWrite() throws Exception {
    Path file = extract();
    Files.setPosixFilePermissions(
        file.getParent(), PosixFilePermissions.fromString("rwxrwxrwx"));
    assertNull(
        new NativeCache(root, tried).extract("lib.so", hash(CONTENT), source(CONTENT)));
    assertTrue(tried.get(0).contains("expected: mode 0700"), tried.toString());
  }

  @Test
  void saysWhyWhenTheCacheCannotBeWritten() throws Exception {
    Path blocked = Files.writeString(root.resolve("file"), "not a folder").resolve("natives");
    assertNull(
        new NativeCache(blocked, tried).extract("lib.so", hash(CONTENT), source(CONTENT)));
    assertTrue(tried.get(0).startsWith(blocked.toString()), tried.toString());
  }

  @Test
  void manyAtOnceAgree() {
    List<String> failures = new ArrayList<>();
    IntStream.range(0, 16)
        .parallel()
        .forEach(
            i -> {
              try {
                assertArrayEquals(CONTENT, Files.readAllBytes(extract()));
              } catch (Exception | AssertionError e) {
                synchronized (failures) {
                  failures.add(e.toString());
                }
              }
            });
    assertEquals(List.of(), failures);
  }

  @Test
  void anUnreadableSourceIsReported() throws Exception {
    ResourceLookup.Found broken =
        new ResourceLookup.Found() {
          @Override
          public String origin() {
            return "broken.jar!/lib.so";
          }

          @Override
          public InputStream open() throws IOException {
            throw new IOException("cut short");
          }
        };
    assertNull(new NativeCache(root, tried).extract("lib.so", hash(CONTENT), broken));
    assertTrue(tried.get(0).contains("cut short"), tried.toString());
  }
}
