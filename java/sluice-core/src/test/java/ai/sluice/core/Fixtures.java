package ai.sluice.core;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.checkpoint.SafetensorsFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** Finds the parity fixtures of the repository, wherever a test is started from. */
final class Fixtures {
  static final List<String> DENSE = List.of("llama", "llama3_rope", "mistral", "qwen2");

  private Fixtures() {}

  /** The names of all fixtures, sorted. */
  static List<String> all() {
    try (Stream<Path> folders = Files.list(folder("llama").getParent())) {
      return folders
          .filter(Files::isDirectory)
          .map(path -> path.getFileName().toString())
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The folder of one fixture. */
  static Path folder(String name) {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden/fixtures").resolve(name);
      if (Files.isDirectory(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/fixtures/" + name + " not found");
  }

  /** Options for a fixture in float32. */
  static EngineOptions.Builder options(String name) {
    return EngineOptions.builder().model(folder(name)).dtype(ComputeDtype.FLOAT32);
  }

  /** A tensor of a fixture's expected outputs. */
  static float[] floats(String fixture, String tensor) {
    return SafetensorsFile.open(folder(fixture).resolve(Verifier.EXPECTED)).readFloat32(tensor);
  }

  /** A tensor of bytes of a fixture's expected outputs. */
  static byte[] bytes(String fixture, String tensor) {
    return SafetensorsFile.open(folder(fixture).resolve(Verifier.EXPECTED)).readUint8(tensor);
  }

  /** A prompt of a fixture, or another of its integer tensors. */
  static int[] ids(String fixture, String tensor) {
    SafetensorsFile file = SafetensorsFile.open(folder(fixture).resolve(Verifier.EXPECTED));
    return Arrays.stream(file.readInt64(tensor)).mapToInt(Math::toIntExact).toArray();
  }
}
