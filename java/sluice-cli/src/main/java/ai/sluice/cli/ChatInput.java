package ai.sluice.cli;

import org.jspecify.annotations.Nullable;

/** Where a conversation's lines come from. */
interface ChatInput extends AutoCloseable {
  /**
   * The next line without its end.
   *
   * @param prompt shown where somebody types
   * @return the line, or null at the end of the input
   */
  @Nullable String readLine(String prompt);

  /**
   * Runs a piece of work that Ctrl-C shall cancel instead of ending the program.
   *
   * @param cancel called from another thread, at any time while the work runs
   */
  void interruptible(Runnable work, Runnable cancel);

  @Override
  void close();
}
