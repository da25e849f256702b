package ai.sluice.eval;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * An HTTP server on loopback that can misbehave: what is written to the stream is what the client
 * gets, and the connection ends there. One request a connection.
 */
public final class LoopbackServer implements Closeable {
  /** A request as it came; names of headers in lower case. */
  public record Request(String method, String path, Map<String, String> headers, String body) {}

  /** Answers requests. */
  public interface Handler {
    /** Writes the whole response, or as much of it as shall arrive. */
    void answer(Request request, OutputStream out) throws IOException;
  }

  private final ServerSocket socket;
  private final Handler handler;
  private final List<Request> requests = new CopyOnWriteArrayList<>();

  public LoopbackServer(Handler handler) throws IOException {
    this.handler = handler;
    socket = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
    start(this::accept);
  }

  /** Where it listens, with a path behind. */
  public URI uri(String path) {
    return URI.create("http://127.0.0.1:" + socket.getLocalPort() + path);
  }

  /** What was asked, in the order of arrival. */
  public List<Request> requests() {
    return requests;
  }

  /** Writes a response. */
  public static void respond(OutputStream out, int status, String headers, byte[] body)
      throws IOException {
    begin(out, status, headers + "Content-Length: " + body.length + "\r\n");
    out.write(body);
  }

  /** Writes a response with a text as body. */
  public static void respond(OutputStream out, int status, String headers, String body)
      throws IOException {
    respond(out, status, headers, body.getBytes(StandardCharsets.UTF_8));
  }

  /** Writes the head of a response; each header ends in CR LF. */
  public static void begin(OutputStream out, int status, String headers) throws IOException {
    out.write(
        ("HTTP/1.1 " + status + " status\r\nConnection: close\r\n" + headers + "\r\n")
            .getBytes(StandardCharsets.ISO_8859_1));
  }

  private void accept() {
    while (!socket.isClosed()) {
      try {
        Socket connection = socket.accept();
        start(() -> serve(connection));
      } catch (IOException e) {
        return;
      }
    }
  }

  private void serve(Socket connection) {
    try (connection) {
      Request request = read(connection.getInputStream());
      requests.add(request);
      OutputStream out = connection.getOutputStream();
      handler.answer(request, out);
      out.flush();
    } catch (IOException e) {
      // The client went; that is its affair.
    }
  }

  private static Request read(InputStream in) throws IOException {
    String[] first = line(in).split(" ");
    Map<String, String> headers = new TreeMap<>();
    for (String line = line(in); !line.isEmpty(); line = line(in)) {
      int colon = line.indexOf(':');
      String name = line.substring(0, colon).toLowerCase(Locale.ROOT);
      headers.put(name, line.substring(colon + 1).strip());
    }
    int length = Integer.parseInt(headers.getOrDefault("content-length", "0"));
    String body = new String(in.readNBytes(length), StandardCharsets.UTF_8);
    return new Request(first[0], first.length > 1 ? first[1] : "", headers, body);
  }

  private static String line(InputStream in) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int c = in.read(); c >= 0 && c != '\n'; c = in.read()) {
      if (c != '\r') {
        out.write(c);
      }
    }
    return out.toString(StandardCharsets.ISO_8859_1);
  }

  private static void start(Runnable work) {
    Thread thread = new Thread(work, "loopback-server");
    thread.setDaemon(true);
    thread.start();
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
