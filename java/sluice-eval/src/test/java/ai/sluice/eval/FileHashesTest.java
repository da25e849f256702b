package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileHashesTest {
  // printf 'abc' | sha256sum
  private static final String ABC =
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

  @TempDir Path folder;

  @Test
  void aHashIsKeptUntilTheFileChanges() throws IOException {
    Path file = Files.writeString(folder.resolve("weights.gguf"), "abc");
    Path cache = folder.resolve("cache/hashes");
    FileHashes hashes = new FileHashes(Optional.of(cache));
    assertEquals(ABC, hashes.of(List.of(file)));
    Path entry;
    try (Stream<Path> entries = Files.list(cache)) {
      entry = entries.findFirst().orElseThrow();
    }
    // What is kept is taken: the file is not read again.
    Files.writeString(entry, Files.readString(entry).replace(ABC, "kept"));
    assertEquals("kept", hashes.of(List.of(file)));
    assertEquals(ABC, new FileHashes(Optional.empty()).of(List.of(file)));
    Files.writeString(file, "abd");
    Files.setLastModifiedTime(file, FileTime.from(Instant.ofEpochSecond(1)));
    assertNotEquals("kept", hashes.of(List.of(file)));
    Files.writeString(file, "abc");
    Files.setLastModifiedTime(file, FileTime.from(Instant.ofEpochSecond(2)));
    assertEquals(ABC, hashes.of(List.of(file)));
    Files.writeString(entry, "nonsense");
    assertEquals(ABC, hashes.of(List.of(file)));
  }

  @Test
  void aFolderIsItsSettingsAndWeights() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{}");
    Files.writeString(folder.resolve("a.safetensors"), "abc");
    Files.writeString(folder.resolve("tokenizer.json"), "{}");
    List<Path> files = FileHashes.ofModel(folder);
    assertEquals(
        List.of("a.safetensors", "config.json"),
        files.stream().map(file -> file.getFileName().toString()).toList());
    FileHashes hashes = new FileHashes(Optional.empty());
    String before = hashes.of(files);
    Files.writeString(folder.resolve("a.safetensors"), "abd");
    assertNotEquals(before, hashes.of(files));
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> hashes.of(List.of(folder.resolve("none"))));
    assertTrue(String.valueOf(e.getMessage()).contains("none: cannot be read"), e.getMessage());
  }
}
