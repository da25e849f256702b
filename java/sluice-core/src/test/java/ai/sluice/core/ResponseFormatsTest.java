package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.grammar.CompiledGrammar;
import ai.sluice.text.grammar.TokenTable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Formats are compiled once, elsewhere, and kept within bounds. */
@Timeout(120)
class ResponseFormatsTest {
  private static TokenTable tokens;
  private final AtomicInteger compiled = new AtomicInteger();

  @BeforeAll
  static void vocabulary(@TempDir Path folder) {
    Path model = ByteTokenizer.copyWithTokenizer("llama3_rope", folder, "");
    try (Tokenizer tokenizer =
        Tokenizer.fromFile(model.resolve("tokenizer.json"))) {
      tokens = TokenTable.of(tokenizer, 288);
    }
  }

  private ResponseFormats formats() {
    return new ResponseFormats(
        1,
        format -> {
          compiled.incrementAndGet();
          assertTrue(Thread.currentThread().getName().startsWith("sluice-grammars-"));
          return CompiledGrammar.compile(format, tokens);
        });
  }

  @Test
  void aFormatIsCompiledOnce() throws Exception {
    ResponseFormats formats = formats();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      Thread thread =
          new Thread(() -> formats.compile(ResponseFormat.regex("a+")).apply(new int[] {2}));
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(1, compiled.get());
    formats.compile(ResponseFormat.regex("b+"));
    assertEquals(2, compiled.get());
    assertEquals(2, formats.size());
    formats.close();
  }

  @Test
  void theNumberOfFormatsIsBounded() {
    ResponseFormats formats = formats();
    for (int i = 0; i < 300; i++) {
      formats.compile(ResponseFormat.regex("x{" + (1 + i) + "}"));
      // Used again and again, so never forgotten.
      formats.compile(ResponseFormat.regex("x{1}"));
    }
    assertEquals(300, compiled.get());
    assertTrue(formats.size() <= 256, formats.size() + " kept");
    formats.close();
  }

  @Test
  void whatIsRefusedIsRefusedEachTimeAndNotKept() {
    ResponseFormats formats = formats();
    for (int i = 1; i <= 3; i++) {
      assertThrows(
          InvalidRequestException.class, () -> formats.compile(ResponseFormat.regex("(unclosed")));
      assertEquals(i, compiled.get());
    }
    assertEquals(0, formats.size());
    formats.close();
  }

  @Test
  void anInterruptIsKept() {
    ResponseFormats formats = formats();
    Thread.currentThread().interrupt();
    formats.compile(ResponseFormat.regex("a"));
    assertTrue(Thread.interrupted());
    formats.close();
  }

  @Test
  void closingEndsThoseWhoWait() throws Exception {
    CountDownLatch compiling = new CountDownLatch(1);
    ResponseFormats formats =
        new ResponseFormats(
            1,
            format -> {
              compiling.countDown();
              try {
                Thread.sleep(Long.MAX_VALUE);
                throw new AssertionError();
              } catch (InterruptedException e) {
                throw new CancellationException();
              }
            });
    List<Throwable> thrown = new ArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (String pattern : List.of("a", "b", "b")) {
      Thread thread =
          new Thread(
              () -> {
                Throwable e =
                    assertThrows(
                        EngineClosedException.class,
                        () -> formats.compile(ResponseFormat.regex(pattern)));
                synchronized (thrown) {
                  thrown.add(e);
                }
              });
      threads.add(thread);
      thread.start();
    }
    compiling.await();
    formats.close();
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(3, thrown.size());
    assertThrows(
        EngineClosedException.class, () -> formats.compile(ResponseFormat.regex("c")));
  }

  @Test
  void tooManyThatWaitAreRejected() throws Exception {
    CountDownLatch go = new CountDownLatch(1);
    ResponseFormats formats =
        new ResponseFormats(
            1,
            format -> {
              try {
                go.await();
              } catch (InterruptedException e) {
                throw new CancellationException();
              }
              return CompiledGrammar.compile(format, tokens);
            });
    AtomicInteger full = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 70; i++) {
      String pattern = "x{" + (1 + i) + "}";
      Thread thread =
          new Thread(
              () -> {
                try {
                  formats.compile(ResponseFormat.regex(pattern));
                } catch (QueueFullException e) {
                  assertTrue(e.why().startsWith("responseFormat: 64 others wait"), e.why());
                  full.incrementAndGet();
                }
              });
      threads.add(thread);
      thread.start();
    }
    // One is being compiled, 64 wait.
    while (full.get() < 5) {
      Thread.onSpinWait();
    }
    go.countDown();
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(5, full.get());
    formats.close();
  }

  @Test
  void aDefectIsNoEndOfTheEngine() {
    ResponseFormats formats =
        new ResponseFormats(
            1,
            format -> {
              throw new StackOverflowError();
            });
    // What fails for good is the engine alone; a batch would end at this request.
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class, () -> formats.compile(ResponseFormat.regex("a")));
    assertTrue(e.getMessage().startsWith("responseFormat: could not be compiled"), e.getMessage());
    formats.close();
  }

  @Test
  void aLongSchemaIsNotKeptAsText() {
    String key = key(Map.of("type", "string", "description", "x".repeat(1_000_000)));
    assertTrue(key.length() < 100, key.length() + " characters");
    assertNotEquals(key, key(Map.of("type", "string", "description", "x".repeat(999_999))));
    // Halves of surrogate pairs are kept apart from what they would be encoded as.
    assertNotEquals(key(Map.of("const", "\ud800")), key(Map.of("const", "?")));
  }

  @Test
  void theOrderOfPropertiesCounts() {
    Map<String, Object> one = new LinkedHashMap<>();
    one.put("a", Map.of("type", "string"));
    one.put("b", Map.of("type", "string"));
    Map<String, Object> two = new LinkedHashMap<>();
    two.put("b", Map.of("type", "string"));
    two.put("a", Map.of("type", "string"));
    assertNotEquals(key(one), key(two));
    assertEquals(key(one), key(new LinkedHashMap<>(one)));
    assertNotEquals(key(Map.of("x", "1")), key(Map.of("x", 1)));
    assertNotEquals(key(Map.of("x", "1}")), key(Map.of("x", List.of("1"))));
    assertNotEquals(
        FormatKey.of(ResponseFormat.jsonObject()), FormatKey.of(ResponseFormat.text()));
    assertNotEquals(
        FormatKey.of(ResponseFormat.regex("a")), FormatKey.of(ResponseFormat.regex("b")));
  }

  private static String key(Map<String, Object> schema) {
    return FormatKey.of(ResponseFormat.jsonSchema(schema));
  }

  @Test
  void aSchemaBeyondReasonIsRefusedAtOnce() {
    List<Object> many = new ArrayList<>();
    for (int i = 0; i < 200_001; i++) {
      many.add(i);
    }
    assertThrows(InvalidRequestException.class, () -> key(Map.of("enum", many)));
    assertThrows(
        InvalidRequestException.class, () -> key(Map.of("const", "x".repeat(2_000_001))));
  }
}
