package ai.sluice.text;

import java.nio.ByteBuffer;

/**
 * Says which tokens may come next in one generation: a grammar, or a budget. Holds the state of that
 * generation; not thread-safe. The engine calls it on its scheduler thread, so it must not block and
 * should allocate little.
 */
public interface TokenConstraint {
  /**
   * Whether one of the next {@code tokens} tokens after those accepted may be limited. While it says
   * no, the engine chooses tokens before it knows the ones before them.
   */
  boolean limitsWithin(int tokens);

  /**
   * Writes which tokens may come next. Called only while {@code limitsWithin(1)}, any number of
   * times for one token. At least one token is allowed; tokens that end the generation are allowed
   * exactly where it may end.
   *
   * @param words little endian, as many 32-bit words as the vocabulary needs, all of which are
   *     written: bit {@code v % 32} of word {@code v / 32} stands for token {@code v}
   * @param offset byte index of the first word
   */
  void allow(ByteBuffer words, int offset);

  /** Takes the next token, in order, also one that was chosen without a limit. */
  void accept(int token);

  /** Whether the generation is over after the tokens accepted, without any stop token. */
  boolean isOver();
}
