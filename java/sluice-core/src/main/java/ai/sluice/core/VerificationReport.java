package ai.sluice.core;

import ai.sluice.api.ComputeDtype;
import java.util.List;

/**
 * How a model compares with expected outputs.
 *
 * @param dtype arithmetic that was compared
 * @param checks what was checked
 * @param notChecked expectations that are in the file and were not checked, each with the reason
 * @param kernels what ran where a prompt was computed in several ways, each way's kernels once
 */
public record VerificationReport(
    ComputeDtype dtype, List<Check> checks, List<String> notChecked, List<KernelRun> kernels) {
  /** Copies the lists. */
  public VerificationReport {
    checks = List.copyOf(checks);
    notChecked = List.copyOf(notChecked);
    kernels = List.copyOf(kernels);
  }

  /** Whether everything that was checked agrees. */
  public boolean passed() {
    return !checks.isEmpty() && checks.stream().allMatch(Check::passed);
  }

  /**
   * A kernel that ran: on a device what the steps launched.
   *
   * @param mode how the prompts were computed, as in the name of the check
   * @param op for example {@code attention}
   * @param variant for example {@code prefill_sm90}
   */
  public record KernelRun(String mode, String op, String variant) {}

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
