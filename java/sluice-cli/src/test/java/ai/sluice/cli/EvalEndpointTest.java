package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Evaluates a server on loopback through the command line. */
class EvalEndpointTest {
  private static final String KEY = "sk-0815";

  @TempDir Path home;

  /** Knows one model, which answers 2 to everything; its requests are kept. */
  private static final class Server implements Closeable {
    private final ServerSocket socket = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
    final List<String> requests = new CopyOnWriteArrayList<>();

    Server() throws IOException {
      Thread thread = new Thread(this::serve);
      thread.setDaemon(true);
      thread.start();
    }

    String url() {
      return "http://127.0.0.1:" + socket.getLocalPort();
    }

    private void serve() {
      while (!socket.isClosed()) {
        try (Socket connection = socket.accept()) {
          String request = read(connection.getInputStream());
          requests.add(request);
          String body =
              request.startsWith("GET /v1/models")
                  ? "{\"data\":[{\"id\":\"org/toy\",\"max_model_len\":64}]}"
                  : "{\"choices\":[{\"text\":\" 1 + 1 is 2. The answer is 2.\"}],"
                      + "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}";
          OutputStream out = connection.getOutputStream();
          out.write(
              ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + body.length()
                      + "\r\n\r\n" + body)
                  .getBytes(StandardCharsets.UTF_8));
          out.flush();
        } catch (IOException e) {
          // The client went, or the test is over.
        }
      }
    }

    private static String read(InputStream in) throws IOException {
      StringBuilder head = new StringBuilder();
      while (head.indexOf("\r\n\r\n") < 0) {
        int c = in.read();
        if (c < 0) {
          throw new IOException("gone");
        }
        head.append((char) c);
      }
      int length = 0;
      for (String line : head.toString().split("\r\n")) {
        if (line.toLowerCase(Locale.ROOT).startsWith("content-length:")) {
          length = Integer.parseInt(line.substring(line.indexOf(':') + 1).strip());
        }
      }
      return head + new String(in.readNBytes(length), StandardCharsets.UTF_8);
    }

    @Override
    public void close() throws IOException {
      socket.close();
    }
  }

  private CliRun eval(Server server, String task, String... more) throws IOException {
    List<String> args =
        new ArrayList<>(
            List.of(
                "eval", task, "--endpoint", server.url(), "--data",
                EvalFiles.write(home.resolve("data")).toString(), "--out",
                home.resolve("run").toString()));
    args.addAll(List.of(more));
    return CliRun.of(
        home, Map.of("SLUICE_API_KEY", KEY), new byte[0], args.toArray(String[]::new));
  }

  @Test
  void aServerIsEvaluated() throws IOException {
    try (Server server = new Server()) {
      CliRun run =
          eval(
              server, "gsm8k", "-m", "org/toy", "--prompt-style", "deepseek",
              "--endpoint-field", "repeat_penalty=1.0", "--endpoint-field", "top_k=1");
      assertEquals(0, run.code(), run.err());
      // Of "0+1?", "1+1?" and "2+1?" one is 2.
      assertTrue(run.out().contains("0.3333"), run.out());
      assertEquals(4, server.requests.size());
      assertTrue(server.requests.get(1).contains("Authorization: Bearer " + KEY));
      assertTrue(server.requests.get(1).contains("\"repeat_penalty\":1.0,\"top_k\":1"));
      assertTrue(server.requests.get(1).contains("Let's think step by step."));
      String manifest = Files.readString(home.resolve("run/manifest.json"));
      assertTrue(manifest.contains("unknown (behind a server)"), manifest);
      assertTrue(manifest.replace(" ", "").contains("\"prompt_style\":\"deepseek\""), manifest);
      assertFalse(manifest.contains(KEY), manifest);
      assertFalse(run.err().contains(KEY), run.err());
      CliRun other = eval(server, "gsm8k", "-m", "org/toy", "--num-fewshot", "0");
      assertEquals(2, other.code());
      assertTrue(other.err().contains("endpoint field repeat_penalty: none (expected: 1.0, "));
      other =
          eval(
              server, "gsm8k", "-m", "org/toy", "--num-fewshot", "0", "--endpoint-field",
              "repeat_penalty=1.0", "--endpoint-field", "top_k=1");
      assertEquals(2, other.code());
      assertTrue(other.err().contains("prompt_style: lm-eval (expected: deepseek"), other.err());
    }
  }

  @Test
  void whatAServerCannotDoIsNamed() throws IOException {
    try (Server server = new Server()) {
      CliRun run = eval(server, "mmlu", "-m", "org/toy");
      assertEquals(1, run.code());
      assertTrue(run.err().contains("no log-probabilities of the prompt's tokens"), run.err());
      assertEquals(1, run.errLines(), run.err());
    }
  }

  @Test
  void wrongUsageIsNamed() throws IOException {
    try (Server server = new Server()) {
      CliRun run = eval(server, "gsm8k", "-m", "toy", "--num-fewshot", "0");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("model: toy (expected: one that "), run.err());
      assertTrue(run.err().contains("serves: org/toy)"), run.err());
      run = eval(server, "gsm8k", "--num-fewshot", "0");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("--model: missing (expected: with --endpoint"), run.err());
      run = eval(server, "gsm8k", "-m", "org/toy", "--context-length", "64");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("--context-length: an option of the engine"), run.err());
      run =
          eval(
              server, "gsm8k", "-m", "org/toy", "--num-fewshot", "0", "--api-key-env", "NOTHING");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("--api-key-env: NOTHING is not set"), run.err());
      run = eval(server, "gsm8k_cot", "-m", "org/toy", "--prompt-style", "deepseek");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("prompt-style: deepseek for gsm8k_cot"), run.err());
      run = eval(server, "gsm8k", "-m", "org/toy", "--endpoint-field", "temperature=1");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("endpoint field: \"temperature\" (expected: another"));
      run = eval(server, "gsm8k", "-m", "org/toy", "--endpoint-field", "top_k");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("--endpoint-field"), run.err());
      run = CliRun.of(home, "eval", "gsm8k", "--endpoint-field", "top_k=1");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("{top_k=1} (expected: --endpoint beside it)"), run.err());
      run = CliRun.of(home, "eval", "gsm8k", "--api-key-env", "X");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("expected: --endpoint beside it"), run.err());
      run = CliRun.of(home, "eval", "gsm8k", "--endpoint", "localhost:8000", "-m", "x");
      assertEquals(2, run.code());
      assertTrue(run.err().contains("endpoint: localhost:8000 (expected: a URL"), run.err());
    }
  }
}
