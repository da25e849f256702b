package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardIndexTest {
  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @TempDir Path root;
  private Path folder;

  @BeforeEach
  void writeShards() throws IOException {
    folder = Files.createDirectories(root.resolve("model"));
    SafetensorsBytes.write(
        folder.resolve(FIRST),
        new SafetensorsBytes().add("a", DType.F32, 2).add("b", DType.BF16, 3).bytes());
    SafetensorsBytes.write(
        folder.resolve(SECOND), new SafetensorsBytes().add("c", DType.F32, 2, 2).bytes());
    index("\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"".formatted(FIRST, FIRST, SECOND));
  }

  private void index(String weightMap) throws IOException {
    Files.writeString(
        folder.resolve(ShardIndex.INDEX_FILE),
        "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + weightMap + "}}");
  }

  private String failure() {
    return assertThrows(CheckpointFormatException.class, () -> ShardIndex.open(folder))
        .getMessage();
  }

  @Test
  void mergesShards() {
    TensorDirectory tensors = ShardIndex.open(folder);
    assertEquals(3, tensors.size());
    assertEquals(folder.resolve(FIRST), tensors.get("b").file());
    assertEquals(folder.resolve(SECOND), tensors.get("c").file());
    assertEquals(8 + 6 + 16, tensors.totalBytes());
    assertEquals(6, tensors.elementsByDType().get(DType.F32));
    assertEquals(6, tensors.bytesByDType().get(DType.BF16));
  }

  @Test
  void prefersTheSingleFile() throws IOException {
    SafetensorsBytes.write(
        folder.resolve(ShardIndex.SINGLE_FILE),
        new SafetensorsBytes().add("only", DType.F32, 1).bytes());
    assertEquals(1, ShardIndex.open(folder).size());
  }

  @Test
  void readsTheFixtureOfTwoFiles() {
    TensorDirectory tensors = ShardIndex.open(Fixtures.folder("mixtral"));
    assertEquals(2, tensors.tensors().stream().map(TensorInfo::file).distinct().count());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../model/model-00001-of-00002.safetensors",
        "/etc/x.safetensors",
        "sub/x.safetensors",
        "sub\\\\x.safetensors",
        "C:x.safetensors",
        "..",
        ".",
        ".hidden.safetensors",
        ".safetensors",
        "",
        "x.bin",
        "x\\u0000.safetensors",
        "x\\n.safetensors",
        "\\u00fc.safetensors"
      })
  void refusesNamesThatAreNotPlain(String name) throws IOException {
    index("\"a\":\"" + name + "\"");
    String message = failure();
    assertTrue(message.contains("expected: a plain name in the same folder"), message);
  }

  @Test
  void refusesLongNames() throws IOException {
    index("\"a\":\"" + "x".repeat(300) + ".safetensors\"");
    assertTrue(failure().contains("expected: a plain name"));
  }

  @Test
  void refusesALinkThatLeavesTheFolder() throws IOException {
    Path outside = Files.move(folder.resolve(SECOND), root.resolve("outside.safetensors"));
    Files.createSymbolicLink(folder.resolve(SECOND), outside);
    assertTrue(failure().contains("is a link that leaves the folder"));
  }

  @Test
  void acceptsLinksInsideTheFolderAndIntoTheCachesBlobs() throws IOException {
    Files.move(folder.resolve(SECOND), folder.resolve("data"));
    Files.createSymbolicLink(folder.resolve(SECOND), Path.of("data"));
    assertEquals(3, ShardIndex.open(folder).size());

    Path cache = root.resolve("models--a--b");
    Path blobs = Files.createDirectories(cache.resolve("blobs"));
    Path snapshot = Files.createDirectories(cache.resolve("snapshots").resolve("0123"));
    for (String name : new String[] {FIRST, SECOND, ShardIndex.INDEX_FILE}) {
      Files.copy(folder.resolve(name), blobs.resolve("blob-" + name));
      Files.createSymbolicLink(snapshot.resolve(name), Path.of("../../blobs/blob-" + name));
    }
    assertEquals(3, ShardIndex.open(snapshot).size());
  }

  @Test
  void namesAMissingShard() throws IOException {
    Files.delete(folder.resolve(SECOND));
    String message = failure();
    assertTrue(message.contains(SECOND + ": no such file"), message);
  }

  @Test
  void namesATensorThatItsShardLacks() throws IOException {
    index(
        "\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\",\"d\":\"%s\""
            .formatted(FIRST, FIRST, SECOND, SECOND));
    String message = failure();
    assertTrue(message.contains(SECOND + ": d: is not in this file"), message);
  }

  @Test
  void namesATensorThatTheIndexLacks() throws IOException {
    index("\"a\":\"%s\",\"c\":\"%s\"".formatted(FIRST, SECOND));
    String message = failure();
    assertTrue(message.contains(FIRST + ": b: not listed in"), message);
  }

  @Test
  void namesATensorInTwoShards() throws IOException {
    SafetensorsBytes.write(
        folder.resolve(SECOND),
        new SafetensorsBytes().add("c", DType.F32, 2).add("a", DType.F32, 2).bytes());
    String message = failure();
    assertTrue(message.contains(SECOND + ": a: ") && message.contains(FIRST), message);
  }

  @Test
  void refusesDuplicateEntriesOfTheIndex() throws IOException {
    index("\"a\":\"%s\",\"a\":\"%s\"".formatted(FIRST, SECOND));
    assertTrue(failure().contains("not valid JSON: Duplicate"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":null}",
        "[]",
        "",
        "{\"weight_map\":{}} x",
        "{\"weight_map\""
      })
  void refusesAnIndexThatIsNone(String json) throws IOException {
    Files.writeString(folder.resolve(ShardIndex.INDEX_FILE), json);
    String message = failure();
    assertTrue(message.contains(ShardIndex.INDEX_FILE), message);
  }

  @Test
  void saysWhatAFolderWithoutWeightsLacks() throws IOException {
    Files.delete(folder.resolve(ShardIndex.INDEX_FILE));
    assertTrue(failure().contains("holds neither model.safetensors nor"));
  }
}
