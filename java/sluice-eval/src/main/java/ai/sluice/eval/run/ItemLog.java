package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.Closeable;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The files of a run while it is made: what is done is read once, then items are appended. One
 * process at a time. Not thread-safe.
 */
final class ItemLog implements Closeable {
  private static final String LOCK = ".lock";

  /** Opens a file for appending; a test opens one that fails. */
  interface Opener {
    AppendFile open(Path file) throws IOException;
  }

  private final Path folder;
  private final FileChannel lockFile;
  private final SortedMap<ItemKey, ItemRecord> done = new TreeMap<>();
  private final SortedMap<ItemKey, ItemTiming> timings;
  private @Nullable RunManifest manifest;
  private int damaged;
  private AppendFile items;
  private AppendFile times;
  private final Opener opener;

  private ItemLog(Path folder, FileChannel lockFile, Opener opener, boolean restart)
      throws IOException {
    this.folder = folder;
    this.lockFile = lockFile;
    this.opener = opener;
    if (restart) {
      giveUp(folder);
    }
    if (Files.exists(folder.resolve(EvalRun.MANIFEST))) {
      EvalRun run = EvalRun.read(folder);
      manifest = run.manifest();
      done.putAll(run.items());
      damaged = run.damaged();
      if (damaged > 0 || !endsWithLineFeed(folder.resolve(EvalRun.ITEMS))) {
        RunFiles.replace(folder.resolve(EvalRun.ITEMS), text(done.values()));
      }
      mendTimings();
    } else if (Files.exists(folder.resolve(EvalRun.ITEMS))
        && Files.size(folder.resolve(EvalRun.ITEMS)) > 0) {
      throw new InvalidRequestException(
          folder + ": " + EvalRun.ITEMS + " without " + EvalRun.MANIFEST + " (expected: both or"
              + " neither; remedy: --out another folder)");
    }
    timings = ItemTiming.read(folder);
    items = opener.open(folder.resolve(EvalRun.ITEMS));
    times = opener.open(folder.resolve(ItemTiming.FILE));
  }

  /**
   * Opens the files of a folder, which is made if it is not there. Lines that a crash has torn are
   * taken out.
   *
   * @param restart whether what is there is given up
   * @throws InvalidRequestException if another process has them, or they are of no run
   * @throws EvalException if they cannot be read or written
   */
  static ItemLog open(Path folder, boolean restart, Opener opener) {
    try {
      Files.createDirectories(folder);
      FileChannel lockFile =
          FileChannel.open(
              folder.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      try {
        if (!lock(lockFile)) {
          throw new InvalidRequestException(
              folder + ": another process makes this run (expected: one at a time; remedy: --out"
                  + " another folder, or wait for it)");
        }
        return new ItemLog(folder, lockFile, opener, restart);
      } catch (IOException | RuntimeException e) {
        lockFile.close();
        throw e;
      }
    } catch (IOException e) {
      throw failure(folder, e);
    }
  }

  private static void giveUp(Path folder) throws IOException {
    // Items before their manifest: without one they would be of no run.
    for (String name : List.of(EvalRun.ITEMS, EvalRun.MANIFEST, ItemTiming.FILE)) {
      Files.deleteIfExists(folder.resolve(name));
    }
    try (DirectoryStream<Path> derived =
        Files.newDirectoryStream(folder, "{results.json,samples_*.jsonl,report.html}")) {
      for (Path file : derived) {
        Files.delete(file);
      }
    }
  }

  private static boolean lock(FileChannel file) throws IOException {
    try {
      FileLock lock = file.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false;
    }
  }

  private static boolean endsWithLineFeed(Path file) throws IOException {
    if (!Files.exists(file)) {
      return true;
    }
    try (FileChannel channel = FileChannel.open(file)) {
      java.nio.ByteBuffer last = java.nio.ByteBuffer.allocate(1);
      return channel.size() == 0
          || channel.read(last, channel.size() - 1) == 1 && last.get(0) == '\n';
    }
  }

  private void mendTimings() throws IOException {
    Path file = folder.resolve(ItemTiming.FILE);
    if (!endsWithLineFeed(file)) {
      StringBuilder text = new StringBuilder();
      ItemTiming.read(folder).values().forEach(timing -> text.append(timing.line()));
      RunFiles.replace(file, text.toString());
    }
  }

  /** What the folder was begun with, if it holds a run. */
  Optional<RunManifest> manifest() {
    return Optional.ofNullable(manifest);
  }

  /** Says what the run is made with, before the first item. */
  void begin(RunManifest begun) {
    try {
      RunFiles.replace(
          folder.resolve(EvalRun.MANIFEST), begun.toJson().toPrettyString() + "\n");
      manifest = begun;
    } catch (IOException e) {
      throw failure(folder, e);
    }
  }

  /** What is done, by item. Not to be changed. */
  SortedMap<ItemKey, ItemRecord> done() {
    return done;
  }

  /** What was done by earlier processes cost. */
  SortedMap<ItemKey, ItemTiming> timings() {
    return timings;
  }

  /** Lines that were taken out because they were not whole. */
  int damaged() {
    return damaged;
  }

  /**
   * Appends items; when this returns, they survive a crash.
   *
   * @throws EvalException if they cannot be written; what was written before stays
   */
  void append(List<ItemRecord> records, List<ItemTiming> costs) {
    StringBuilder text = new StringBuilder();
    costs.forEach(cost -> text.append(cost.line()));
    try {
      times.append(text.toString().getBytes(StandardCharsets.UTF_8));
      items.append(text(records).getBytes(StandardCharsets.UTF_8));
      items.sync();
    } catch (IOException e) {
      throw failure(folder, e);
    }
    for (ItemRecord record : records) {
      done.put(record.key(), record);
    }
    for (ItemTiming cost : costs) {
      timings.put(cost.key(), cost);
    }
  }

  /** Puts judged items in the place of items of the same keys, all at once. */
  void rewrite(List<ItemRecord> records) {
    SortedMap<ItemKey, ItemRecord> all = new TreeMap<>(done);
    records.forEach(record -> all.put(record.key(), record));
    try {
      items.close();
      RunFiles.replace(folder.resolve(EvalRun.ITEMS), text(all.values()));
      items = opener.open(folder.resolve(EvalRun.ITEMS));
    } catch (IOException e) {
      throw failure(folder, e);
    }
    done.putAll(all);
  }

  private static String text(Collection<ItemRecord> records) {
    StringBuilder out = new StringBuilder();
    records.forEach(record -> out.append(ItemLine.write(record)));
    return out.toString();
  }

  private static EvalException failure(Path folder, IOException e) {
    return new EvalException(
        folder + ": " + PinnedFiles.reason(e) + " (expected: a folder that can be written, with room;"
            + " what was done is kept, and the same command goes on from there)",
        e);
  }

  @Override
  public void close() {
    try (FileChannel unlocked = lockFile;
        AppendFile itemsClosed = items;
        AppendFile timesClosed = times) {
      times.sync();
    } catch (IOException e) {
      throw failure(folder, e);
    }
  }
}
