package ai.sluice.checkpoint.arch;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.IntPredicate;

/** Which layers see only a sliding window of positions. */
final class SlidingWindows {
  private static final int MAX_WINDOW = 1 << 30;
  private static final int DEFAULT_WINDOW = 4096;
  private static final int DEFAULT_FIRST_WINDOWED_LAYER = 28;

  private SlidingWindows() {}

  /** Every layer sees everything. */
  static List<Integer> none(int numLayers) {
    return Collections.nCopies(numLayers, 0);
  }

  /**
   * Every layer sees everything, whatever window the config carries, since {@code
   * use_sliding_window} switches it off.
   *
   * @throws ai.sluice.api.UnsupportedModelException if it does not
   */
  static List<Integer> noneIfUnused(ModelConfig config, int numLayers) {
    if (config.flag("use_sliding_window", false)) {
      throw config.unsupported("use_sliding_window", "false for this family");
    }
    config.has("sliding_window");
    config.has("max_window_layers");
    return perLayer(config, numLayers, 0, layer -> false);
  }

  /** The window under {@code sliding_window}, for every layer. */
  static List<Integer> everyLayer(ModelConfig config, int numLayers, int fallback) {
    return Collections.nCopies(numLayers, window(config, fallback));
  }

  /**
   * Qwen's way: configs carry a window and the first layer for it even where {@code
   * use_sliding_window} switches both off.
   */
  static List<Integer> laterLayersIfUsed(ModelConfig config, int numLayers) {
    int window = window(config, DEFAULT_WINDOW);
    int first =
        config.integer("max_window_layers", 0, Integer.MAX_VALUE, DEFAULT_FIRST_WINDOWED_LAYER);
    boolean used = config.flag("use_sliding_window", false);
    return perLayer(config, numLayers, used ? window : 0, layer -> layer >= first);
  }

  /** The window for the first layer and every other one after it, unless layer_types says else. */
  static List<Integer> everyOther(ModelConfig config, int numLayers, int fallback) {
    int window = window(config, fallback);
    return perLayer(config, numLayers, window, layer -> layer % 2 == 0);
  }

  /** The window under {@code sliding_window}; 0 if it is null, {@code fallback} if absent. */
  private static int window(ModelConfig config, int fallback) {
    return config.integer(
        "sliding_window", 1, MAX_WINDOW, config.isNull("sliding_window") ? 0 : fallback);
  }

  /**
   * The window of each layer, 0 where it sees everything. {@code layer_types} decides if it is
   * there, else {@code usual} says which layers have the window.
   */
  private static List<Integer> perLayer(
      ModelConfig config, int numLayers, int window, IntPredicate usual) {
    List<Integer> windows = new ArrayList<>();
    List<String> types = config.texts("layer_types").orElse(List.of());
    if (!types.isEmpty() && types.size() != numLayers) {
      throw config.bad("layer_types", numLayers + " entries, one per layer");
    }
    for (int layer = 0; layer < numLayers; layer++) {
      boolean windowed = window > 0 && usual.test(layer);
      if (!types.isEmpty()) {
        windowed = isWindowed(config, types.get(layer), window);
      }
      windows.add(windowed ? window : 0);
    }
    return windows;
  }

  private static boolean isWindowed(ModelConfig config, String type, int window) {
    switch (type) {
      case "full_attention":
        return false;
      case "sliding_attention":
        if (window == 0) {
          throw config.bad("layer_types", "full_attention only, since no sliding window is in use");
        }
        return true;
      default:
        throw config.unsupported("layer_types", "full_attention or sliding_attention");
    }
  }
}
