package ai.sluice.eval.data;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.zip.GZIPInputStream;

/**
 * Fetches data sets into a folder. A data set appears there whole, with every hash checked, or not
 * at all: it is gathered in a hidden folder beside, and what broke off there is gone on with.
 * Runs in several processes wait for each other.
 */
public final class DataFetch {
  private static final long MOST_UNPACKED_BYTES = 256L << 20;
  private static final Duration SILENCE = Duration.ofSeconds(60);
  private static final Duration PAUSE = Duration.ofSeconds(1);

  private final Path data;
  private final Optional<URI> from;
  private final Progress progress;
  private final Download download;

  /** Is told how far a fetch has come. */
  public interface Progress {
    /**
     * Bytes of a data set are here.
     *
     * @param done bytes
     * @param total bytes in all
     */
    void update(long done, long total);
  }

  /**
   * What a fetch came to.
   *
   * @param folder the data set's
   * @param fetched false if it was there already, with the right hashes
   */
  public record Outcome(Path folder, boolean fetched) {}

  /**
   * Fetches into a folder, through the proxy that this process's environment names.
   *
   * @param data the folder of data sets; made if it is not there
   * @param from another place than the authors': {@code from/SET/FILE} is fetched, and held against
   *     the same hashes
   * @param progress is told how far it has come
   * @throws InvalidRequestException when {@code from} is not a URL of http or https
   */
  public DataFetch(Path data, Optional<URI> from, Progress progress) {
    this(
        data, from, progress, new Download(SILENCE, PAUSE, new EnvironmentProxy(System.getenv())));
  }

  DataFetch(Path data, Optional<URI> from, Progress progress, Download download) {
    from.ifPresent(DataFetch::check);
    this.data = data.toAbsolutePath();
    this.from = from;
    this.progress = progress;
    this.download = download;
  }

  private static void check(URI from) {
    String scheme = String.valueOf(from.getScheme()).toLowerCase(Locale.ROOT);
    if ((!scheme.equals("http") && !scheme.equals("https")) || from.getHost() == null) {
      throw new InvalidRequestException("from: " + from + " (expected: http://... or https://...)");
    }
  }

  /** Where a source of a data set is fetched from. */
  public URI uri(DataSet set, DataSet.Source source) {
    if (from.isEmpty()) {
      return source.uri();
    }
    String base = from.get().toString();
    return URI.create(
        base + (base.endsWith("/") ? "" : "/") + set.name() + "/" + source.path());
  }

  /**
   * Fetches a data set unless it is there.
   *
   * @throws EvalException when it cannot be had, has another hash than the pinned one, or another
   *     version of it lies there
   */
  public Outcome fetch(DataSet set) {
    Path folder = data.resolve(set.name());
    if (Files.exists(folder)) {
      verify(set, folder);
      return new Outcome(folder, false);
    }
    try {
      Files.createDirectories(data);
      try (FileChannel channel =
              FileChannel.open(
                  data.resolve(".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        channel.lock(); // released with the channel
        if (Files.exists(folder)) { // another process was faster
          verify(set, folder);
          return new Outcome(folder, false);
        }
        fetch(set, folder, data.resolve(".fetch-" + set.name()));
        return new Outcome(folder, true);
      }
    } catch (OverlappingFileLockException e) {
      throw new EvalException(
          data + ": another fetch of this process is under way (remedy: wait for it)", e);
    } catch (IOException e) {
      throw new EvalException(
          data + ": " + PinnedFiles.reason(e) + " (expected: a folder to keep data sets in; remedy:"
              + " check its rights and the free space, or --data names another)",
          e);
    }
  }

  private void fetch(DataSet set, Path folder, Path work) throws IOException {
    Path whole = work.resolve("set");
    PinnedFiles.deleteTree(whole);
    Files.createDirectories(whole);
    long done = 0;
    for (DataSet.Source source : set.sources()) {
      gather(set, source, part(work, source), done);
      done += source.bytes();
    }
    try {
      for (DataSet.Source source : set.files()) {
        Path file = whole.resolve(source.path());
        Files.createDirectories(file.resolveSibling("."));
        Files.copy(part(work, source), file);
      }
      if (set.archive().isPresent()) {
        DataSet.Archive archive = set.archive().get();
        TarFile.unpack(
            part(work, archive.source()), uri(set, archive.source()).toString(), archive.prefix(),
            archive.members().keySet(), whole, MOST_UNPACKED_BYTES);
      }
      verify(set, whole);
      Files.move(whole, folder, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      PinnedFiles.deleteTree(whole);
    }
    PinnedFiles.deleteTree(work);
  }

  // Named by its hash, so that what is left of another version is never gone on with.
  private static Path part(Path work, DataSet.Source source) {
    return work.resolve(source.sha256().substring(0, 16) + ".part");
  }

  private void gather(DataSet set, DataSet.Source source, Path part, long before)
      throws IOException {
    URI uri = uri(set, source);
    boolean continued = Files.exists(part);
    while (true) {
      download.fetch(
          uri, source.bytes(), part, at -> progress.update(before + at, set.bytes()));
      String found = PinnedFiles.sha256(part);
      if (found.equals(source.sha256())) {
        return;
      }
      Files.delete(part);
      if (!continued) {
        throw new EvalException(
            uri + ": sha256 " + found + " (expected: " + source.sha256() + "; nothing of it is"
                + " kept; remedy: another version is served there, look for the pinned one, which"
                + " --from URL then names)");
      }
      // What an earlier run left may be of another file: once more from the beginning.
      continued = false;
    }
  }

  /**
   * Holds a folder against the hashes of a data set.
   *
   * @throws EvalException naming the first file that is missing or another
   */
  static void verify(DataSet set, Path folder) {
    for (Map.Entry<String, String> each : set.hashes().entrySet()) {
      Path file = folder.resolve(each.getKey());
      String found;
      try {
        found = sha256(file);
      } catch (IOException e) {
        throw new EvalException(
            file + ": " + PinnedFiles.reason(e) + " (expected: a readable file)", e);
      }
      if (!found.equals(each.getValue())) {
        throw new EvalException(
            file + ": " + (found.isEmpty() ? "missing" : "sha256 " + found) + " (expected: sha256 "
                + each.getValue() + "; remedy: move " + folder + " away and fetch " + set.name()
                + " again, or --data names another folder)");
      }
    }
  }

  // A file that somebody compressed counts by what is in it.
  private static String sha256(Path file) throws IOException {
    if (Files.isRegularFile(file)) {
      return PinnedFiles.sha256(file);
    }
    Path compressed = file.resolveSibling(file.getFileName() + ".gz");
    if (!Files.isRegularFile(compressed)) {
      return "";
    }
    try (InputStream in = new GZIPInputStream(Files.newInputStream(compressed))) {
      return PinnedFiles.sha256(in);
    }
  }
}
