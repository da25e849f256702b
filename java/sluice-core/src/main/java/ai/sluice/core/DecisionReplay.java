package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.proto.Format;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.TraceReplay;
import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The decisions that the expected outputs name for the first prompt, for layers to take over. In
 * narrow arithmetic a router's two nearest experts change places, and with them the outputs: what
 * is left to compare is the arithmetic with the decisions given.
 */
final class DecisionReplay {
  private static final String EXPERTS = "router_idx_0_";
  private static final String WEIGHTS = "router_weight_0_";
  private static final String MASK = "attention_keep_0_";

  private DecisionReplay() {}

  /** Whether a layer chooses experts or keys by what it computes. */
  static boolean decides(ModelSpec spec) {
    return spec.getLayersList().stream().anyMatch(l -> l.hasMoe() || l.hasAdaptive());
  }

  /**
   * Decisions for all layers that decide, for the whole first prompt in one step.
   *
   * @return absent if the expected outputs lack those of some layer
   * @throws CheckpointFormatException if a decision has not the shape of the prompt
   */
  static Optional<List<TraceReplay>> of(ExpectedOutputs expected, ModelSpec spec) {
    int numTokens = expected.prompts().get(0).length;
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      LayerSpec kind = spec.getLayers(layer);
      if ((kind.hasMoe() && !(expected.has(EXPERTS + layer) && expected.has(WEIGHTS + layer)))
          || (kind.hasAdaptive() && !expected.has(MASK + layer))) {
        return Optional.empty();
      }
    }
    List<TraceReplay> replays = new ArrayList<>();
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      LayerSpec kind = spec.getLayers(layer);
      String experts = EXPERTS + layer;
      String weights = WEIGHTS + layer;
      String mask = MASK + layer;
      if (kind.hasMoe()) {
        int choices = expected.choices(experts);
        expected.requireChoices(weights, choices);
        ByteBuffer idx = bytes(4 * numTokens * choices);
        for (long expert : expected.longs(experts)) {
          idx.putInt(Math.toIntExact(expert));
        }
        replays.add(replay("router_idx_" + layer, Format.I32, idx, numTokens, choices));
        ByteBuffer factors = bytes(4 * numTokens * choices);
        for (float factor : expected.floats(weights)) {
          factors.putFloat(factor);
        }
        replays.add(replay("router_weight_" + layer, Format.F32, factors, numTokens, choices));
      }
      if (kind.hasAdaptive()) {
        int planes = expected.planes(mask);
        byte[] keep = expected.bytes(mask);
        ByteBuffer rows = bytes(keep.length);
        for (int query = 0; query < numTokens; query++) {
          for (int plane = 0; plane < planes; plane++) {
            rows.put(keep, (plane * numTokens + query) * numTokens, numTokens);
          }
        }
        replays.add(
            replay("attention_keep_" + layer, Format.U8, rows, numTokens, planes, numTokens));
      }
    }
    return Optional.of(replays);
  }

  private static ByteBuffer bytes(int count) {
    return ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static TraceReplay replay(String name, Format format, ByteBuffer data, long... shape) {
    TraceReplay.Builder replay = TraceReplay.newBuilder().setName(name).setFormat(format);
    for (long size : shape) {
      replay.addShape(size);
    }
    return replay.setData(ByteString.copyFrom(data.flip())).build();
  }
}
