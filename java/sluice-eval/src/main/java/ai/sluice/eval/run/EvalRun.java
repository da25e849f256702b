package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A run as its folder has it.
 *
 * @param folder where it lies
 * @param manifest what it was made with
 * @param items what is done, by item; all of them where {@link #isComplete}
 * @param damaged lines that do not match their checksum
 */
public record EvalRun(
    Path folder, RunManifest manifest, SortedMap<ItemKey, ItemRecord> items, int damaged) {
  /** The file of {@link RunManifest}. */
  public static final String MANIFEST = "manifest.json";

  /** The file of {@link ItemLine}s. */
  public static final String ITEMS = "items.jsonl";

  /**
   * Reads a run.
   *
   * @throws InvalidRequestException when the folder holds none
   */
  public static EvalRun read(Path folder) {
    Path manifest = folder.resolve(MANIFEST);
    if (!Files.isRegularFile(manifest)) {
      throw new InvalidRequestException(
          folder + ": no " + MANIFEST + " (expected: the folder of a run, as eval --out makes it)");
    }
    try {
      RunManifest read =
          RunManifest.fromJson(ItemRecord.JSON.readTree(Files.readAllBytes(manifest)));
      SortedMap<ItemKey, ItemRecord> items = new TreeMap<>();
      int damaged = 0;
      for (String line : RunFiles.lines(folder.resolve(ITEMS))) {
        ItemRecord item = ItemLine.read(line).orElse(null);
        if (item == null) {
          damaged++;
        } else {
          items.put(item.key(), item);
        }
      }
      return new EvalRun(folder, read, items, damaged);
    } catch (IOException e) {
      throw new InvalidRequestException(
          folder + ": cannot be read: " + e.getMessage() + " (expected: the folder of a run)", e);
    }
  }

  /** Whether every item of every task is done. */
  public boolean isComplete() {
    return items.size() == manifest.tasks().stream().mapToInt(RunManifest.Task::items).sum();
  }

  /** The items of a task as it was asked for. */
  public List<ItemRecord> items(String group) {
    return items.values().stream().filter(item -> item.group().equals(group)).toList();
  }
}
