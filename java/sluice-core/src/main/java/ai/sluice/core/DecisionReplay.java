package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.proto.Format;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.TraceReplay;
import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * The decisions that the expected outputs name, for layers to take over. In
 * narrow arithmetic a router's two nearest experts change places, and with them the outputs: what
 * is left to compare is the arithmetic with the decisions given.
 */
final class DecisionReplay {
  private static final String EXPERTS = "router_idx_";
  private static final String WEIGHTS = "router_weight_";
  private static final String MASK = "attention_keep_";

  /** Tokens {@code [begin, end)} of a prompt, those before it being computed. */
  record Span(int prompt, int begin, int end) {
    int length() {
      return end - begin;
    }
  }

  private DecisionReplay() {}

  /** Whether a layer chooses experts or keys by what it computes. */
  static boolean decides(ModelSpec spec) {
    return spec.getLayersList().stream().anyMatch(l -> l.hasMoe() || l.hasAdaptive());
  }

  /** Whether the keys that a prompt's queries attend to are expected, of all layers that choose. */
  static boolean hasMasks(ExpectedOutputs expected, ModelSpec spec, int prompt) {
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      if (spec.getLayers(layer).hasAdaptive() && !expected.has(name(MASK, prompt, layer))) {
        return false;
      }
    }
    return true;
  }

  /** Whether the experts of a prompt's tokens are expected, of all layers that choose. */
  static boolean hasExperts(ExpectedOutputs expected, ModelSpec spec, int prompt) {
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      if (spec.getLayers(layer).hasMoe()
          && !(expected.has(name(EXPERTS, prompt, layer))
              && expected.has(name(WEIGHTS, prompt, layer)))) {
        return false;
      }
    }
    return true;
  }

  /**
   * Decisions for all layers that decide, for the tokens of one step.
   *
   * @return without masks if some prompt's are not expected
   * @throws CheckpointFormatException if experts are not expected, or a decision has not the shape
   *     of its prompt
   */
  static List<TraceReplay> of(ExpectedOutputs expected, ModelSpec spec, List<Span> spans) {
    boolean masks = spans.stream().allMatch(span -> hasMasks(expected, spec, span.prompt()));
    List<TraceReplay> replays = new ArrayList<>();
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      if (spec.getLayers(layer).hasMoe()) {
        addExperts(expected, layer, spans, replays);
      }
      if (spec.getLayers(layer).hasAdaptive() && masks) {
        addMasks(expected, layer, spans, replays);
      }
    }
    return replays;
  }

  private static void addExperts(
      ExpectedOutputs expected, int layer, List<Span> spans, List<TraceReplay> replays) {
    int first = spans.get(0).prompt();
    int choices = expected.choices(name(EXPERTS, first, layer), first);
    int numTokens = spans.stream().mapToInt(Span::length).sum();
    ByteBuffer idx = bytes(4 * numTokens * choices);
    ByteBuffer factors = bytes(4 * numTokens * choices);
    for (Span span : spans) {
      String experts = name(EXPERTS, span.prompt(), layer);
      String weights = name(WEIGHTS, span.prompt(), layer);
      expected.requireChoices(experts, span.prompt(), choices);
      expected.requireChoices(weights, span.prompt(), choices);
      long[] chosen = expected.longs(experts);
      float[] factor = expected.floats(weights);
      for (int at = span.begin() * choices; at < span.end() * choices; at++) {
        idx.putInt(Math.toIntExact(chosen[at]));
        factors.putFloat(factor[at]);
      }
    }
    replays.add(replay("router_idx_" + layer, Format.I32, idx, numTokens, choices));
    replays.add(replay("router_weight_" + layer, Format.F32, factors, numTokens, choices));
  }

  private static void addMasks(
      ExpectedOutputs expected, int layer, List<Span> spans, List<TraceReplay> replays) {
    int first = spans.get(0).prompt();
    int planes = expected.planes(name(MASK, first, layer), first);
    int numTokens = spans.stream().mapToInt(Span::length).sum();
    int longest = spans.stream().mapToInt(Span::end).max().orElseThrow();
    ByteBuffer rows = bytes(Math.multiplyExact(Math.multiplyExact(numTokens, planes), longest));
    for (Span span : spans) {
      String mask = name(MASK, span.prompt(), layer);
      int length = expected.prompts().get(span.prompt()).length;
      if (expected.planes(mask, span.prompt()) != planes) {
        throw new CheckpointFormatException(
            expected.path(), mask, expected.planes(mask, span.prompt()) + " masks (expected: "
                + planes + ", as of the other prompts)");
      }
      byte[] keep = expected.bytes(mask);
      for (int query = span.begin(); query < span.end(); query++) {
        for (int plane = 0; plane < planes; plane++) {
          rows.put(keep, (plane * length + query) * length, span.end());
          rows.position(rows.position() + longest - span.end());
        }
      }
    }
    replays.add(
        replay(
            "attention_keep_" + layer, Format.U8, rows, numTokens, planes, longest));
  }

  private static String name(String kind, int prompt, int layer) {
    return kind + prompt + "_" + layer;
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
