package ai.sluice.eval.perf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EnergyMeterTest {
  private static final long SECOND = 1_000_000_000;

  @TempDir Path folder;

  private void zone(String name, String label, long microjoules) throws IOException {
    Path zone = Files.createDirectories(folder.resolve(name));
    Files.writeString(zone.resolve("name"), label + "\n");
    Files.writeString(zone.resolve("energy_uj"), microjoules + "\n");
    Files.writeString(zone.resolve("max_energy_range_uj"), "1000000000\n");
  }

  @Test
  void packagesAreSummedUpAndMayBeginAnew() throws IOException {
    zone("intel-rapl:0", "package-0", 5_000_000);
    zone("intel-rapl:0:0", "core", 4_000_000);
    zone("intel-rapl:1", "package-1", 999_000_000);
    try (RaplEnergy meter = new RaplEnergy(folder)) {
      meter.begin();
      zone("intel-rapl:0", "package-0", 7_500_000);
      zone("intel-rapl:0:0", "core", 9_000_000);
      zone("intel-rapl:1", "package-1", 500_000);
      PerfReport.Energy energy = meter.end();
      // 2.5 J of the first; 1 J to the end of the range and 0.5 J after it of the second.
      assertEquals(4.0, energy.joules().orElseThrow(), 1e-12);
      assertEquals("RAPL, 2 processor packages", energy.source());
      meter.begin();
      assertEquals(0, meter.end().joules().orElseThrow(), "a time of its own each");
    }
  }

  @Test
  void withoutCountersTheReasonIsTold() throws IOException {
    try (RaplEnergy meter = new RaplEnergy(folder.resolve("none"))) {
      meter.begin();
      PerfReport.Energy energy = meter.end();
      assertTrue(energy.joules().isEmpty());
      assertEquals(
          "no processor package in " + folder.resolve("none") + " (RAPL)", energy.reason());
    }
    zone("intel-rapl:0", "package-0", 1);
    Files.writeString(folder.resolve("intel-rapl:0/energy_uj"), "x");
    try (RaplEnergy meter = new RaplEnergy(folder)) {
      meter.begin();
      assertTrue(meter.end().reason().startsWith("RAPL: "), meter.end().reason());
    }
  }

  private static NvidiaPower.Sample sample(int device, double seconds, double watts) {
    return new NvidiaPower.Sample(device, (long) (seconds * SECOND), watts);
  }

  @Test
  void powerIsIntegratedOverTheTime() {
    // From 1 s to 3 s: 100 W until 1.5 s, then up to 300 W at 2.5 s, then 300 W.
    List<NvidiaPower.Sample> samples =
        List.of(
            sample(0, 0, 100), sample(0, 1.5, 100), sample(0, 2.5, 300), sample(0, 9, 300));
    assertEquals(
        50 + 200 + 150,
        NvidiaPower.energy(samples, SECOND, 3 * SECOND, "").joules().orElseThrow(), 1e-9);
    // One sample stands for the whole time; a second device adds its own.
    assertEquals(
        2 * 40 + 2 * 60,
        NvidiaPower.energy(
                List.of(sample(0, 2, 40), sample(1, 1.1, 60)), SECOND, 3 * SECOND, "")
            .joules()
            .orElseThrow(),
        1e-9);
    assertEquals(
        "nvidia-smi, 2 GPU",
        NvidiaPower.energy(
                List.of(sample(0, 2, 40), sample(1, 1.1, 60)), SECOND, 3 * SECOND, "")
            .source());
  }

  @Test
  void whatIsNoPowerIsTheReason() {
    assertEquals(
        "nvidia-smi: no sample in so short a time",
        NvidiaPower.energy(List.of(sample(0, 9, 40)), 0, SECOND, "").reason());
    assertEquals(
        "nvidia-smi: 0, [N/A]",
        NvidiaPower.energy(List.of(sample(0, 0.5, 40)), 0, SECOND, "0, [N/A]").reason());
    try (EnergyMeter meter = NvidiaPower.open(List.of("/no/such/nvidia-smi"))) {
      meter.begin();
      assertTrue(meter.end().reason().contains("/no/such/nvidia-smi"), meter.end().reason());
    }
  }

  @Test
  void devicesAreThoseThatTheProcessSees() {
    assertEquals("--id=0,1", NvidiaPower.command(Map.of(), 2).get(1));
    assertEquals(
        "--id=3,GPU-1",
        NvidiaPower.command(Map.of("CUDA_VISIBLE_DEVICES", "3, GPU-1,2"), 2).get(1));
  }

  /** A program in the place of nvidia-smi that says the same again and again. */
  @Test
  void samplesAreReadFromTheProgram() throws Exception {
    List<String> command = List.of("/bin/sh", "-c", "while echo '0, 70.5'; do sleep 0.02; done");
    try (EnergyMeter meter = NvidiaPower.open(command)) {
      meter.begin();
      PerfReport.Energy energy = meter.end();
      // However slow the machine, a line comes after the beginning; until then there is no sample.
      while (energy.joules().isEmpty()) {
        assertEquals("nvidia-smi: no sample in so short a time", energy.reason());
        Thread.sleep(5);
        energy = meter.end();
      }
      assertTrue(energy.joules().getAsDouble() > 0);
      assertEquals("nvidia-smi, 1 GPU", energy.source());
    }
  }
}
