package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.text.Tokenizer;
import java.util.Arrays;

/**
 * The bytes of every token of a vocabulary, as a trie in preorder: a walk over it tries all tokens
 * against a grammar and leaves a branch at the first byte that does not fit. Made once for a model;
 * immutable and thread-safe. About 25 bytes for each byte of the vocabulary.
 */
public final class TokenTable {
  /** A bound for what a bad file can make us allocate. */
  private static final int MAX_VOCAB_SIZE = 1 << 22;

  private final int vocabSize;
  private final byte[] bytes;
  private final int[] byteOffsets;
  private final boolean[] spellable = new boolean[256];
  private final int maxTokenBytes;

  /** Node i stands for one byte; its subtree is the nodes from i + 1 to before nodeEnd[i]. */
  final byte[] nodeByte;

  final short[] nodeDepth;
  final int[] nodeEnd;

  /** Tokens that end at node i: nodeTokens from nodeTokenOffset[i] to before the next one. */
  final int[] nodeTokenOffset;

  final int[] nodeTokens;

  private TokenTable(byte[][] tokens) {
    vocabSize = tokens.length;
    byteOffsets = new int[vocabSize + 1];
    int longest = 0;
    int withText = 0;
    for (int id = 0; id < vocabSize; id++) {
      int length = tokens[id].length;
      byteOffsets[id + 1] = Math.addExact(byteOffsets[id], length);
      longest = Math.max(longest, length);
      withText += length > 0 ? 1 : 0;
      if (length == 1) {
        spellable[tokens[id][0] & 0xFF] = true;
      }
      if (length > Short.MAX_VALUE) {
        throw new InvalidRequestException(
            "token " + id + ": " + length + " bytes (expected: at most " + Short.MAX_VALUE + ")");
      }
    }
    maxTokenBytes = longest;
    bytes = new byte[byteOffsets[vocabSize]];
    Integer[] order = new Integer[withText];
    int next = 0;
    for (int id = 0; id < vocabSize; id++) {
      System.arraycopy(tokens[id], 0, bytes, byteOffsets[id], tokens[id].length);
      if (tokens[id].length > 0) {
        order[next++] = id;
      }
    }
    Arrays.sort(order, (a, b) -> Arrays.compareUnsigned(tokens[a], tokens[b]));

    int nodes = 0;
    for (int i = 0; i < withText; i++) {
      byte[] token = tokens[order[i]];
      nodes += token.length - (i == 0 ? 0 : common(tokens[order[i - 1]], token));
    }
    nodeByte = new byte[nodes];
    nodeDepth = new short[nodes];
    nodeEnd = new int[nodes];
    nodeTokenOffset = new int[nodes + 1];
    nodeTokens = new int[withText];
    int[] path = new int[longest + 1];
    int node = 0;
    int open = 0;
    for (int i = 0; i < withText; i++) {
      byte[] token = tokens[order[i]];
      int shared = i == 0 ? 0 : common(tokens[order[i - 1]], token);
      while (open > shared) {
        nodeEnd[path[open--]] = node;
      }
      for (int depth = shared; depth < token.length; depth++) {
        nodeByte[node] = token[depth];
        nodeDepth[node] = (short) (depth + 1);
        nodeTokenOffset[node] = i;
        path[++open] = node++;
      }
      nodeTokens[i] = order[i];
      // Later nodes begin after this token; a token with the same bytes makes no node.
      nodeTokenOffset[node] = i + 1;
    }
    while (open > 0) {
      nodeEnd[path[open--]] = node;
    }
    nodeTokenOffset[nodes] = withText;
  }

  private static int common(byte[] a, byte[] b) {
    int mismatch = Arrays.mismatch(a, b);
    return mismatch < 0 ? a.length : mismatch;
  }

  /**
   * The tokens of a tokenizer. Special tokens have no bytes: no grammar allows them.
   *
   * @param vocabSize tokens of the model, whose vocabulary may be padded or smaller; the masks have
   *     a bit for each
   * @throws InvalidRequestException if it is not from 1 to 2^22
   */
  public static TokenTable of(Tokenizer tokenizer, int vocabSize) {
    if (vocabSize < 1 || vocabSize > MAX_VOCAB_SIZE) {
      throw new InvalidRequestException(
          "vocabSize: " + vocabSize + " (expected: 1 to " + MAX_VOCAB_SIZE + ")");
    }
    byte[][] tokens = new byte[vocabSize][];
    for (int id = 0; id < vocabSize; id++) {
      tokens[id] = tokenizer.bytesOf(id);
    }
    return new TokenTable(tokens);
  }

  /**
   * Tokens by their bytes.
   *
   * @param tokens by id; an empty array for a token without text
   */
  static TokenTable of(byte[][] tokens) {
    return new TokenTable(tokens);
  }

  /** Tokens of the model. */
  public int vocabSize() {
    return vocabSize;
  }

  /** Bytes of the longest token. */
  int maxTokenBytes() {
    return maxTokenBytes;
  }

  /** Whether a token is this one byte, 0 to 255. */
  boolean isSpellable(int value) {
    return spellable[value];
  }

  /** Whether a token that is not among {@code others} (sorted) is this one byte. */
  boolean isSpellableWithout(int value, int[] others) {
    for (int node = 0; node < nodeByte.length; node = nodeEnd[node]) {
      if ((nodeByte[node] & 0xFF) == value) {
        for (int i = nodeTokenOffset[node]; i < nodeTokenOffset[node + 1]; i++) {
          if (Arrays.binarySearch(others, nodeTokens[i]) < 0) {
            return true;
          }
        }
      }
    }
    return false;
  }

  int length(int token) {
    return byteOffsets[token + 1] - byteOffsets[token];
  }

  /** Byte {@code index} of a token, 0 to 255. */
  int byteAt(int token, int index) {
    return bytes[byteOffsets[token] + index] & 0xFF;
  }

  int nodes() {
    return nodeByte.length;
  }
}
