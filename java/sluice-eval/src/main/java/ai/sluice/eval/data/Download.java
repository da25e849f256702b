package ai.sluice.eval.data;

import ai.sluice.eval.EvalException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.ProxySelector;
import java.net.URI;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Set;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Fetches a file of known size over HTTP into a part file, and goes on from what an earlier attempt
 * left there where the server can. Whether the bytes are the right ones is for the caller to check.
 * Unlike an HTTP client's, its time-outs count between any two reads, so that a server that falls
 * silent in the middle is noticed.
 */
final class Download {
  private static final Set<Integer> REDIRECTS = Set.of(301, 302, 303, 307, 308);
  private static final Set<Integer> PASSING = Set.of(408, 425, 429, 500, 502, 503, 504);
  private static final int MOST_REDIRECTS = 5;
  private static final int ATTEMPTS = 4;
  private static final int BUFFER_BYTES = 1 << 16;

  private final Duration silence;
  private final Duration pause;
  private final ProxySelector proxies;

  /**
   * Creates a downloader.
   *
   * @param silence how long a server may say nothing
   * @param pause before the second attempt; doubled before each later one
   * @param proxies through which it goes
   */
  Download(Duration silence, Duration pause, ProxySelector proxies) {
    this.silence = silence;
    this.pause = pause;
    this.proxies = proxies;
  }

  /**
   * Fetches a file.
   *
   * @param uri of http or https
   * @param bytes its size
   * @param part where it is gathered; afterwards of that size
   * @param progress is told how many bytes are there
   * @throws EvalException when the server does not have it, has another, or breaks off each time
   * @throws IOException when the part cannot be written
   */
  void fetch(URI uri, long bytes, Path part, LongConsumer progress) throws IOException {
    if (Files.exists(part) && Files.size(part) > bytes) {
      Files.delete(part);
    }
    Duration wait = pause;
    for (int attempt = 1; size(part) < bytes; attempt++) {
      String why = attempt(uri, bytes, part, progress);
      if (size(part) == bytes) {
        return;
      }
      if (attempt == ATTEMPTS) {
        throw new EvalException(
            uri + ": " + why + "; " + size(part) + " of " + bytes + " bytes are here after "
                + ATTEMPTS + " attempts (remedy: check the network and run the command again, which"
                + " goes on from there)");
      }
      sleep(uri, wait);
      wait = wait.multipliedBy(2);
    }
  }

  private static long size(Path part) throws IOException {
    return Files.exists(part) ? Files.size(part) : 0;
  }

  private static void sleep(URI uri, Duration wait) {
    try {
      Thread.sleep(wait.toMillis());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new EvalException(uri + ": interrupted (remedy: run the command again)", e);
    }
  }

  /** One attempt; afterwards the part is longer, or the answer says why it is not. */
  private String attempt(URI uri, long bytes, Path part, LongConsumer progress) throws IOException {
    long have = size(part);
    HttpURLConnection connection;
    try {
      connection = connect(uri, have);
    } catch (IOException e) {
      return PinnedFiles.reason(e);
    }
    try {
      int status = connection.getResponseCode();
      if (status == 416 || (status == 206 && !startsAt(connection, have))) {
        Files.deleteIfExists(part);
        return "HTTP " + status + " for a range";
      }
      if (status != 200 && status != 206) {
        if (PASSING.contains(status)) {
          return "HTTP " + status;
        }
        throw new EvalException(
            connection.getURL() + ": HTTP " + status + " (expected: the file; remedy: if it has"
                + " moved, --from URL names another place; its hash is checked all the same)");
      }
      long begin = status == 206 ? have : 0;
      long announced = connection.getContentLengthLong();
      if (announced >= 0 && begin + announced != bytes) {
        throw otherFile(connection, begin + announced, bytes);
      }
      return receive(connection, begin, bytes, part, progress);
    } finally {
      connection.disconnect();
    }
  }

  private static String receive(
      HttpURLConnection connection, long begin, long bytes, Path part, LongConsumer progress)
      throws IOException {
    long at = begin;
    byte[] buffer = new byte[BUFFER_BYTES];
    try (OutputStream out =
        begin == 0
            ? Files.newOutputStream(part)
            : Files.newOutputStream(part, StandardOpenOption.APPEND)) {
      InputStream in;
      try {
        in = connection.getInputStream();
      } catch (IOException e) {
        return PinnedFiles.reason(e);
      }
      while (true) {
        int n;
        try {
          n = in.read(buffer);
        } catch (IOException e) {
          return "broken off: " + PinnedFiles.reason(e);
        }
        if (n < 0) {
          return "broken off";
        }
        at += n;
        if (at > bytes) {
          throw otherFile(connection, at, bytes);
        }
        out.write(buffer, 0, n);
        progress.accept(at);
      }
    }
  }

  private static EvalException otherFile(HttpURLConnection connection, long found, long bytes) {
    return new EvalException(
        connection.getURL() + ": " + found + " bytes or more (expected: " + bytes + "; another file"
            + " is served there, remedy: look at it in a browser, or --from URL names another"
            + " place)");
  }

  private static boolean startsAt(HttpURLConnection connection, long begin) {
    @Nullable String range = connection.getHeaderField("Content-Range");
    return range != null && range.startsWith("bytes " + begin + "-");
  }

  private HttpURLConnection connect(URI first, long have) throws IOException {
    URI uri = first;
    for (int i = 0; i <= MOST_REDIRECTS; i++) {
      URLConnection opened = uri.toURL().openConnection(proxies.select(uri).get(0));
      if (!(opened instanceof HttpURLConnection connection)) {
        throw new EvalException(uri + ": not HTTP (expected: http:// or https://)");
      }
      connection.setInstanceFollowRedirects(false);
      connection.setConnectTimeout((int) silence.toMillis());
      connection.setReadTimeout((int) silence.toMillis());
      connection.setRequestProperty("User-Agent", "sluice");
      // Compressed on the way, neither size nor range would be those of the file.
      connection.setRequestProperty("Accept-Encoding", "identity");
      if (have > 0) {
        connection.setRequestProperty("Range", "bytes=" + have + "-");
      }
      if (!REDIRECTS.contains(connection.getResponseCode())) {
        return connection;
      }
      @Nullable String location = connection.getHeaderField("Location");
      connection.disconnect();
      uri = redirected(uri, location);
    }
    throw new EvalException(
        first + ": more than " + MOST_REDIRECTS + " redirects (remedy: --from URL names another"
            + " place)");
  }

  private static URI redirected(URI from, @Nullable String location) {
    URI to;
    try {
      to = from.resolve(String.valueOf(location));
    } catch (IllegalArgumentException e) {
      throw new EvalException(from + ": redirected to " + location + " (expected: a URL)", e);
    }
    boolean safe = "https".equals(to.getScheme()) || "http".equals(to.getScheme());
    if (location == null || !safe
        || ("https".equals(from.getScheme()) && !"https".equals(to.getScheme()))) {
      throw new EvalException(
          from + ": redirected to " + location + " (expected: https, or http where it was http"
              + " before)");
    }
    return to;
  }
}
