package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Scanner;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalFetchCommandTest {
  @TempDir Path home;

  /** What a server on loopback answers with the status line and body of {@code responses}. */
  private CliRun fetch(Responses responses, String... args) throws IOException {
    try (ServerSocket server = new ServerSocket(0, 16, InetAddress.getLoopbackAddress())) {
      Thread thread =
          new Thread(
              () -> {
                while (true) {
                  try (Socket socket = server.accept()) {
                    Scanner in = new Scanner(socket.getInputStream(), StandardCharsets.ISO_8859_1);
                    String path = in.nextLine().split(" ")[1];
                    while (!in.nextLine().isEmpty()) {
                      continue;
                    }
                    responses.answer(path, socket.getOutputStream());
                  } catch (IOException e) {
                    return;
                  }
                }
              });
      thread.setDaemon(true);
      thread.start();
      String[] all = new String[args.length + 4];
      all[0] = "eval";
      all[1] = "fetch";
      System.arraycopy(args, 0, all, 2, args.length);
      all[args.length + 2] = "--from";
      all[args.length + 3] = "http://127.0.0.1:" + server.getLocalPort();
      return CliRun.of(home, all);
    }
  }

  private interface Responses {
    void answer(String path, OutputStream out) throws IOException;
  }

  private static void respond(OutputStream out, int status, byte[] body) throws IOException {
    out.write(
        ("HTTP/1.1 " + status + " x\r\nConnection: close\r\nContent-Length: " + body.length
                + "\r\n\r\n")
            .getBytes(StandardCharsets.ISO_8859_1));
    out.write(body);
    out.flush();
  }

  @Test
  void licenceAndPlacesAreToldAndWrongFilesRefused() throws IOException {
    CliRun run = fetch((path, out) -> respond(out, 200, new byte[1083]), "humaneval");
    assertEquals(1, run.code());
    assertTrue(
        run.out().startsWith("HumanEval (Chen et al. 2021), licence MIT, (c) OpenAI\n  https://"),
        run.out());
    assertTrue(run.out().contains("/humaneval/HumanEval.jsonl.gz\n"), run.out());
    assertTrue(run.err().contains("/humaneval/LICENSE: sha256 "), run.err());
    assertTrue(
        run.err().contains(
            "expected: bcba3de214851cce46ed5af42d6698044616eeace887c3231bc7a20474ab639e"),
        run.err());
    assertFalse(Files.exists(home.resolve(".cache/sluice/data/humaneval")));
  }

  @Test
  void missingFilesAreNamed() throws IOException {
    CliRun run = fetch((path, out) -> respond(out, 404, new byte[0]), "gsm8k_cot");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("/gsm8k/LICENSE: HTTP 404 (expected: the file;"), run.err());
  }

  @Test
  void unknownTasksAndPlacesAreRefused() {
    CliRun run = CliRun.of(home, "eval", "fetch", "human_eval");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("task: human_eval (expected: humaneval, "), run.err());
    run = CliRun.of(home, "eval", "fetch", "gsm8k", "--from", "ftp://x");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("from: ftp://x (expected: http://"), run.err());
    run = CliRun.of(home, "eval", "fetch", "gsm8k", "--from", "http://[");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--from: http://[ (expected: a URL)"), run.err());
    run = CliRun.of(home, "eval", "fetch");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("TASK"), run.err());
    run = CliRun.of(home, "eval", "fetch", "--help");
    assertEquals(0, run.code());
    assertTrue(run.out().contains("--data=DIR"), run.out());
  }

  @Test
  void withoutDataTheCommandIsNamed() {
    CliRun run =
        CliRun.of(home, "eval", "prompts", "gsm8k", "--out", home.resolve("p").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains(home + "/.cache/sluice/data/gsm8k/train.jsonl"), run.err());
    assertTrue(run.err().contains("not there (remedy: 'sluice eval fetch"), run.err());
  }

  @Test
  void realDataIsFetchedToWhereEvalLooks() throws IOException {
    Path data = Path.of(System.getProperty("sluice.test.data", "")).resolve("data/humaneval");
    for (Path at = Path.of("").toAbsolutePath(); at != null && !Files.exists(data);
        at = at.getParent()) {
      data = at.resolve("shared/data/humaneval");
    }
    boolean there = Files.exists(data);
    if (!there) {
      System.err.println("SKIPPED: HumanEval is not there (remedy: -Dsluice.test.data=FOLDER)");
    }
    assumeTrue(there, "HumanEval");
    Path folder = data;
    CliRun run =
        fetch(
            (path, out) ->
                respond(
                    out, 200,
                    Files.readAllBytes(folder.resolve(Path.of(path).getFileName().toString()))),
            "humaneval");
    assertEquals(0, run.code(), run.err());
    Path cache = home.resolve(".cache/sluice/data/humaneval");
    assertTrue(
        run.out().contains("  to " + cache + ", 2 files, every sha256 verified\n"), run.out());
    assertTrue(run.out().endsWith("  licence: " + cache.resolve("LICENSE") + "\n"), run.out());
    assertTrue(run.err().contains("fetching humaneval (46.0 kB): done"), run.err());
    run = CliRun.of(home, "eval", "fetch", "humaneval_instruct");
    assertEquals(0, run.code());
    assertTrue(run.out().contains("  there already: " + cache), run.out());
    run = CliRun.of(home, "eval", "prompts", "humaneval", "--out", home.resolve("p").toString());
    assertEquals("164 prompts of humaneval: " + home.resolve("p") + "\n", run.out(), run.err());
  }
}
