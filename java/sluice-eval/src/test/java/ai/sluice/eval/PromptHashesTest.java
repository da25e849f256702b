package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;

/** All contexts of the real data sets against those that lm-eval 0.4.13 renders. */
class PromptHashesTest {
  @Test
  void equalThoseOfLmEval() throws IOException {
    Path data = TestData.folder("data");
    Path hashes = TestData.folder("eval").resolve("prompt-hashes.tsv.gz");
    assumeTrue(TestData.there(data), "the data sets");
    assumeTrue(TestData.there(hashes), "the hashes of prompts");
    Map<String, String> ours = new HashMap<>();
    for (EvalTask task : EvalTasks.all()) {
      for (EvalItem item : task.items(data, task.publishedShots())) {
        ours.put(item.task() + "\t" + item.index(), PromptHash.of(item.context()));
      }
    }
    List<String> different = new ArrayList<>();
    int count = 0;
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(Files.newInputStream(hashes)), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        int tab = line.lastIndexOf('\t');
        if (!line.substring(tab + 1).equals(ours.get(line.substring(0, tab)))) {
          different.add(line);
        }
        count++;
      }
    }
    assertEquals(List.of(), different.subList(0, Math.min(10, different.size())));
    assertEquals(31050, count);
    assertEquals(31050, ours.size());
  }
}
