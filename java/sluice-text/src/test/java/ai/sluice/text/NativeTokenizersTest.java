package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.NativeLoadException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Loading of the native library. */
class NativeTokenizersTest {

  /** An upgrade of the binding must renew the hashes, for every platform that it packs. */
  @Test
  void packedLibrariesHaveThePinnedHashes(@TempDir Path folder) throws IOException {
    for (NativeTokenizers.Packed packed : NativeTokenizers.Packed.values()) {
      Path library = NativeTokenizers.extract(packed, folder.resolve(packed.name()));
      assertTrue(Files.size(library) > 1_000_000);
    }
  }

  @Test
  void damagedCopiesAreReplacedAndNothingIsLeftOver(@TempDir Path folder) throws IOException {
    NativeTokenizers.Packed packed = NativeTokenizers.Packed.LINUX_X86_64;
    Path library = NativeTokenizers.extract(packed, folder);
    long size = Files.size(library);
    Files.write(library, new byte[] {1, 2, 3});
    assertEquals(library, NativeTokenizers.extract(packed, folder));
    assertEquals(size, Files.size(library));
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(library), files.toList());
    }
  }

  @Test
  void aFolderThatOthersCanChangeIsRefused(@TempDir Path folder) throws IOException {
    NativeTokenizers.Packed packed = NativeTokenizers.Packed.LINUX_X86_64;
    Path cache = folder.resolve("cache");
    Path library = NativeTokenizers.extract(packed, cache);
    assertEquals(
        PosixFilePermissions.fromString("rwx------"), Files.getPosixFilePermissions(cache));
    for (String mode : List.of("rwxrwxrwx", "rwx-w----", "rwx--x--x")) {
      Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString(mode));
      IOException e =
          assertThrows(IOException.class, () -> NativeTokenizers.extract(packed, cache));
      assertTrue(e.getMessage().contains("expected: mode 0700"), e.getMessage());
    }
    Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString("rwx------"));
    assertEquals(library, NativeTokenizers.extract(packed, cache));
    // A link to a folder of one's own may be turned elsewhere by whoever owns the link.
    Path link = Files.createSymbolicLink(folder.resolve("link"), cache);
    assertThrows(IOException.class, () -> NativeTokenizers.extract(packed, link));
  }

  @Test
  void aLinkInPlaceOfTheLibraryIsReplaced(@TempDir Path folder) throws IOException {
    NativeTokenizers.Packed packed = NativeTokenizers.Packed.LINUX_X86_64;
    Path cache = folder.resolve("cache");
    Path library = NativeTokenizers.extract(packed, cache);
    Path elsewhere = Files.move(library, folder.resolve("elsewhere"));
    Files.createSymbolicLink(library, elsewhere);
    assertEquals(library, NativeTokenizers.extract(packed, cache));
    assertTrue(Files.isRegularFile(library, LinkOption.NOFOLLOW_LINKS));
  }

  @Test
  void theUsersCacheIsFoundWhateverIsMissing() {
    assertEquals(Path.of("/x"), NativeTokenizers.userCache("/x", "/home/a", "/home/b"));
    assertEquals(Path.of("/home/a/.cache"), NativeTokenizers.userCache(null, "/home/a", "/b"));
    assertEquals(Path.of("/home/a/.cache"), NativeTokenizers.userCache("rel/x", "/home/a", "/b"));
    assertEquals(Path.of("/b/.cache"), NativeTokenizers.userCache("", null, "/b"));
    assertEquals(Path.of("/b/.cache"), NativeTokenizers.userCache("", "", "/b"));
    assertNull(NativeTokenizers.userCache(null, null, "?"));
    assertNull(NativeTokenizers.userCache(null, "home", (String) null));
  }

  @Test
  void otherPlatformsAreRefusedByName() {
    assertEquals(
        NativeTokenizers.Packed.LINUX_X86_64, NativeTokenizers.packedFor("Linux", "amd64"));
    assertEquals(
        NativeTokenizers.Packed.LINUX_AARCH64, NativeTokenizers.packedFor("Linux", "aarch64"));
    assertEquals(
        NativeTokenizers.Packed.MACOS_AARCH64, NativeTokenizers.packedFor("Mac OS X", "aarch64"));
    NativeLoadException e =
        assertThrows(NativeLoadException.class, () -> NativeTokenizers.packedFor("Plan 9", "mips"));
    assertTrue(e.getMessage().contains("Plan 9 mips"), e.getMessage());
  }

  /**
   * DJL's loader would look for CUDA, download and report home. Had it run, its own copy of the
   * library would be mapped from its own cache.
   */
  @Test
  void onlyOurCopyOfTheLibraryIsLoaded() throws IOException {
    try (Tokenizer tokenizer = Tokenizer.fromJson(GoldenIds.read("small/bytelevel.json"))) {
      assertTrue(tokenizer.encode("a", false, true).length > 0);
    }
    Path maps = Path.of("/proc/self/maps");
    assumeTrue(Files.isReadable(maps), "no /proc/self/maps on this platform");
    Set<String> mapped =
        Files.readAllLines(maps).stream()
            .filter(line -> line.contains("tokenizers") && line.contains(".so"))
            .map(line -> line.substring(line.indexOf('/')))
            .collect(Collectors.toSet());
    assertEquals(1, mapped.size(), mapped.toString());
    assertTrue(mapped.iterator().next().contains("sluice"), mapped.toString());
  }
}
