package ai.sluice.eval.sandbox;

/** Runs Python programs that nobody trusts. Thread-safe: several run at once. */
public interface CodeRunner extends AutoCloseable {
  /** Refuses every program: for tasks that run none. */
  CodeRunner NONE =
      program -> {
        throw new IllegalStateException("program: one to run (expected: a task that runs none)");
      };

  /**
   * Runs a program to its end or its deadline. Never throws for what the program does.
   *
   * @param program source text
   */
  Verdict run(String program);

  @Override
  default void close() {}
}
