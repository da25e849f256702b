package ai.sluice.eval.data;

import ai.sluice.eval.EvalException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The proxy that environment variables name, as curl and pip take them: {@code https_proxy} and
 * {@code HTTPS_PROXY}, {@code http_proxy}, {@code all_proxy} and {@code ALL_PROXY}, less the hosts
 * of {@code no_proxy} and {@code NO_PROXY} and this machine. Where none is set, Java's own settings
 * count.
 */
public final class EnvironmentProxy extends ProxySelector {
  private final Map<String, String> environment;

  /** Reads variables of this environment. */
  public EnvironmentProxy(Map<String, String> environment) {
    this.environment = Map.copyOf(environment);
  }

  /**
   * The proxy for a URL; never empty.
   *
   * @throws EvalException when a variable names one that is not supported
   */
  @Override
  public List<Proxy> select(URI uri) {
    String host = String.valueOf(uri.getHost()).toLowerCase(Locale.ROOT);
    boolean secure = "https".equalsIgnoreCase(uri.getScheme());
    // Not HTTP_PROXY, which a web server sets from what a client sends.
    String[] names =
        secure
            ? new String[] {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
            : new String[] {"http_proxy", "all_proxy", "ALL_PROXY"};
    for (String name : names) {
      String value = environment.getOrDefault(name, "").strip();
      if (!value.isEmpty()) {
        return List.of(isExcluded(host, uri.getPort()) ? Proxy.NO_PROXY : proxy(name, value));
      }
    }
    @Nullable ProxySelector own = ProxySelector.getDefault();
    return own == null ? List.of(Proxy.NO_PROXY) : own.select(uri);
  }

  private static Proxy proxy(String name, String value) {
    @Nullable URI uri = null;
    try {
      uri = URI.create(value.contains("://") ? value : "http://" + value);
    } catch (IllegalArgumentException e) {
      // Said below.
    }
    if (uri == null || uri.getHost() == null || uri.getUserInfo() != null
        || !"http".equalsIgnoreCase(uri.getScheme())) {
      throw new EvalException(
          name + ": " + value.replaceAll("[^/]*@", "***@") + " (expected: http://HOST:PORT without"
              + " a password, other proxies are not supported; remedy: unset it, or fetch the files"
              + " elsewhere)");
    }
    int port = uri.getPort() < 0 ? 80 : uri.getPort();
    return new Proxy(Proxy.Type.HTTP, InetSocketAddress.createUnresolved(uri.getHost(), port));
  }

  private boolean isExcluded(String host, int port) {
    if (host.equals("localhost") || host.startsWith("127.") || host.equals("[::1]")) {
      return true;
    }
    String list =
        environment.getOrDefault("no_proxy", environment.getOrDefault("NO_PROXY", ""));
    for (String each : list.toLowerCase(Locale.ROOT).split(",")) {
      String entry = each.strip();
      int colon = entry.lastIndexOf(':');
      if (colon > 0 && entry.substring(colon + 1).matches("[0-9]+")) {
        if (!entry.substring(colon + 1).equals(String.valueOf(port))) {
          continue;
        }
        entry = entry.substring(0, colon);
      }
      entry = entry.startsWith("*.") ? entry.substring(2) : entry;
      entry = entry.startsWith(".") ? entry.substring(1) : entry;
      if (entry.equals("*")
          || !entry.isEmpty() && (host.equals(entry) || host.endsWith("." + entry))) {
        return true;
      }
    }
    return false;
  }

  @Override
  public void connectFailed(URI uri, SocketAddress address, IOException e) {
    // Whoever connects says so.
  }
}
