package ai.sluice.core.scheduler;

/**
 * Names what a full block of the KV cache holds: the SHA-256 of everything that its state depends
 * on, which is all tokens up to its end, the tenant's salt and the frequencies of dynamic RoPEs.
 * The four numbers are the digest, big endian.
 */
record BlockKey(long a, long b, long c, long d) {
  @Override
  public int hashCode() {
    // Every bit of a digest is as good as any other.
    return (int) a;
  }
}
