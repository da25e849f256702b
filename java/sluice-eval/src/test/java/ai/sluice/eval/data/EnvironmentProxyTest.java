package ai.sluice.eval.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.EvalException;
import ai.sluice.eval.LoopbackServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EnvironmentProxyTest {
  private static String proxy(Map<String, String> environment, String uri) {
    Proxy proxy = new EnvironmentProxy(environment).select(URI.create(uri)).get(0);
    if (proxy.type() == Proxy.Type.DIRECT) {
      return "";
    }
    InetSocketAddress address = (InetSocketAddress) proxy.address();
    return address.getHostString() + ":" + address.getPort();
  }

  @Test
  void variablesAreThoseOfOtherPrograms() {
    Map<String, String> both = Map.of("https_proxy", "http://s:3128/", "http_proxy", "p:1");
    assertEquals("s:3128", proxy(both, "https://example.org/x"));
    assertEquals("p:1", proxy(both, "http://example.org/x"));
    assertEquals("s:80", proxy(Map.of("HTTPS_PROXY", "http://s"), "https://example.org"));
    assertEquals("", proxy(Map.of("HTTP_PROXY", "http://p:1"), "http://example.org"));
    assertEquals("a:2", proxy(Map.of("ALL_PROXY", "a:2"), "https://example.org"));
    assertEquals("", proxy(Map.of("https_proxy", ""), "https://example.org"));
  }

  @Test
  void someHostsAreAskedDirectly() {
    for (String host : List.of("localhost", "127.0.0.1", "[::1]")) {
      assertEquals("", proxy(Map.of("http_proxy", "p:1"), "http://" + host + ":8000/v1"));
    }
    Map<String, String> environment =
        Map.of("http_proxy", "p:1", "no_proxy", "one.org, .two.org,*.three.org,four.org:81");
    for (String host : List.of("one.org", "a.one.org", "two.org", "b.two.org", "c.Three.org")) {
      assertEquals("", proxy(environment, "http://" + host), host);
    }
    assertEquals("", proxy(environment, "http://four.org:81"));
    for (String host : List.of("none.org", "xone.org", "four.org:82", "four.org")) {
      assertEquals("p:1", proxy(environment, "http://" + host), host);
    }
    assertEquals("", proxy(Map.of("http_proxy", "p:1", "NO_PROXY", "*"), "http://x.org"));
  }

  @Test
  void otherProxiesAreRefused() {
    for (String value :
        List.of("socks5://p:1", "https://p:1", "http://me:secret@p:1", "http://[")) {
      String message =
          assertThrows(
                  EvalException.class,
                  () -> proxy(Map.of("https_proxy", value), "https://example.org"))
              .getMessage();
      assertTrue(message.startsWith("https_proxy: "), message);
      assertFalse(message.contains("secret"), message);
    }
  }

  /** The proxy is asked for the whole URL; nothing of that name exists. */
  @Test
  void downloadsGoThroughIt(@TempDir Path home) throws IOException {
    try (LoopbackServer server =
        new LoopbackServer((request, out) -> LoopbackServer.respond(out, 200, "", "whole"))) {
      Map<String, String> environment =
          Map.of("http_proxy", server.uri("").getRawAuthority());
      new Download(Duration.ofSeconds(20), Duration.ZERO, new EnvironmentProxy(environment))
          .fetch(URI.create("http://data.invalid/file"), 5, home.resolve("part"), at -> {});
      assertEquals("whole", Files.readString(home.resolve("part")));
      assertEquals("http://data.invalid/file", server.requests().get(0).path());
    }
  }
}
