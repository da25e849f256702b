package ai.sluice.core.events;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.Timings;
import ai.sluice.core.Engine;
import ai.sluice.core.scheduler.Allocation;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import jdk.jfr.FlightRecorder;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What Java Flight Recorder records of a run of the real engine. */
@Timeout(120)
class FlightEventsTest {
  @TempDir Path folder;

  private static Path fixture() {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden/fixtures/qwen3_moe");
      if (candidate.toFile().exists()) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/fixtures/qwen3_moe not found");
  }

  private static GenerationRequest request(int first, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(IntStream.range(0, 40).map(i -> i == 39 ? first : 3 + i).toArray())
        .maxNewTokens(newTokens)
        .seed(1)
        .ignoreEos(true)
        .build();
  }

  private List<RecordedEvent> of(List<RecordedEvent> events, String name) {
    return events.stream().filter(e -> e.getEventType().getName().equals(name)).toList();
  }

  @Test
  void aRunLeavesEventsOfEveryKind() throws IOException {
    EngineMetrics metrics;
    Path file = folder.resolve("run.jfr");
    try (Recording recording = new Recording()) {
      recording.start();
      // 14 blocks: two requests that grow to 12 blocks each do not fit together.
      EngineOptions options =
          EngineOptions.builder()
              .model(fixture())
              .dtype(ComputeDtype.FLOAT32)
              .maxContextLength(96)
              .maxSequences(2)
              .blockSize(8)
              .build();
      long perToken = Engine.planMemory(options).kvBytesPerToken();
      try (Engine engine =
          Engine.open(options.toBuilder().kvCacheBytes(perToken * 8 * 14).build())) {
        engine.generateAll(List.of(request(100, 56), request(101, 56), request(102, 3)));
        metrics = engine.metrics();
      }
      recording.stop();
      recording.dump(file);
    }
    List<RecordedEvent> events = RecordingFile.readAllEvents(file);
    assertEquals(
        List.of("CHECKPOINT", "ALLOCATE", "WEIGHTS", "PACK"),
        of(events, "ai.sluice.Load").stream().map(e -> e.getString("phase")).toList());
    assertTrue(of(events, "ai.sluice.Load").get(2).getLong("bytes") > 0);
    assertEquals(3, of(events, "ai.sluice.Queue").size());
    List<RecordedEvent> lookups = of(events, "ai.sluice.PrefixCache");
    assertEquals(
        metrics.prefixHitTokens(),
        lookups.stream().mapToLong(e -> e.getInt("hitTokens")).sum());
    assertEquals(120, metrics.prefixQueryTokens());
    List<RecordedEvent> steps = new ArrayList<>(of(events, "ai.sluice.Prefill"));
    assertTrue(steps.stream().allMatch(e -> e.getInt("promptTokens") > 0));
    List<RecordedEvent> decodes = of(events, "ai.sluice.Decode");
    assertTrue(decodes.stream().allMatch(e -> e.getInt("promptTokens") == 0));
    assertFalse(decodes.isEmpty());
    steps.addAll(decodes);
    assertEquals(metrics.steps(), steps.size());
    assertEquals(
        metrics.stepMicros(), steps.stream().mapToLong(e -> micros(e, "device")).sum());
    assertEquals(
        metrics.promptTokens(), steps.stream().mapToLong(e -> e.getInt("promptTokens")).sum());
    assertTrue(metrics.preemptions() > 0);
    assertEquals(metrics.preemptions(), of(events, "ai.sluice.Preemption").size());
    List<RecordedEvent> requests = of(events, "ai.sluice.Request");
    assertEquals(
        metrics.newTokens(), requests.stream().mapToLong(e -> e.getInt("newTokens")).sum());
    assertEquals(
        Set.of("LENGTH"),
        requests.stream().map(e -> e.getString("reason")).collect(Collectors.toSet()));
    for (RecordedEvent e : requests) {
      assertTrue(
          micros(e, "queue") + micros(e, "prefill") + micros(e, "decode") <= micros(e, "total") + 3);
    }
  }

  private static long micros(RecordedEvent event, String field) {
    return TimeUnit.NANOSECONDS.toMicros(event.getDuration(field).toNanos());
  }

  @Test
  void nothingIsAllocatedWhileNobodyRecords() {
    assertTrue(FlightRecorder.getFlightRecorder().getRecordings().isEmpty());
    EngineEvents events = EngineEvents.create();
    tellAll(events, 20_000);
    long before = Allocation.bytes();
    tellAll(events, 10_000);
    long allocated = Allocation.bytes() - before;
    assertTrue(allocated < 10_000, allocated + " bytes");
  }

  private static void tellAll(EngineEvents events, int times) {
    Timings timings = new Timings(1, 2, 3, 6);
    for (int i = 0; i < times; i++) {
      events.queued(1, 2, 3);
      events.prefix(1, 2, 3);
      events.step(i, 1, i % 2, 1, 1, 5, 6);
      events.preempted(1, 1);
      if (events.recordsEnds()) {
        events.ended(FinishReason.STOP, 1, 2, 3, timings);
      }
    }
  }

  /** The engine must open in a Java runtime that was made without the recorder. */
  @Test
  void worksWithoutTheRecordersModule() throws Exception {
    String classPath =
        List.of(EngineEvents.class, FinishReason.class).stream()
            .map(c -> c.getProtectionDomain().getCodeSource().getLocation().getPath())
            .collect(Collectors.joining(":"))
            + ":" + FlightEventsTest.class.getProtectionDomain().getCodeSource().getLocation()
                .getPath();
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--limit-modules", "java.base", "-cp", classPath, Bare.class.getName())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes());
    assertEquals("none\n", output.replace("\r", ""));
    assertEquals(0, process.waitFor());
  }

  /** Runs in a process of its own. */
  static final class Bare {
    private Bare() {}

    public static void main(String[] args) {
      EngineEvents events = EngineEvents.create();
      tellAll(events, 1);
      events.load("CHECKPOINT").end(0);
      System.out.println(events == EngineEvents.NONE ? "none" : "flight");
    }
  }
}
