package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class PythonRandomTest {
  /** random.Random(1234).getrandbits(32), four times, of CPython 3.11. */
  @Test
  void wordsEqualPythons() {
    PythonRandom random = new PythonRandom(1234);
    for (long word : new long[] {4150886329L, 3342196574L, 1892932127L, 501869158L}) {
      assertEquals((int) word, random.next32());
    }
  }

  /** random.Random(1234).sample(range(7473), 5), again and again. */
  @Test
  void samplesEqualPythons() {
    PythonRandom random = new PythonRandom(1234);
    int[][] samples = new int[1319][];
    for (int i = 0; i < samples.length; i++) {
      samples[i] = random.sample(7473, 5);
    }
    assertArrayEquals(new int[] {6374, 3610, 957, 61, 742}, samples[0]);
    assertArrayEquals(new int[] {7462, 6610, 4769, 286, 5501}, samples[1]);
    assertArrayEquals(new int[] {5677, 687, 806, 6279, 2905}, samples[2]);
    assertArrayEquals(new int[] {1939, 142, 252, 6461, 129}, samples[3]);
    assertArrayEquals(new int[] {220, 4179, 6064, 5599, 5541}, samples[1318]);
  }

  @Test
  void smallPopulationsAreRefused() {
    PythonRandom random = new PythonRandom(0);
    assertEquals(
        "sample of 5 of 21 (expected: a population above 21)",
        assertThrows(IllegalArgumentException.class, () -> random.sample(21, 5)).getMessage());
    assertEquals(5, random.sample(22, 5).length);
    assertThrows(IllegalArgumentException.class, () -> random.sample(85, 8));
    assertEquals(8, random.sample(86, 8).length);
    assertThrows(IllegalArgumentException.class, () -> new PythonRandom(-1));
  }
}
