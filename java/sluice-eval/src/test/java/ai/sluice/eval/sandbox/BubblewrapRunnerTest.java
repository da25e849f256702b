package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.TestData;
import ai.sluice.eval.sandbox.Verdict.Outcome;
import ai.sluice.eval.tasks.HumanEvalTask;
import java.io.BufferedReader;
import java.io.File;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BubblewrapRunnerTest {
  // More than any of these takes, however slow the machine.
  private static final SandboxOptions OPTIONS = Sandbox.options(30);
  private static final String SLEEP = "import time\ntime.sleep(1000)";
  private static BubblewrapRunner runner;

  @BeforeAll
  static void open() throws Exception {
    runner = Sandbox.open(OPTIONS);
  }

  @AfterAll
  static void close() throws Exception {
    if (runner != null) {
      runner.close();
      Sandbox.assertNothingIsAlive(OPTIONS);
    }
  }

  @Test
  void aRightProgramPasses() {
    Verdict verdict = runner.run("def add(a, b):\n    return a + b\nassert add(1, 2) == 3\n");
    assertEquals(Outcome.PASSED, verdict.outcome(), verdict.detail());
    assertEquals("", verdict.detail());
    assertTrue(verdict.seconds() > 0 && verdict.seconds() < 30, verdict.toString());
    assertEquals(List.of(), verdict.flags());
    assertTrue(runner.pythonVersion().startsWith("3."), runner.pythonVersion());
  }

  /** The program, and what is said of it. */
  @Test
  void aWrongProgramFailsWithWhatItRaised() {
    Map<String, String> programs = new LinkedHashMap<>();
    programs.put("assert 1 + 1 == 3", "AssertionError");
    programs.put("assert 1 + 1 == 3, 'two  and\\ntwo'", "AssertionError: two and two");
    programs.put("def f(:\n", "SyntaxError: invalid syntax (<string>, line 1)");
    programs.put("raise ValueError(object())", "ValueError: <object object at 0x...>");
    programs.put("raise KeyboardInterrupt", "KeyboardInterrupt");
    programs.put("x = undefined", "NameError: name 'undefined' is not defined");
    programs.put("assert False, '\\u20ac \\ud800 \\x07'", "AssertionError: \u20ac \\ud800 ?");
    programs.put("import numpy", "ModuleNotFoundError: No module named 'numpy'");
    programs.put("raise ValueError('x' * 5000)", "ValueError: " + "x".repeat(388));
    for (Map.Entry<String, String> one : programs.entrySet()) {
      Verdict verdict = runner.run(one.getKey());
      assertEquals(Outcome.FAILED, verdict.outcome(), one.getKey());
      assertEquals(one.getValue(), verdict.detail(), one.getKey());
    }
  }

  /** What well-meaning programs use works. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "import threading\n"
            + "seen = []\n"
            + "threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(8)]\n"
            + "[t.start() for t in threads]\n[t.join() for t in threads]\n"
            + "assert sorted(seen) == list(range(8))",
        "import tempfile\n"
            + "with tempfile.TemporaryDirectory() as d:\n"
            + "    with open(d + '/f', 'w') as f:\n        f.write('x')\n"
            + "    assert open(d + '/f').read() == 'x'",
        "import collections, datetime, decimal, fractions, functools, hashlib, heapq, itertools\n"
            + "import json, math, random, re, statistics, string, typing\n"
            + "assert hashlib.md5(b'').hexdigest().startswith('d41d8cd9')",
        "import os, sys\nassert os.getcwd() == '/tmp' and not sys.stdin.read()\nprint('\u20ac')",
        "assert list({'a', 'b', 'c', 'd', 'e'}) == list({'e', 'd', 'c', 'b', 'a'})",
        "import time\nt = time.monotonic()\ntime.sleep(0.01)\nassert time.monotonic() > t",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
        "assert __name__ == 'builtins' and len(globals()) == 1, globals()",
        "\r\nx = '\u00e9\ud83d\ude00'\r\nassert len(x) == 2"
      })
  void usualThingsWork(String program) {
    Verdict verdict = runner.run(program);
    assertTrue(verdict.passed(), verdict.detail());
  }

  @Test
  void setsHaveTheSameOrderInEveryRun() {
    String program = "raise ValueError(''.join({chr(65 + i) for i in range(20)}))";
    assertEquals(runner.run(program).detail(), runner.run(program).detail());
  }

  @Test
  void longSourceAndNulCharactersAreRefused() {
    String most = "#".repeat(BubblewrapRunner.MOST_SOURCE);
    assertTrue(runner.run(most).passed());
    assertEquals(
        "65537 bytes of source (at most 65536)", refused(most + "#"));
    assertEquals("a NUL character in the source", refused("x = 1\n\0"));
  }

  private static String refused(String program) {
    Verdict verdict = runner.run(program);
    assertEquals(Outcome.REFUSED, verdict.outcome());
    return verdict.detail();
  }

  @Test
  void namesThatReachTheJudgeAreFlagged() {
    String program =
        "import sys, gc, ctypes\nx = '/proc/self/mem'\nclass A:\n  def __eq__(self, other):\n"
            + "    return True\nsys._getframe()";
    assertEquals(
        List.of("sys._getframe", "gc", "/proc", "ctypes", "__eq__"), runner.run(program).flags());
    assertEquals(List.of(), SourceFlags.of("from math import gcd\nf = frame.eq\n# processes"));
  }

  @Test
  void aVerdictInWords() {
    assertEquals("passed", runner.run("pass").toText());
    assertEquals("failed: AssertionError [gc]", runner.run("import gc\nassert False").toText());
    assertEquals(
        "timed out", new Verdict(Outcome.TIMED_OUT, "timed out", 3, List.of()).toText());
    assertEquals("refused: a NUL character in the source", runner.run("\0").toText());
  }

  @Test
  void humanEvalSaysHowItsProgramsEnded(@TempDir Path folder) throws Exception {
    Path file = Files.createDirectories(folder.resolve("humaneval")).resolve("HumanEval.jsonl");
    Files.writeString(
        file,
        "{\"task_id\": \"Own/0\", \"prompt\": \"def twice(n):\\n\", \"canonical_solution\": "
            + "\"    return 2 * n\\n\", \"entry_point\": \"twice\", \"test\": "
            + "\"def check(candidate):\\n    assert candidate(4) == 8, 'four'\\n\"}\n");
    EvalItem item = new HumanEvalTask().items(folder, 0).get(0);
    ItemScores scores =
        new HumanEvalTask()
            .scores(
                item,
                new EvalAnswer(
                    List.of(), List.of("    return n + n", "    return n", "    exit(0)")),
                runner);
    assertEquals(
        List.of(
            "passed", "failed: AssertionError: four", "failed: NameError: name 'exit' is not"
            + " defined"),
        scores.verdicts());
    assertEquals(1.0 / 3, scores.metrics().get("pass@1,create_test"), 1e-12);
  }

  @Test
  void manyRunAtOnce() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try {
      List<Future<Verdict>> verdicts = new ArrayList<>();
      for (int i = 0; i < 32; i++) {
        String program = "assert " + i + " % 2 == 0, 'odd " + i + "'";
        verdicts.add(pool.submit(() -> runner.run(program)));
      }
      for (int i = 0; i < 32; i++) {
        Verdict verdict = verdicts.get(i).get();
        assertEquals(i % 2 == 0, verdict.passed(), verdict.detail());
        assertEquals(i % 2 == 0 ? "" : "AssertionError: odd " + i, verdict.detail());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void anInterruptedThreadEndsItsProgram() throws Exception {
    SandboxOptions options = Sandbox.options(50);
    try (BubblewrapRunner own = BubblewrapRunner.open(options)) {
      AtomicReference<Throwable> thrown = new AtomicReference<>();
      AtomicReference<Boolean> interrupted = new AtomicReference<>();
      Thread thread =
          new Thread(
              () -> {
                thrown.set(assertThrows(EvalException.class, () -> own.run(SLEEP)));
                interrupted.set(Thread.currentThread().isInterrupted());
              });
      thread.start();
      awaitAlive(options);
      thread.interrupt();
      thread.join();
      assertTrue(thrown.get().getMessage().contains("interrupted"), thrown.toString());
      assertTrue(interrupted.get());
      Sandbox.assertNothingIsAlive(options);
      assertTrue(own.run("pass").passed());
    }
  }

  /** Also in the moments in which the sandbox is made. */
  @Test
  void interruptionAtAnyMomentLeavesNothingBehind() throws Exception {
    SandboxOptions options = Sandbox.options(50);
    Random random = new Random(7);
    try (BubblewrapRunner own = BubblewrapRunner.open(options)) {
      for (int i = 0; i < 60; i++) {
        Thread thread =
            new Thread(() -> assertThrows(EvalException.class, () -> own.run(SLEEP)));
        thread.start();
        Thread.sleep(random.nextInt(50));
        thread.interrupt();
        thread.join();
      }
      Sandbox.assertNothingIsAlive(options);
    }
  }

  @Test
  void closeEndsWhatRunsAndRefusesTheRest() throws Exception {
    SandboxOptions options = Sandbox.options(50);
    BubblewrapRunner own = BubblewrapRunner.open(options);
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread thread =
        new Thread(() -> thrown.set(assertThrows(EvalException.class, () -> own.run(SLEEP))));
    thread.start();
    awaitAlive(options);
    own.close();
    own.close();
    thread.join();
    Sandbox.assertNothingIsAlive(options);
    assertTrue(thrown.get().getMessage().contains("closed"), thrown.toString());
    assertThrows(EvalException.class, () -> own.run("pass"));
  }

  /** Killed, this process can do nothing more: the kernel ends what it started. */
  @Test
  void aKilledJvmLeavesNothingBehind(@TempDir Path folder) throws Exception {
    SandboxOptions options = Sandbox.options(50);
    String classPath =
        Stream.of(RunsForEver.class, BubblewrapRunner.class, InvalidRequestException.class)
            .map(BubblewrapRunnerTest::location)
            .collect(Collectors.joining(File.pathSeparator));
    Process jvm =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Djava.io.tmpdir=" + folder, "-cp", classPath, RunsForEver.class.getName(),
                "" + options.limitSeconds(), SLEEP)
            .redirectErrorStream(true)
            .start();
    try (BufferedReader said = jvm.inputReader()) {
      String line = said.readLine();
      assertEquals("running", line, () -> line + said.lines().collect(Collectors.joining("\n")));
      awaitAlive(options);
      jvm.destroyForcibly().waitFor();
      Sandbox.assertNothingIsAlive(options);
    }
  }

  private static String location(Class<?> type) {
    String file = type.getName().replace('.', '/') + ".class";
    String url = String.valueOf(type.getClassLoader().getResource(file));
    return url.startsWith("jar:")
        ? Path.of(URI.create(url.substring("jar:".length(), url.indexOf("!/")))).toString()
        : Path.of(URI.create(url)).toString().replace(file, "");
  }

  private static void awaitAlive(SandboxOptions options) throws Exception {
    while (Sandbox.alive(options).isEmpty()) {
      Thread.sleep(5);
    }
  }

  @Test
  void optionsAreChecked() {
    Path bubblewrap = OPTIONS.bubblewrap();
    assertThrows(
        InvalidRequestException.class,
        () -> new SandboxOptions(bubblewrap, OPTIONS.python(), Double.NaN));
    assertThrows(
        InvalidRequestException.class,
        () -> new SandboxOptions(bubblewrap, Path.of("/opt/python3"), 3));
  }

  @Test
  void allCanonicalSolutionsOfHumanEvalPass() throws Exception {
    Path file = DataFiles.located(TestData.folder("data").resolve("humaneval/HumanEval.jsonl"));
    Assumptions.assumeTrue(TestData.there(file));
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try {
      Map<String, Future<Verdict>> verdicts = new LinkedHashMap<>();
      for (DataFiles.Row row :
          DataFiles.jsonLines(
              file, "task_id", "prompt", "canonical_solution", "test", "entry_point")) {
        String check = "\n" + row.get(3) + "\ncheck(" + row.get(4) + ")";
        String right = row.get(1) + row.get(2) + check;
        verdicts.put(row.get(0), pool.submit(() -> runner.run(right)));
        String wrong = row.get(1) + "    return NotImplemented\n" + check;
        verdicts.put(row.get(0) + " wrong", pool.submit(() -> runner.run(wrong)));
      }
      assertEquals(2 * 164, verdicts.size());
      for (Map.Entry<String, Future<Verdict>> one : verdicts.entrySet()) {
        Verdict verdict = one.getValue().get();
        boolean wrong = one.getKey().endsWith(" wrong");
        assertEquals(
            wrong ? Outcome.FAILED : Outcome.PASSED, verdict.outcome(),
            one.getKey() + ": " + verdict.detail());
        assertEquals(List.of(), verdict.flags(), one.getKey());
        assertFalse(verdict.detail().contains("status"), one.getKey() + ": " + verdict.detail());
      }
    } finally {
      pool.shutdownNow();
    }
  }
}
