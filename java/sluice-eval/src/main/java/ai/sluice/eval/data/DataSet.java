package ai.sluice.eval.data;

import java.net.URI;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A data set as its authors publish it, pinned: every byte that is kept has a known hash.
 *
 * @param name of its folder
 * @param title with authors and year
 * @param licence its name and holder
 * @param licencePage where it can be read
 * @param licenceFile the file of {@code files} that holds it
 * @param tasks those that read it
 * @param files published one by one
 * @param archive what is published in one; empty: nothing
 */
public record DataSet(
    String name,
    String title,
    String licence,
    URI licencePage,
    String licenceFile,
    List<String> tasks,
    List<Source> files,
    Optional<Archive> archive) {
  /**
   * A file to fetch.
   *
   * @param path in the data set's folder; of an archive only a name
   * @param uri where its authors publish it
   * @param bytes its size
   * @param sha256 in lower-case hexadecimal
   */
  public record Source(String path, URI uri, long bytes, String sha256) {}

  /**
   * A tar archive and what of it is kept.
   *
   * @param source the archive
   * @param prefix before the path of each member: {@code data/}
   * @param members the SHA-256 of each file that is kept, by its path behind the prefix
   */
  public record Archive(Source source, String prefix, SortedMap<String, String> members) {
    /** Copies the map. */
    public Archive {
      members = Collections.unmodifiableSortedMap(new TreeMap<>(members));
    }
  }

  /** Copies the lists. */
  public DataSet {
    tasks = List.copyOf(tasks);
    files = List.copyOf(files);
  }

  /** The SHA-256 of every file of the data set, by its path in the folder. */
  public Map<String, String> hashes() {
    Map<String, String> out = new LinkedHashMap<>();
    files.forEach(file -> out.put(file.path(), file.sha256()));
    archive.ifPresent(tar -> out.putAll(tar.members()));
    return out;
  }

  /** All that is fetched, the licence first. */
  public List<Source> sources() {
    List<Source> out = new ArrayList<>(files);
    archive.ifPresent(tar -> out.add(tar.source()));
    return out;
  }

  /** How much is fetched, in bytes. */
  public long bytes() {
    return sources().stream().mapToLong(Source::bytes).sum();
  }
}
