package ai.sluice.eval.sandbox;

import ai.sluice.eval.DataFiles;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Prints what the sandbox costs: opening it, an empty program, and with a path of HumanEval.jsonl
 * all canonical solutions. Not a test; run its main.
 */
final class SandboxBench {
  private static final int ROUNDS = 100;

  private SandboxBench() {}

  private static double millisSince(long began) {
    return (System.nanoTime() - began) / 1e6;
  }

  private static void print(String name, double[] millis) {
    Arrays.sort(millis);
    System.out.printf(
        "%-42s median %7.1f, least %7.1f, 90th of 100 %7.1f%n",
        name, millis[millis.length / 2], millis[0], millis[millis.length * 9 / 10]);
  }

  public static void main(String[] args) throws Exception {
    long began = System.nanoTime();
    try (BubblewrapRunner runner = BubblewrapRunner.open()) {
      System.out.printf("%-42s %7.1f%n", "open, with the self-test (ms)", millisSince(began));
      double[] bare = new double[ROUNDS];
      double[] empty = new double[ROUNDS];
      for (int i = 0; i < ROUNDS; i++) {
        began = System.nanoTime();
        new ProcessBuilder("/usr/bin/python3", "-s", "-S", "-B", "-c", "pass").start().waitFor();
        bare[i] = millisSince(began);
        began = System.nanoTime();
        runner.run("pass");
        empty[i] = millisSince(began);
      }
      print("bare interpreter (ms)", bare);
      print("empty program in the sandbox (ms)", empty);
      for (String arg : args) {
        canonical(runner, Path.of(arg));
      }
    }
  }

  private static void canonical(BubblewrapRunner runner, Path file) throws Exception {
    List<String> programs = new ArrayList<>();
    for (DataFiles.Row row :
        DataFiles.jsonLines(file, "prompt", "canonical_solution", "test", "entry_point")) {
      programs.add(row.get(0) + row.get(1) + "\n" + row.get(2) + "\ncheck(" + row.get(3) + ")");
    }
    int workers = Runtime.getRuntime().availableProcessors();
    ExecutorService pool = Executors.newFixedThreadPool(workers);
    try {
      long began = System.nanoTime();
      List<Future<double[]>> times = new ArrayList<>();
      for (String program : programs) {
        times.add(
            pool.submit(
                () -> {
                  long start = System.nanoTime();
                  Verdict verdict = runner.run(program);
                  double own = verdict.seconds() * 1e3;
                  return new double[] {
                    millisSince(start) - own, own, verdict.passed() ? 1 : 0
                  };
                }));
      }
      double[] overhead = new double[times.size()];
      double[] own = new double[times.size()];
      int passed = 0;
      for (int i = 0; i < overhead.length; i++) {
        double[] time = times.get(i).get();
        overhead[i] = time[0];
        own[i] = time[1];
        passed += (int) time[2];
      }
      double all = millisSince(began);
      print("canonical solutions, their own time (ms)", own);
      print("canonical solutions, overhead (ms)", overhead);
      System.out.printf(
          "%d of %d passed in %.2f s by %d workers%n",
          passed, overhead.length, all / 1e3, workers);
    } finally {
      pool.shutdownNow();
    }
  }
}
