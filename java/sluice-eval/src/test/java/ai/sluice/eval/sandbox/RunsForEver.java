package ai.sluice.eval.sandbox;

/** A process that is killed while a program runs: its limit in seconds, and the program. */
final class RunsForEver {
  private RunsForEver() {}

  public static void main(String[] args) {
    SandboxOptions defaults = SandboxOptions.defaults();
    SandboxOptions options =
        new SandboxOptions(
            defaults.bubblewrap(), defaults.python(), Double.parseDouble(args[0]));
    try (BubblewrapRunner runner = BubblewrapRunner.open(options)) {
      System.out.println("running");
      System.out.println(runner.run(args[1]));
    }
  }
}
