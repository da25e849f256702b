package ai.sluice.eval.sandbox;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** Names by which a program could reach what judges it. They are shown, and decide nothing. */
final class SourceFlags {
  private static final Map<String, Pattern> NAMES = new LinkedHashMap<>();

  static {
    NAMES.put(
        "sys._getframe", Pattern.compile("\\b_getframe\\b|\\b_current_frames\\b|\\bf_back\\b"));
    NAMES.put("gc", Pattern.compile("\\bgc\\s*\\.|\\bimport\\s[^\\n]*\\bgc\\b|\\bfrom\\s+gc\\b"));
    NAMES.put("/proc", Pattern.compile("/proc\\b"));
    NAMES.put("ctypes", Pattern.compile("\\b_?ctypes\\b"));
    NAMES.put("__eq__", Pattern.compile("\\b__eq__\\b"));
  }

  private SourceFlags() {}

  static List<String> of(String source) {
    List<String> out = new ArrayList<>();
    for (Map.Entry<String, Pattern> name : NAMES.entrySet()) {
      if (name.getValue().matcher(source).find()) {
        out.add(name.getKey());
      }
    }
    return out;
  }
}
