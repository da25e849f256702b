package ai.sluice.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import ai.sluice.api.EngineClosedException;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Owns one native tokenizer. Thread-safe; closing waits for calls in flight. */
final class NativeTokenizer implements AutoCloseable {
  private final TokenizersLibrary library;
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private long handle;

  private NativeTokenizer(TokenizersLibrary library, long handle) {
    this.library = library;
    this.handle = handle;
  }

  /**
   * Builds a tokenizer that never truncates or pads, whatever its JSON says.
   *
   * @param json a tokenizer.json of checked shape; the library aborts the process over some others
   * @throws RuntimeException of the library, with its reason, if it refuses the JSON
   */
  static NativeTokenizer create(String json) {
    TokenizersLibrary library = NativeTokenizers.library();
    long handle = library.createTokenizerFromString(json);
    NativeTokenizer tokenizer = new NativeTokenizer(library, handle);
    library.disableTruncation(handle);
    library.disablePadding(handle);
    return tokenizer;
  }

  /**
   * Token ids of a text.
   *
   * @param text well-formed UTF-16; the library aborts the process otherwise, so callers check
   */
  int[] encode(String text) {
    lock.readLock().lock();
    try {
      if (handle == 0) {
        throw new EngineClosedException("tokenizer: closed (expected: open)");
      }
      long encoding = library.encode(handle, text, false);
      try {
        long[] ids = library.getTokenIds(encoding);
        int[] result = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
          result[i] = Math.toIntExact(ids[i]);
        }
        return result;
      } finally {
        library.deleteEncoding(encoding);
      }
    } finally {
      lock.readLock().unlock();
    }
  }

  /** The library's own decoding, kept as an independent check of ours. */
  String decode(int[] ids, boolean skipSpecialTokens) {
    lock.readLock().lock();
    try {
      if (handle == 0) {
        throw new EngineClosedException("tokenizer: closed (expected: open)");
      }
      long[] wide = new long[ids.length];
      for (int i = 0; i < ids.length; i++) {
        wide[i] = ids[i];
      }
      return library.decode(handle, wide, skipSpecialTokens);
    } finally {
      lock.readLock().unlock();
    }
  }

  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (handle != 0) {
        library.deleteTokenizer(handle);
        handle = 0;
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
