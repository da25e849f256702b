package ai.sluice.eval.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.LoopbackServer;
import ai.sluice.eval.TestData;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DataSetsTest {
  @TempDir Path home;

  @Test
  void everyTaskHasItsDataSet() {
    for (EvalTask task : EvalTasks.all()) {
      assertTrue(task.name().startsWith(DataSets.of(task.name()).name()), task.name());
    }
    String message =
        assertThrows(InvalidRequestException.class, () -> DataSets.of("gsm9k")).getMessage();
    assertTrue(message.startsWith("task: gsm9k (expected: gsm8k, "), message);
  }

  @Test
  void everyByteIsPinned() {
    for (DataSet set : DataSets.all()) {
      set.hashes().forEach((path, hash) -> assertTrue(hash.matches("[0-9a-f]{64}"), path));
      for (DataSet.Source source : set.sources()) {
        assertTrue(source.sha256().matches("[0-9a-f]{64}"), source.toString());
        assertEquals("https", source.uri().getScheme());
      }
      assertTrue(set.hashes().containsKey(set.licenceFile()));
    }
    assertEquals(3 * 57, DataSets.mmlu().archive().orElseThrow().members().size());
  }

  /** The pins are those of the data that the prompts were compared on. */
  @Test
  void realDataHasThePinnedHashes() {
    Path data = TestData.folder("data");
    assumeTrue(TestData.there(data), "the data sets");
    for (DataSet set : DataSets.all()) {
      assertFalse(new DataFetch(data, Optional.empty(), (a, b) -> {}).fetch(set).fetched());
    }
  }

  @Test
  void realFilesAreFetched() throws IOException {
    Path data = TestData.folder("data");
    assumeTrue(TestData.there(data), "the data sets");
    try (LoopbackServer server =
        new LoopbackServer(
            (request, out) ->
                LoopbackServer.respond(out, 200, "", content(data, request.path())))) {
      DataFetch fetch = new DataFetch(home, Optional.of(server.uri("/")), (done, total) -> {});
      for (DataSet set : new DataSet[] {DataSets.gsm8k(), DataSets.humanEval()}) {
        assertTrue(fetch.fetch(set).fetched());
        assertFalse(fetch.fetch(set).fetched());
      }
    }
    assertEquals(1319, EvalTasks.named("gsm8k").items(home, 5).size());
    assertEquals(164, EvalTasks.named("humaneval").items(home, 0).size());
  }

  private static byte[] content(Path data, String path) throws IOException {
    Path file = data.resolve(path.substring(1));
    if (Files.exists(file)) {
      return Files.readAllBytes(file);
    }
    byte[] compressed = Files.readAllBytes(file.resolveSibling(file.getFileName() + ".gz"));
    try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(compressed))) {
      return in.readAllBytes();
    }
  }
}
