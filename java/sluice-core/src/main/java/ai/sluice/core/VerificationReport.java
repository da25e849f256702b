package ai.sluice.core;

import ai.sluice.api.ComputeDtype;
import java.util.List;

/**
 * How a model compares with expected outputs.
 *
 * @param dtype arithmetic that was compared
 * @param checks what was checked
 * @param notChecked expectations that are in the file and were not checked, each with the reason
 */
public record VerificationReport(
    ComputeDtype dtype, List<Check> checks, List<String> notChecked) {
  /** Copies the lists. */
  public VerificationReport {
    checks = List.copyOf(checks);
    notChecked = List.copyOf(notChecked);
  }

  /** Whether everything that was checked agrees. */
  public boolean passed() {
    return !checks.isEmpty() && checks.stream().allMatch(Check::passed);
  }

  /**
   * One comparison.
   *
   * @param name what was compared, for example {@code logits, whole}
   * @param passed whether it agrees
   * @param error largest relative L2 error, or the share of tokens that differ
   * @param tolerance the error that is still accepted: exclusive, but 0 means equal
   * @param detail how much was compared and where it is worst
   */
  public record Check(
      String name, boolean passed, double error, double tolerance, String detail) {}
}
