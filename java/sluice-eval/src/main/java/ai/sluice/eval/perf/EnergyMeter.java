package ai.sluice.eval.perf;

import ai.sluice.api.Backend;
import java.nio.file.Path;

/**
 * Tells how much energy a time took. One thread calls {@link #begin} and {@link #end} in turn, as
 * often as it likes, and then {@link #close}.
 */
public interface EnergyMeter extends AutoCloseable {
  /** A time begins. */
  void begin();

  /** It ends. Never fails: what cannot be told is said in the reason. */
  PerfReport.Energy end();

  @Override
  void close();

  /**
   * The meter of this machine: of the GPUs by {@code nvidia-smi}, of the processors by RAPL.
   *
   * @param backend what computes
   * @param devices how many GPUs compute, the first of those that the process sees
   */
  static EnergyMeter of(Backend backend, int devices) {
    return backend == Backend.CUDA
        ? NvidiaPower.open(NvidiaPower.command(System.getenv(), devices))
        : new RaplEnergy(Path.of("/sys/class/powercap"));
  }

  /** A meter that tells nothing, for a reason. */
  static EnergyMeter none(String reason) {
    return new EnergyMeter() {
      @Override
      public void begin() {}

      @Override
      public PerfReport.Energy end() {
        return PerfReport.Energy.notTold(reason);
      }

      @Override
      public void close() {}
    };
  }
}
