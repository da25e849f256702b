package ai.sluice.core;

import ai.sluice.core.VerificationReport.Check;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What the layers decided about the first prompt: the experts of each token and their weights, the
 * choices that an expert's capacity dropped, the keys that each query attends to. Collects traced
 * rows, in one piece or many, and compares them with the expected ones. Not thread-safe.
 */
final class Decisions {
  private static final String EXPERTS = "router_idx_";
  private static final String WEIGHTS = "router_weight_";
  private static final String KEPT = "router_kept_";
  private static final String MASK = "attention_keep_";

  private final ExpectedOutputs expected;
  private final int numTokens;
  private final int numLayers;
  private final double tolerance;
  private final List<String> names = new ArrayList<>();
  private final Map<String, List<Row>> rows = new LinkedHashMap<>();

  /** One token's values; a mask's have a plane for each of {@code planes}. */
  private record Row(float[] values, int planes) {}

  Decisions(ExpectedOutputs expected, int numLayers, double tolerance) {
    this.expected = expected;
    this.numLayers = numLayers;
    this.tolerance = tolerance;
    numTokens = expected.prompts().get(0).length;
    for (int layer = 0; layer < numLayers; layer++) {
      for (String kind : List.of(EXPERTS, WEIGHTS, KEPT, MASK)) {
        if (expected.has(expectedName(kind, layer))) {
          names.add(kind + layer);
        }
      }
    }
  }

  private static String expectedName(String kind, int layer) {
    return kind + "0_" + layer;
  }

  /** The tensors to trace; none for a model that decides nothing. */
  List<String> names() {
    return names;
  }

  /** Adds the first {@code count} rows of a traced step, the next tokens of the first prompt. */
  void add(Map<String, TracedTensor> traced, int count) {
    for (String name : names) {
      TracedTensor tensor = traced.get(name);
      int planes = name.startsWith(MASK) ? tensor.dimension(1) : 1;
      List<Row> collected = rows.computeIfAbsent(name, n -> new ArrayList<>());
      for (int row = 0; row < count; row++) {
        int begin = row * tensor.columns();
        collected.add(
            new Row(
                Arrays.copyOfRange(tensor.values(), begin, begin + tensor.columns()), planes));
      }
    }
  }

  /** Compares what was collected, forgets it, and reports one check per kind. */
  List<Check> compare(String mode) {
    List<Check> checks = new ArrayList<>();
    Tally experts = new Tally();
    Tally kept = new Tally();
    Tally masks = new Tally();
    ErrorMeter weights = new ErrorMeter();
    for (int layer = 0; layer < numLayers; layer++) {
      if (names.contains(EXPERTS + layer)) {
        compareExperts(layer, experts, kept, weights);
      }
      if (names.contains(MASK + layer)) {
        compareMasks(layer, masks);
      }
    }
    rows.clear();
    experts.report("router choices, " + mode, "tokens", checks);
    if (weights.count() > 0) {
      checks.add(weights.check("router weights, " + mode, tolerance, ""));
    }
    kept.report("choices within capacity, " + mode, "choices", checks);
    masks.report("attended keys, " + mode, "query and key pairs", checks);
    return checks;
  }

  /** Experts are compared as sets, their weights and drops by the expert's number. */
  private void compareExperts(int layer, Tally experts, Tally kept, ErrorMeter weights) {
    long[] want = expected.longs(expectedName(EXPERTS, layer));
    List<Row> got = rows.get(EXPERTS + layer);
    int k = expected.choices(expectedName(EXPERTS, layer), 0);
    boolean hasWeights = names.contains(WEIGHTS + layer);
    boolean hasKept = names.contains(KEPT + layer);
    if (hasWeights) {
      expected.requireChoices(expectedName(WEIGHTS, layer), 0, k);
    }
    if (hasKept) {
      expected.requireChoices(expectedName(KEPT, layer), 0, k);
    }
    float[] wantWeights = hasWeights ? expected.floats(expectedName(WEIGHTS, layer)) : new float[0];
    byte[] wantKept = hasKept ? expected.bytes(expectedName(KEPT, layer)) : new byte[0];
    float[] gotWeights = new float[wantWeights.length];
    for (int t = 0; t < numTokens; t++) {
      float[] chosen = got.get(t).values();
      int found = 0;
      for (int i = 0; i < k; i++) {
        int at = indexOf(chosen, want[t * k + i]);
        if (at < 0) {
          continue;
        }
        found++;
        if (hasWeights) {
          gotWeights[t * k + i] = rows.get(WEIGHTS + layer).get(t).values()[at];
        }
        if (hasKept) {
          boolean same =
              (rows.get(KEPT + layer).get(t).values()[at] != 0) == (wantKept[t * k + i] != 0);
          kept.add(same, "layer " + layer + " token " + t + " expert " + want[t * k + i]);
        }
      }
      experts.add(found == k && chosen.length == k, "layer " + layer + " token " + t);
    }
    if (hasWeights) {
      weights.compare("layer " + layer, gotWeights, wantWeights);
    }
  }

  private static int indexOf(float[] values, long wanted) {
    for (int i = 0; i < values.length; i++) {
      if (values[i] == wanted) {
        return i;
      }
    }
    return -1;
  }

  private void compareMasks(int layer, Tally masks) {
    String name = expectedName(MASK, layer);
    byte[] want = expected.bytes(name);
    int planes = expected.planes(name, 0);
    List<Row> got = rows.get(MASK + layer);
    for (int t = 0; t < numTokens; t++) {
      Row row = got.get(t);
      int columns = row.values().length / row.planes();
      // One plane stands for all heads, on either side.
      for (int plane = 0; plane < Math.max(planes, row.planes()); plane++) {
        int wantPlane = planes == 1 ? 0 : plane;
        int gotPlane = row.planes() == 1 ? 0 : plane;
        for (int key = 0; key < numTokens; key++) {
          boolean wanted = want[(wantPlane * numTokens + t) * numTokens + key] != 0;
          // A step shows as many keys as its longest sequence has.
          boolean kept = key < columns && row.values()[gotPlane * columns + key] != 0;
          masks.add(
              wanted == kept, "layer " + layer + " head " + plane + " query " + t + " key " + key);
        }
      }
    }
  }

  /** Things that must be equal. */
  private static final class Tally {
    private int total;
    private int different;
    private String first = "";

    void add(boolean same, String name) {
      total++;
      if (!same && different++ == 0) {
        first = ", first difference: " + name;
      }
    }

    void report(String name, String unit, List<Check> checks) {
      if (total > 0) {
        checks.add(
            new Check(
                name, different == 0, (double) different / total, 0,
                total + " " + unit + " compared" + first));
      }
    }
  }
}
