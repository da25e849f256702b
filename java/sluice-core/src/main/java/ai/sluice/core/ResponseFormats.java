package ai.sluice.core;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.SluiceException;
import ai.sluice.text.TokenConstraint;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.grammar.CompiledGrammar;
import ai.sluice.text.grammar.TokenTable;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Response formats as constraints on tokens. Each is compiled once, on a thread of its own, however
 * many ask for it at once, and kept while others are asked for less recently. Thread-safe.
 */
final class ResponseFormats {
  private static final int MOST_CACHED = 256;
  private static final long MOST_CACHED_BYTES = 256L << 20;
  private static final int MOST_WAITING = 64;
  private static final long IDLE_SECONDS = 10;

  private final Function<ResponseFormat, CompiledGrammar> compiler;
  private final ThreadPoolExecutor compilers;
  private final ReentrantLock lock = new ReentrantLock();
  /** In the order of use; guarded by the lock. */
  private final Map<String, CompletableFuture<CompiledGrammar>> cache =
      new LinkedHashMap<>(16, 0.75f, true);

  /**
   * Creates an empty cache.
   *
   * @param engineNumber names the thread
   * @param tokenizer the model's
   * @param vocabSize of the model
   */
  static ResponseFormats of(int engineNumber, Tokenizer tokenizer, int vocabSize) {
    return new ResponseFormats(
        engineNumber,
        new Function<>() {
          // Made at the first use, on the one thread that compiles.
          private volatile @Nullable TokenTable tokens;

          @Override
          public CompiledGrammar apply(ResponseFormat format) {
            TokenTable known = tokens;
            if (known == null) {
              known = TokenTable.of(tokenizer, vocabSize);
              tokens = known;
            }
            return CompiledGrammar.compile(format, known);
          }
        });
  }

  ResponseFormats(int engineNumber, Function<ResponseFormat, CompiledGrammar> compiler) {
    this.compiler = compiler;
    compilers =
        new ThreadPoolExecutor(
            1,
            1,
            IDLE_SECONDS,
            TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(MOST_WAITING),
            task -> {
              Thread thread = new Thread(task, "sluice-grammars-" + engineNumber);
              thread.setDaemon(true);
              return thread;
            });
    compilers.allowCoreThreadTimeOut(true);
  }

  /**
   * Compiles a format, unless it is known. The caller waits, at most as long as compiling and those
   * before it may take; an interrupt is kept for later.
   *
   * @return what makes constraints, one for each generation; takes the tokens that end it
   * @throws InvalidRequestException if the format uses what is not supported, or is too large
   * @throws QueueFullException if too many wait for theirs
   * @throws EngineClosedException if the engine is closed meanwhile
   */
  Function<int[], TokenConstraint> compile(ResponseFormat format) {
    return await(futureOf(format))::start;
  }

  private CompletableFuture<CompiledGrammar> futureOf(ResponseFormat format) {
    String key = FormatKey.of(format);
    lock.lock();
    try {
      CompletableFuture<CompiledGrammar> known = cache.get(key);
      if (known != null) {
        // What is used grows, also when nothing new is compiled.
        trim(key);
        return known;
      }
      CompletableFuture<CompiledGrammar> future = new CompletableFuture<>();
      try {
        compilers.execute(() -> compile(key, format, future));
      } catch (RejectedExecutionException e) {
        if (compilers.isShutdown()) {
          throw closed(e);
        }
        throw new QueueFullException(
            "responseFormat: " + MOST_WAITING + " others wait to be compiled (expected: fewer; try"
                + " again later)");
      }
      cache.put(key, future);
      return future;
    } finally {
      lock.unlock();
    }
  }

  private void compile(
      String key, ResponseFormat format, CompletableFuture<CompiledGrammar> future) {
    try {
      CompiledGrammar grammar = compiler.apply(format);
      future.complete(grammar);
      trim(key);
    } catch (Throwable e) {
      lock.lock();
      try {
        // What is refused once is refused again, but costs no memory.
        cache.remove(key);
      } finally {
        lock.unlock();
      }
      future.completeExceptionally(e);
    }
  }

  /** Forgets what was used least recently; generations that run keep theirs. */
  private void trim(String newest) {
    lock.lock();
    try {
      long bytes = 0;
      for (CompletableFuture<CompiledGrammar> future : cache.values()) {
        bytes += bytesOf(future);
      }
      Iterator<Map.Entry<String, CompletableFuture<CompiledGrammar>>> oldest =
          cache.entrySet().iterator();
      while (oldest.hasNext() && (cache.size() > MOST_CACHED || bytes > MOST_CACHED_BYTES)) {
        Map.Entry<String, CompletableFuture<CompiledGrammar>> entry = oldest.next();
        if (entry.getValue().isDone() && !entry.getKey().equals(newest)) {
          bytes -= bytesOf(entry.getValue());
          oldest.remove();
        }
      }
    } finally {
      lock.unlock();
    }
  }

  private static long bytesOf(CompletableFuture<CompiledGrammar> future) {
    return future.isDone() && !future.isCompletedExceptionally() ? future.join().bytes() : 0;
  }

  private static CompiledGrammar await(CompletableFuture<CompiledGrammar> future) {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return future.get();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } catch (CancellationException e) {
      throw closed(e);
    } catch (ExecutionException e) {
      throw failed(e.getCause());
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Wrapped, because one exception thrown on many threads would show the wrong stack. */
  private static SluiceException failed(@Nullable Throwable cause) {
    if (cause instanceof InvalidRequestException) {
      return new InvalidRequestException(String.valueOf(cause.getMessage()), cause);
    }
    // Not the engine's failure, which would be for good: other requests are served as before.
    return new InvalidRequestException(
        "responseFormat: could not be compiled, by a defect of Sluice: "
            + cause
            + " (expected: none; remedy: another format)",
        cause);
  }

  private static EngineClosedException closed(@Nullable Throwable cause) {
    return new EngineClosedException("engine: closed (expected: open; open another)", cause);
  }

  /** Formats that are kept. */
  int size() {
    lock.lock();
    try {
      return cache.size();
    } finally {
      lock.unlock();
    }
  }

  /** Ends what is being compiled; nothing is compiled after. */
  void close() {
    compilers.shutdownNow();
    lock.lock();
    try {
      cache.values().forEach(future -> future.completeExceptionally(new CancellationException()));
      cache.clear();
    } finally {
      lock.unlock();
    }
  }
}
