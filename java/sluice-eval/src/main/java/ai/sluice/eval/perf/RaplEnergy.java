package ai.sluice.eval.perf;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The counters of the processors' packages (RAPL) as Linux gives them: of the whole machine, memory
 * outside the package not included. They begin anew after a range that the counter names; a time in
 * which one does so twice would be told too short, which takes hours.
 */
final class RaplEnergy implements EnergyMeter {
  private static final double MICROJOULES = 1e6;

  private final Path root;
  private Map<Path, Long> before = Map.of();
  private @Nullable String reason;

  RaplEnergy(Path root) {
    this.root = root;
  }

  @Override
  public void begin() {
    reason = null;
    before = read();
  }

  @Override
  public PerfReport.Energy end() {
    Map<Path, Long> after = reason == null ? read() : Map.of();
    if (reason != null) {
      return PerfReport.Energy.notTold(reason);
    }
    try {
      double joules = 0;
      for (Map.Entry<Path, Long> zone : before.entrySet()) {
        long passed = after.getOrDefault(zone.getKey(), zone.getValue()) - zone.getValue();
        joules +=
            (passed >= 0 ? passed : passed + number(zone.getKey(), "max_energy_range_uj"))
                / MICROJOULES;
      }
      return PerfReport.Energy.told("RAPL, " + before.size() + " processor packages", joules);
    } catch (IOException e) {
      return PerfReport.Energy.notTold("RAPL: " + e);
    }
  }

  @Override
  public void close() {}

  /** Microjoules by package; a reason is set where there are none. */
  private Map<Path, Long> read() {
    Map<Path, Long> out = new TreeMap<>();
    try {
      for (Path zone : packages()) {
        out.put(zone, number(zone, "energy_uj"));
      }
      if (out.isEmpty()) {
        reason = "no processor package in " + root + " (RAPL)";
      }
    } catch (AccessDeniedException e) {
      reason = e.getFile() + " may be read by root alone (remedy: chmod a+r)";
    } catch (IOException | NumberFormatException e) {
      reason = "RAPL: " + e;
    }
    return out;
  }

  private List<Path> packages() throws IOException {
    List<Path> out = new ArrayList<>();
    if (!Files.isDirectory(root)) {
      return out;
    }
    try (Stream<Path> zones = Files.list(root)) {
      for (Path zone : zones.sorted().toList()) {
        // Parts of a package are zones too, named after it: they would count twice.
        Path name = zone.resolve("name");
        if (Files.exists(name) && Files.readString(name).strip().startsWith("package-")) {
          out.add(zone);
        }
      }
    }
    return out;
  }

  private static long number(Path zone, String file) throws IOException {
    return Long.parseLong(Files.readString(zone.resolve(file)).strip());
  }
}
