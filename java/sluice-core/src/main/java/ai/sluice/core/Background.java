package ai.sluice.core;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Something that is being made on a daemon thread of its own. */
final class Background<T> {
  private final CompletableFuture<T> future = new CompletableFuture<>();

  private Background() {}

  /** Starts making it. */
  static <T> Background<T> start(String threadName, Supplier<T> maker) {
    Background<T> background = new Background<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                background.future.complete(maker.get());
              } catch (Throwable e) {
                background.future.completeExceptionally(e);
              }
            },
            threadName);
    thread.setDaemon(true);
    thread.start();
    return background;
  }

  /** Waits for it. What was thrown while it was made is thrown here. */
  T get() {
    try {
      return future.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      if (e.getCause() instanceof Error cause) {
        throw cause;
      }
      throw e;
    }
  }

  /** Does something with it once it is there, if it ever is. */
  void whenMade(Consumer<T> action) {
    future.thenAccept(action);
  }
}
