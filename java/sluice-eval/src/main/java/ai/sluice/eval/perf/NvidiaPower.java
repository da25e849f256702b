package ai.sluice.eval.perf;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Power of GPUs as {@code nvidia-smi} samples it, summed up over the time. It tells the draw of
 * whole devices, whoever uses them, a few times a second: times well above a second are told well.
 */
final class NvidiaPower implements EnergyMeter {
  private static final int SAMPLE_MILLIS = 100;
  private static final double NANOS_PER_SECOND = 1e9;

  /**
   * A sample.
   *
   * @param device as nvidia-smi numbers it
   * @param nanos when it came, by {@link System#nanoTime}
   * @param watts of the device
   */
  record Sample(int device, long nanos, double watts) {}

  private final Process process;
  private final List<Sample> samples = new ArrayList<>();
  private String refused = "";
  private long begin;

  private NvidiaPower(Process process) {
    this.process = process;
    Thread reader = new Thread(this::read, "sluice-power");
    reader.setDaemon(true);
    reader.start();
  }

  /** The command that samples the devices that a process computes on. */
  static List<String> command(Map<String, String> environment, int devices) {
    // What the process sees are these, in this order; else all, from 0.
    String visible = environment.getOrDefault("CUDA_VISIBLE_DEVICES", "");
    List<String> ids = new ArrayList<>();
    String[] named = visible.isBlank() ? new String[0] : visible.split(",");
    for (int i = 0; i < devices; i++) {
      ids.add(i < named.length ? named[i].strip() : String.valueOf(i));
    }
    return List.of(
        "nvidia-smi", "--id=" + String.join(",", ids), "--query-gpu=index,power.draw",
        "--format=csv,noheader,nounits", "--loop-ms=" + SAMPLE_MILLIS);
  }

  static EnergyMeter open(List<String> command) {
    try {
      return new NvidiaPower(
          new ProcessBuilder(command).redirectErrorStream(true).start());
    } catch (IOException e) {
      return EnergyMeter.none(e.getMessage());
    }
  }

  private void read() {
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        add(line, System.nanoTime());
      }
    } catch (IOException e) {
      synchronized (this) {
        refused = String.valueOf(e.getMessage());
      }
    }
  }

  private synchronized void add(String line, long now) {
    String[] fields = line.split(",");
    try {
      samples.add(
          new Sample(
              Integer.parseInt(fields[0].strip()), now, Double.parseDouble(fields[1].strip())));
    } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
      // An error, or "[N/A]" of a device that does not tell.
      refused = line.strip();
    }
  }

  @Override
  public synchronized void begin() {
    begin = System.nanoTime();
  }

  @Override
  public synchronized PerfReport.Energy end() {
    String ended =
        refused.isEmpty() && !process.isAlive() ? "ended with " + process.exitValue() : refused;
    return energy(samples, begin, System.nanoTime(), ended);
  }

  /** Integrates the samples of every device; constant before its first and after its last. */
  static PerfReport.Energy energy(List<Sample> samples, long begin, long end, String refused) {
    Map<Integer, List<Sample>> devices = new HashMap<>();
    for (Sample sample : samples) {
      devices.computeIfAbsent(sample.device(), device -> new ArrayList<>()).add(sample);
    }
    if (!refused.isEmpty()) {
      return PerfReport.Energy.notTold("nvidia-smi: " + refused);
    }
    double joules = 0;
    for (List<Sample> own : devices.values()) {
      if (own.stream().noneMatch(s -> s.nanos() - begin >= 0 && s.nanos() - end <= 0)) {
        return PerfReport.Energy.notTold("nvidia-smi: no sample in so short a time");
      }
      joules += joules(own, begin, end);
    }
    return devices.isEmpty()
        ? PerfReport.Energy.notTold("nvidia-smi: no sample in so short a time")
        : PerfReport.Energy.told("nvidia-smi, " + devices.size() + " GPU", joules);
  }

  private static double joules(List<Sample> samples, long begin, long end) {
    double joules = 0;
    for (int i = 0; i <= samples.size(); i++) {
      Sample before = samples.get(Math.max(0, i - 1));
      Sample after = samples.get(Math.min(i, samples.size() - 1));
      long from = i == 0 ? begin : before.nanos();
      long to = i == samples.size() ? end : after.nanos();
      long low = from - begin > 0 ? from : begin;
      long high = to - end < 0 ? to : end;
      if (high - low > 0) {
        double watts = (at(before, after, low) + at(before, after, high)) / 2;
        joules += watts * (high - low) / NANOS_PER_SECOND;
      }
    }
    return joules;
  }

  private static double at(Sample before, Sample after, long nanos) {
    long span = after.nanos() - before.nanos();
    double share = span <= 0 ? 0 : (double) (nanos - before.nanos()) / span;
    return before.watts() + (after.watts() - before.watts()) * share;
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
