package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Chunk;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Sampling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Opening and closing, in every order that users have found. */
@Timeout(600)
class EngineLifecycleTest {
  private static final long MEBIBYTE = 1 << 20;
  private static final long BOUND = 24 * MEBIBYTE;
  /** Hidden size of the llama fixture. */
  private static final int WIDTH = 64;

  static Engine open() {
    return Engine.open(Fixtures.options("llama").maxContextLength(256).maxSequences(2).build());
  }

  static GenerationRequest endless() {
    return GenerationRequest.builder().promptTokens(1, 2, 3).sampling(Sampling.greedy())
        .ignoreEos(true).build();
  }

  private static GenerationRequest brief() {
    return endless().toBuilder().maxNewTokens(4).build();
  }

  @Test
  void openAndCloseWithoutWork() {
    open().close();
  }

  /** The llama fixture with a vocabulary so large that each part of it would be missed. */
  private static EngineOptions wide(Path folder) throws IOException {
    int rows = 1 << 17;
    TensorFile.copyFixture("llama", folder);
    Path config = folder.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config).replaceAll("\"vocab_size\": *\\d+", "\"vocab_size\": " + rows));
    TensorFile weights = TensorFile.read(folder.resolve("model.safetensors"));
    weights.tensors.compute(
        "model.embed_tokens.weight",
        (name, small) ->
            new TensorFile.Tensor(
                small.dtype(),
                rows + small.shape().substring(small.shape().indexOf(',')),
                Arrays.copyOf(small.data(), rows * WIDTH * Float.BYTES)));
    weights.write(folder.resolve("model.safetensors"));
    return EngineOptions.builder().model(folder).dtype(ComputeDtype.FLOAT32)
        .maxContextLength(256).maxSequences(2).build();
  }

  @Test
  void twentyTimesWithFlatMemory(@TempDir Path folder) throws IOException {
    EngineOptions options = wide(folder);
    List<Integer> first = null;
    long warm = 0;
    int threads = 0;
    for (int i = 0; i < 25; i++) {
      try (Engine engine = Engine.open(options)) {
        // One engine that stays would be enough to break the bound, its weights alone too.
        assertTrue(engine.modelInfo().weightBytes() > BOUND, engine.modelInfo().toString());
        List<Integer> tokens = engine.generate(brief()).tokens();
        first = first == null ? tokens : first;
        assertEquals(first, tokens);
      }
      if (i == 4) {
        warm = residentBytes();
        threads = nativeThreads();
      }
    }
    long grown = residentBytes() - warm;
    assertTrue(grown < BOUND, "resident memory grew by " + grown / MEBIBYTE + " MiB");
    assertTrue(nativeThreads() <= threads + 2, threads + " threads became " + nativeThreads());
  }

  private static long residentBytes() throws IOException {
    System.gc();
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
      }
    }
    throw new IOException("VmRSS not found");
  }

  private static int nativeThreads() throws IOException {
    try (var tasks = Files.list(Path.of("/proc/self/task"))) {
      return (int) tasks.count();
    }
  }

  @Test
  void closingTwiceAndAtOnceIsHarmless() throws Exception {
    Engine engine = open();
    Generation generation = engine.submit(endless());
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      Thread thread = new Thread(engine::close);
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    engine.close();
    GenerationResult result = generation.result().get(10, TimeUnit.SECONDS);
    assertTrue(
        Set.of(FinishReason.CANCELLED, FinishReason.LENGTH).contains(result.finishReason()),
        result.toString());
    assertEquals(result.finishReason() == FinishReason.LENGTH, result.tokens().size() == 253);
    assertThrows(EngineClosedException.class, () -> engine.submit(brief()));
  }

  @Test
  void aClosedEngineSaysSo() {
    Engine engine = open();
    engine.close();
    assertThrows(EngineClosedException.class, () -> engine.submit(brief()));
    assertThrows(EngineClosedException.class, () -> engine.generate(brief()));
    engine.metrics();
    engine.modelInfo();
  }

  @Test
  void closingDuringAStreamEndsIt() {
    Engine engine = open();
    int chunks = 0;
    GenerationResult result;
    try (Generation generation = engine.submit(endless())) {
      for (Chunk chunk : generation) {
        assertTrue(chunk.tokens().size() > 0);
        if (chunks++ == 2) {
          engine.close();
        }
      }
      result = generation.result().join();
    }
    if (result.finishReason() != FinishReason.LENGTH) {
      assertEquals(FinishReason.CANCELLED, result.finishReason());
      assertEquals("the engine was closed", result.detail());
    }
  }

  @Test
  void closingFromAConsumerIsHarmless() {
    Engine engine = open();
    Generation generation = engine.submit(endless());
    generation.onChunk(chunk -> engine.close());
    generation.result().join();
    assertThrows(EngineClosedException.class, () -> engine.submit(brief()));
  }

  /** There is one thread for results: an action that waits must not wait for itself. */
  @Test
  void anActionOnAResultMayUseTheEngineAndCloseIt() throws Exception {
    Engine engine = open();
    int newTokens =
        engine.submit(brief()).result()
            .thenApply(
                first -> {
                  GenerationResult second =
                      engine.submit(brief()).result()
                          .thenApply(ignored -> engine.generate(brief()))
                          .join();
                  int streamed = 0;
                  for (Chunk chunk : engine.submit(brief())) {
                    streamed += chunk.tokens().size();
                  }
                  return first.tokens().size() + second.tokens().size() + streamed;
                })
            .get(60, TimeUnit.SECONDS);
    assertEquals(12, newTokens);
    engine.submit(brief()).result().thenRun(engine::close).get(60, TimeUnit.SECONDS);
    assertThrows(EngineClosedException.class, () -> engine.submit(brief()));
  }

  @Test
  void anAbandonedGenerationEndsByItself() throws Exception {
    try (Engine engine = open()) {
      engine.submit(endless());
      engine.submit(endless()).iterator().next();
      while (engine.metrics().finished().get(FinishReason.LENGTH) < 2) {
        Thread.sleep(5);
      }
      assertEquals(0, engine.metrics().kvBlocksUsed());
    }
  }

  @Test
  void twoEnginesLiveSideBySide() {
    try (Engine a = open();
        Engine b = open()) {
      Generation first = a.submit(endless());
      Generation second = b.submit(endless());
      assertEquals(first.result().join().tokens(), second.result().join().tokens());
    }
  }

  @Test
  void theSecondRequestIsLikeTheFirst() {
    try (Engine engine = open()) {
      assertEquals(engine.generate(endless()).tokens(), engine.generate(endless()).tokens());
    }
  }

  @Test
  void aProgramMayEndWithoutClosing() throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    System.getProperties().forEach(
        (key, value) -> {
          if (key.toString().matches("(sluice|org\\.bytedeco|ai\\.djl)\\..*")) {
            command.add("-D" + key + "=" + value);
          }
        });
    command.add("-cp");
    command.add(classPath());
    command.add(LeavesEngineOpen.class.getName());
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes());
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), output);
    assertEquals(0, process.exitValue(), output);
    assertTrue(output.contains("leaving"), output);
  }

  /** The tests run on a module path; a child needs all of it as a class path. */
  private static String classPath() {
    List<String> parts = new ArrayList<>();
    for (String key : List.of("jdk.module.path", "java.class.path", "surefire.test.class.path",
        "surefire.real.class.path")) {
      String value = System.getProperty(key);
      if (value != null && !value.isEmpty()) {
        parts.add(value);
      }
    }
    parts.add(location(EngineLifecycleTest.class));
    parts.add(location(Engine.class));
    return String.join(java.io.File.pathSeparator, parts);
  }

  private static String location(Class<?> type) {
    String file = type.getName().replace('.', '/') + ".class";
    String url = String.valueOf(type.getClassLoader().getResource(file));
    if (url.startsWith("jar:")) {
      return Path.of(java.net.URI.create(url.substring(4, url.indexOf("!/")))).toString();
    }
    return Path.of(java.net.URI.create(url)).toString().replace(file, "");
  }
}
