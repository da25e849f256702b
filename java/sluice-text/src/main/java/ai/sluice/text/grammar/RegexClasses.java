package ai.sluice.text.grammar;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The sets of characters that expressions name. */
final class RegexClasses {
  static final CodePoints DIGITS = CodePoints.of('0', '9');
  static final CodePoints WORD =
      DIGITS.or(CodePoints.of('A', 'Z')).or(CodePoints.of('a', 'z')).or(CodePoints.of('_'));

  /** What Java takes for a space. */
  static final CodePoints SPACE = CodePoints.of(" \t\n\u000B\f\r");

  /** What Java or ECMAScript takes for a space. */
  static final CodePoints ANY_SPACE =
      SPACE
          .or(CodePoints.of("\u00A0\u1680\u202F\u205F\u3000\uFEFF\u2028\u2029"))
          .or(CodePoints.of(0x2000, 0x200A));

  /** Any character but those that Java or ECMAScript takes for the end of a line. */
  static final CodePoints DOT = CodePoints.of("\n\r\u0085\u2028\u2029").not();

  private static final Map<String, Integer> CATEGORIES = new HashMap<>();
  private static final Map<String, CodePoints> KNOWN = new ConcurrentHashMap<>();

  static {
    String[] names = {
      "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Me", "Mc", "Nd", "Nl", "No", "Zs", "Zl", "Zp",
      "Cc", "Cf", "", "Co", "Cs", "Pd", "Ps", "Pe", "Pc", "Po", "Sm", "Sc", "Sk", "So", "Pi", "Pf"
    };
    for (int type = 0; type < names.length; type++) {
      // The numbers of Character.getType; 17 stands for nothing.
      if (!names[type].isEmpty()) {
        CATEGORIES.merge(names[type], 1 << type, (a, b) -> a | b);
        CATEGORIES.merge(names[type].substring(0, 1), 1 << type, (a, b) -> a | b);
      }
    }
    CATEGORIES.remove("Cs");
  }

  private RegexClasses() {}

  /** Whether this is a general category of Unicode that characters have. */
  static boolean isCategory(String name) {
    return CATEGORIES.containsKey(name);
  }

  /** The characters of a general category, or all the others. */
  static CodePoints category(String name, boolean others) {
    int types = CATEGORIES.get(name);
    CodePoints set =
        KNOWN.computeIfAbsent(
            name, n -> CodePoints.where(c -> (types >> Character.getType(c) & 1) != 0));
    return others ? set.not() : set;
  }
}
