package ai.sluice.eval.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.LoopbackServer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Fetches a small data set of two files and an archive from a server on loopback. */
class DataFetchTest {
  private static final byte[] LICENCE = bytes("Do what you like.\n");
  private static final byte[] LINES = bytes("{\"question\": \"q\"}\n".repeat(2000));
  private static final String CSV = "q,1,2,3,4,A\n";

  @TempDir Path home;
  private final Map<String, byte[]> served = new TreeMap<>();
  private final List<Long> seen = new ArrayList<>();
  private LoopbackServer server;

  @AfterEach
  void close() throws IOException {
    if (server != null) {
      server.close();
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String sha256(byte[] bytes) {
    try {
      return PinnedFiles.sha256(new ByteArrayInputStream(bytes));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static byte[] honestTar() {
    return new Tar()
        .folder("data/").folder("data/dev/")
        .file("data/dev/x_dev.csv", CSV)
        .paxFile("data/" + "long_".repeat(30) + "x.csv", "skipped")
        .file("./data/test/x_test.csv", CSV + CSV)
        .file("data/auxiliary/huge.csv", "skipped")
        .bytes();
  }

  private DataSet set(byte[] tar) {
    served.put("/toy/LICENSE", LICENCE);
    served.put("/toy/lines.jsonl", LINES);
    served.put("/toy/data.tar", tar);
    return new DataSet(
        "toy", "Toy (Sluice 2026)", "none", URI.create("http://127.0.0.1/"), "LICENSE",
        List.of("toy"),
        List.of(source("LICENSE", LICENCE), source("lines.jsonl", LINES)),
        Optional.of(
            new DataSet.Archive(
                source("data.tar", tar), "data/",
                new TreeMap<>(
                    Map.of(
                        "dev/x_dev.csv", sha256(bytes(CSV)),
                        "test/x_test.csv", sha256(bytes(CSV + CSV)))))));
  }

  private static DataSet.Source source(String path, byte[] bytes) {
    return new DataSet.Source(
        path, URI.create("http://127.0.0.1:1/none"), bytes.length, sha256(bytes));
  }

  private void serve(LoopbackServer.Handler handler) throws IOException {
    server = new LoopbackServer(handler);
  }

  /** All that is served, with ranges. */
  private void answer(LoopbackServer.Request request, OutputStream out) throws IOException {
    byte[] body = served.get(request.path());
    if (body == null) {
      LoopbackServer.respond(out, 404, "", "no such file\n");
      return;
    }
    String range = request.headers().getOrDefault("range", "");
    if (range.isEmpty()) {
      LoopbackServer.respond(out, 200, "", body);
      return;
    }
    int begin = Integer.parseInt(range.substring("bytes=".length(), range.length() - 1));
    byte[] rest = Arrays.copyOfRange(body, begin, body.length);
    LoopbackServer.respond(
        out, 206, "Content-Range: bytes " + begin + "-" + (body.length - 1) + "/" + body.length
            + "\r\n", rest);
  }

  private DataFetch fetch() {
    return new DataFetch(
        home.resolve("data"), Optional.of(server.uri("")), (done, total) -> seen.add(done),
        new Download(
            Duration.ofSeconds(20), Duration.ZERO, new EnvironmentProxy(Map.of())));
  }

  private String refused(DataSet set) {
    String message = assertThrows(EvalException.class, () -> fetch().fetch(set)).getMessage();
    assertFalse(Files.exists(home.resolve("data/toy")), "half a data set");
    return message;
  }

  private List<String> left(String folder) throws IOException {
    try (Stream<Path> files = Files.walk(home.resolve(folder))) {
      return files
          .filter(Files::isRegularFile)
          .map(file -> home.resolve(folder).relativize(file).toString())
          .sorted()
          .toList();
    }
  }

  @Test
  void whole() throws IOException {
    DataSet set = set(honestTar());
    serve(this::answer);
    DataFetch.Outcome outcome = fetch().fetch(set);
    assertTrue(outcome.fetched());
    assertEquals(home.resolve("data/toy"), outcome.folder());
    assertEquals(
        List.of(
            ".lock", "toy/LICENSE", "toy/dev/x_dev.csv", "toy/lines.jsonl",
            "toy/test/x_test.csv"),
        left("data"));
    assertEquals(CSV + CSV, Files.readString(home.resolve("data/toy/test/x_test.csv")));
    assertEquals(set.bytes(), seen.get(seen.size() - 1));

    int asked = server.requests().size();
    assertFalse(fetch().fetch(set).fetched());
    assertEquals(asked, server.requests().size(), "what is there is not fetched again");
  }

  @Test
  void anotherHashIsRefusedBeforeAnythingIsUnpacked() throws IOException {
    DataSet set = set(honestTar());
    byte[] other = served.get("/toy/data.tar").clone();
    other[600] ^= 1;
    served.put("/toy/data.tar", other);
    serve(this::answer);
    String message = refused(set);
    String begin = server.uri("/toy/data.tar") + ": sha256 " + sha256(other);
    assertTrue(message.startsWith(begin), message);
    assertTrue(message.contains("expected: " + set.archive().get().source().sha256()), message);
    assertTrue(message.contains("remedy: "), message);
    assertTrue(left("data").stream().noneMatch(file -> file.endsWith(".csv")));
    served.put("/toy/data.tar", honestTar());
    assertTrue(fetch().fetch(set).fetched());
  }

  @Test
  void anotherSizeIsRefusedAtOnce() throws IOException {
    DataSet set = set(honestTar());
    served.put("/toy/lines.jsonl", bytes("short"));
    serve(this::answer);
    assertTrue(refused(set).contains("lines.jsonl: 5 bytes or more (expected: " + LINES.length));
  }

  @Test
  void brokenOffIsGoneOnWith() throws IOException {
    DataSet set = set(honestTar());
    AtomicInteger breaks = new AtomicInteger(2);
    serve(
        (request, out) -> {
          if (request.path().endsWith("lines.jsonl") && breaks.getAndDecrement() > 0) {
            LoopbackServer.begin(out, 200, "Content-Length: " + LINES.length + "\r\n");
            out.write(LINES, 0, 1000);
          } else {
            answer(request, out);
          }
        });
    assertTrue(fetch().fetch(set).fetched());
    List<String> ranges =
        server.requests().stream()
            .filter(request -> request.path().endsWith("lines.jsonl"))
            .map(request -> request.headers().getOrDefault("range", ""))
            .toList();
    // The second broke off too, from its beginning: this server ignored the range then.
    assertEquals(List.of("", "bytes=1000-", "bytes=1000-"), ranges);
  }

  @Test
  void brokenOffEachTimeIsSaidAndTheNextRunGoesOn() throws IOException {
    DataSet set = set(honestTar());
    AtomicInteger broken = new AtomicInteger(1);
    serve(
        (request, out) -> {
          if (request.path().endsWith("lines.jsonl") && broken.get() > 0) {
            LoopbackServer.begin(out, 200, "Content-Length: " + LINES.length + "\r\n");
            out.write(LINES, 0, 700);
          } else {
            answer(request, out);
          }
        });
    String message = refused(set);
    assertTrue(message.contains("broken off"), message);
    assertTrue(message.contains("; 700 of " + LINES.length + " bytes are here"), message);
    broken.set(0);
    assertTrue(fetch().fetch(set).fetched());
    LoopbackServer.Request last =
        server.requests().stream().filter(r -> r.path().endsWith("lines.jsonl"))
            .reduce((a, b) -> b).orElseThrow();
    assertEquals("bytes=700-", last.headers().get("range"));
  }

  @Test
  void aPartOfAnotherFileIsFetchedAnew() throws IOException {
    DataSet set = set(honestTar());
    Path work = Files.createDirectories(home.resolve("data/.fetch-toy"));
    Files.write(work.resolve(sha256(LINES).substring(0, 16) + ".part"), new byte[500]);
    serve(this::answer);
    assertTrue(fetch().fetch(set).fetched());
    assertEquals(-1, Files.mismatch(home.resolve("data/toy/lines.jsonl"), write(LINES)));
  }

  private Path write(byte[] bytes) throws IOException {
    return Files.write(home.resolve("expected"), bytes);
  }

  @Test
  void missingFilesAreNamed() throws IOException {
    DataSet set = set(honestTar());
    served.remove("/toy/lines.jsonl");
    serve(this::answer);
    String message = refused(set);
    assertTrue(message.startsWith(server.uri("/toy/lines.jsonl") + ": HTTP 404"), message);
    assertTrue(message.contains("--from URL"), message);
    assertEquals(1, server.requests().stream().filter(r -> r.path().endsWith("jsonl")).count());
  }

  @Test
  void passingFaultsAreTriedAgain() throws IOException {
    DataSet set = set(honestTar());
    AtomicInteger faults = new AtomicInteger(3);
    serve(
        (request, out) -> {
          if (faults.getAndDecrement() > 0) {
            LoopbackServer.respond(out, 503, "", "later");
          } else {
            answer(request, out);
          }
        });
    assertTrue(fetch().fetch(set).fetched());
  }

  @Test
  void lastingFaultsAreNamed() throws IOException {
    DataSet set = set(honestTar());
    serve((request, out) -> LoopbackServer.respond(out, 500, "", "never"));
    assertTrue(refused(set).contains("HTTP 500; 0 of " + LICENCE.length + " bytes"));
    assertEquals(4, server.requests().size());
  }

  @Test
  void redirectsAreFollowed() throws IOException {
    DataSet set = set(honestTar());
    serve(
        (request, out) -> {
          if (request.path().startsWith("/toy/")) {
            LoopbackServer.respond(
                out, 302, "Location: /moved" + request.path() + "\r\n", "over there");
          } else {
            answer(
                new LoopbackServer.Request(
                    request.method(), request.path().substring("/moved".length()),
                    request.headers(), ""),
                out);
          }
        });
    assertTrue(fetch().fetch(set).fetched());
  }

  @Test
  void redirectsElsewhereAndInCirclesAreRefused() throws IOException {
    DataSet set = set(honestTar());
    serve(
        (request, out) ->
            LoopbackServer.respond(out, 301, "Location: " + request.path() + "\r\n", ""));
    assertTrue(refused(set).contains("more than 5 redirects"));
    server.close();
    serve(
        (request, out) ->
            LoopbackServer.respond(out, 301, "Location: file:///etc/passwd\r\n", ""));
    assertTrue(refused(set).contains("redirected to file:///etc/passwd (expected: https"));
  }

  @Test
  void hostileArchivesAreRefusedWhole() throws IOException {
    serve(this::answer);
    byte[] body = bytes(CSV);
    hostile(new Tar().file("data/../../x", "x"), "data/../../x: outside of its folder");
    hostile(new Tar().file("/tmp/x", "x"), "/tmp/x: outside of its folder");
    hostile(new Tar().file("data/dev\\x", "x"), "outside of its folder");
    hostile(new Tar().paxFile("data/" + "a/".repeat(60) + "../x", "x"), "outside of its folder");
    for (char type : new char[] {'1', '2', '3', '6', 'K', 'S'}) {
      String expected = "a link or a device, type '" + type + "'";
      hostile(new Tar().entry("data/dev/x_dev.csv", type, new byte[0]), expected);
      hostile(new Tar().entry("other", type, new byte[0]), expected);
    }
    hostile(
        new Tar().entry("data/dev/x_dev.csv", '0', body).entry("data/dev/x_dev.csv", '0', body),
        "data/dev/x_dev.csv: twice");
    hostile(new Tar().header("data/dev/x_dev.csv", '0', 1L << 32), "bytes where 1024 are left");
    hostile(new Tar().header("pax", 'x', 100_000), "bytes where 1024 are left");
    hostile(
        new Tar().entry("pax", 'x', bytes("18 size=99999999\n")), "damaged pax header");
    hostile(new Tar().entry("pax", 'x', bytes("17 size=99999999\n")), "a pax header with size=");
    hostile(new Tar().entry("long", 'L', new byte[5000]), "a name of 5000 bytes");
    Tar many = new Tar();
    for (int i = 0; i <= 10_000; i++) {
      many.folder("data/" + i);
    }
    hostile(many, "more than 10000 entries");
    byte[] flipped = honestTar();
    flipped[10] ^= 1;
    assertTrue(refused(set(flipped)).contains("checksum does not match"));
    assertTrue(refused(set(bytes("<html>".repeat(200)))).contains("damaged number"));
    try (Stream<Path> files = Files.list(home)) {
      assertEquals(List.of(home.resolve("data")), files.toList(), "nothing lies outside");
    }
  }

  private void hostile(Tar tar, String expected) {
    String message = refused(set(tar.bytes()));
    assertTrue(message.startsWith(server.uri("/toy/data.tar") + ": "), message);
    assertTrue(message.contains(expected), message);
    assertTrue(message.contains("nothing of it is kept"), message);
  }

  @Test
  void bombsAreRefused() throws IOException {
    Path tar = Files.write(home.resolve("bomb.tar"), honestTar());
    Path into = Files.createDirectories(home.resolve("into"));
    EvalException e =
        assertThrows(
            EvalException.class,
            () ->
                TarFile.unpack(
                    tar, "bomb", "data/", Set.of("dev/x_dev.csv", "test/x_test.csv"), into,
                    CSV.length() + 1));
    assertTrue(e.getMessage().contains("more than 13 bytes in all"), e.getMessage());
  }

  @Test
  void membersThatAreMissingOrDifferentAreNamed() throws IOException {
    serve(this::answer);
    byte[] without = new Tar().file("data/dev/x_dev.csv", CSV).bytes();
    assertTrue(refused(set(without)).contains("test/x_test.csv: missing (expected: sha256"));
    byte[] other =
        new Tar().file("data/dev/x_dev.csv", CSV).file("data/test/x_test.csv", "z").bytes();
    assertTrue(refused(set(other)).contains("test/x_test.csv: sha256 "));
  }

  @Test
  void whatLiesThereAlreadyIsVerifiedAndLeftAlone() throws IOException {
    DataSet set = set(honestTar());
    serve(this::answer);
    fetch().fetch(set);
    Path lines = home.resolve("data/toy/lines.jsonl");
    try (OutputStream out =
        new GZIPOutputStream(Files.newOutputStream(home.resolve("data/toy/lines.jsonl.gz")))) {
      out.write(LINES);
    }
    Files.delete(lines);
    assertFalse(fetch().fetch(set).fetched(), "compressed is as good");
    Files.writeString(lines, "a file of the user's own");
    String message = assertThrows(EvalException.class, () -> fetch().fetch(set)).getMessage();
    assertTrue(message.contains("lines.jsonl: sha256 "), message);
    assertTrue(message.contains("remedy: move " + home.resolve("data/toy") + " away"), message);
    assertEquals("a file of the user's own", Files.readString(lines));
  }

  @Test
  void foldersThatCannotBeWrittenAreNamed() throws IOException {
    serve(this::answer);
    Files.writeString(home.resolve("data"), "a file");
    EvalException e =
        assertThrows(EvalException.class, () -> fetch().fetch(set(honestTar())));
    assertTrue(e.getMessage().startsWith(home.resolve("data").toString()), e.getMessage());
    assertTrue(e.getMessage().contains("--data names another"), e.getMessage());
  }

  @Test
  void otherPlacesMustBeUrls() {
    for (String from : List.of("ftp://x/", "file:///x", "/x", "http:x")) {
      assertThrows(
          InvalidRequestException.class,
          () -> new DataFetch(home, Optional.of(URI.create(from)), (done, total) -> {}));
    }
  }
}
