package ai.sluice.eval;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** The short hash by which prompts are compared between harnesses. */
public final class PromptHash {
  private static final int BYTES = 8;

  private PromptHash() {}

  /** The first 16 hexadecimal digits of the SHA-256 of a prompt in UTF-8. */
  public static String of(String prompt) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(prompt.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(hash, 0, BYTES);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256 is in every Java", e);
    }
  }
}
