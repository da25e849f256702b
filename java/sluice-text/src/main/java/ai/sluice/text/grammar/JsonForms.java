package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The forms of JSON's own parts. One space may follow a colon or a comma and nothing else. */
final class JsonForms {
  /** One character of a string, in any spelling. */
  static final Form STRING_CHARACTER =
      RegexParser.whole(
          "string",
          "[^\"\\\\\\x00-\\x1F]|\\\\[\"\\\\/bfnrt]"
              + "|\\\\u(?:[0-9A-CE-Fa-ce-f][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}"
              + "|[Dd][89ABab][0-9A-Fa-f]{2}\\\\u[Dd][C-Fc-f][0-9A-Fa-f]{2})");

  /** Any string. */
  static final Form STRING =
      Form.sequence(
          Form.literal("\""), new Form.Repeat(STRING_CHARACTER, 0, -1), Form.literal("\""));

  static final Form BOOLEAN = Form.choice(Form.literal("true"), Form.literal("false"));
  static final Form NULL = Form.literal("null");
  static final Form COLON =
      Form.sequence(Form.literal(":"), Form.optional(Form.literal(" ")));
  static final Form COMMA =
      Form.sequence(Form.literal(","), Form.optional(Form.literal(" ")));

  private static final String YEAR = "\\d{4}-";
  private static final String LEAP_YEAR =
      "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-";
  private static final String DATE =
      "(?:(?:" + YEAR + "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])"
          + "|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])))"
          + "|" + LEAP_YEAR + "02-29)";
  private static final String TIME =
      "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?"
          + "(?:Z|[+-](?:0[1-9]|1[0-7]):[0-5]\\d|\\+00:[0-5]\\d)";
  private static final String LABEL = "[A-Za-z0-9]{1,15}(?:-[A-Za-z0-9]{1,15}){0,2}";
  private static final String BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  private static final String CLOCK =
      "T(?:\\d{1,6}H(?:\\d{1,6}M(?:\\d{1,6}S)?)?|\\d{1,6}M(?:\\d{1,6}S)?|\\d{1,6}S)";
  private static final String NAME = "[A-Za-z0-9_+-]{1,30}";

  private static final Map<String, String> FORMATS = new TreeMap<>();

  static {
    FORMATS.put("date", DATE);
    FORMATS.put("time", TIME);
    FORMATS.put("date-time", DATE + "T" + TIME);
    FORMATS.put(
        "duration",
        "P(?:\\d{1,6}W|(?:\\d{1,6}Y(?:\\d{1,6}M(?:\\d{1,6}D)?)?|\\d{1,6}M(?:\\d{1,6}D)?"
            + "|\\d{1,6}D)(?:" + CLOCK + ")?|" + CLOCK + ")");
    FORMATS.put(
        "email",
        NAME + "(?:\\." + NAME + ")?@(?:" + LABEL + "\\.){1,3}" + TopLevelDomains.expression());
    FORMATS.put("hostname", LABEL + "(?:\\." + LABEL + "){0,4}");
    FORMATS.put("ipv4", BYTE + "(?:\\." + BYTE + "){3}");
    FORMATS.put("ipv6", ipv6());
    FORMATS.put("uuid", "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}");
  }

  private JsonForms() {}

  /** Eight groups, or fewer with one "::" for those left out. */
  private static String ipv6() {
    String group = "[0-9a-fA-F]{1,4}";
    StringBuilder all = new StringBuilder("(?:" + group + ":){7}" + group);
    for (int before = 0; before <= 7; before++) {
      all.append("|");
      if (before > 0) {
        all.append("(?:" + group + ":){" + before + "}:");
      } else {
        all.append("::");
      }
      int after = 7 - before;
      if (after > 0) {
        all.append("(?:" + group + "(?::" + group + "){0," + (after - 1) + "})?");
      }
    }
    return all.toString();
  }

  /** Names of the formats, in order. */
  static Iterable<String> formats() {
    return FORMATS.keySet();
  }

  /** The values of a format, without quotes; null if it is not known. */
  static @Nullable Form format(String name) {
    String expression = FORMATS.get(name);
    return expression == null ? null : RegexParser.whole("format " + name, expression);
  }

  /** A name and a colon. */
  static Form key(String name) {
    return Form.sequence(new Form.Quoted(Form.literal(name)), COLON);
  }

  /** Elements with commas between them. */
  static Form array(Form element, int minItems, int maxItems) {
    if (maxItems == 0) {
      return Form.literal("[]");
    }
    Form more = Form.sequence(COMMA, element);
    Form some =
        Form.sequence(
            element,
            new Form.Repeat(more, Math.max(0, minItems - 1), maxItems < 0 ? -1 : maxItems - 1));
    return Form.sequence(
        Form.literal("["), minItems == 0 ? Form.optional(some) : some, Form.literal("]"));
  }

  /** Any number of members of one form. */
  static Form map(Form key, Form value) {
    Form member = Form.sequence(key, COLON, value);
    Form more = new Form.Repeat(Form.sequence(COMMA, member), 0, -1);
    return Form.sequence(
        Form.literal("{"), Form.optional(Form.sequence(member, more)), Form.literal("}"));
  }

  /** This value. */
  static Form value(String where, @Nullable Object value) {
    if (value instanceof String text) {
      for (int i = 0; i < text.length(); i++) {
        int c = text.codePointAt(i);
        if (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE) {
          throw new InvalidRequestException(
              where + ": half a surrogate pair at index " + i + " (expected: valid Unicode)");
        }
        i += Character.charCount(c) - 1;
      }
      return new Form.Quoted(Form.literal(text));
    }
    if (value instanceof List<?> list) {
      List<Form> parts = new ArrayList<>(List.of(Form.literal("[")));
      for (Object element : list) {
        if (parts.size() > 1) {
          parts.add(COMMA);
        }
        parts.add(value(where, element));
      }
      parts.add(Form.literal("]"));
      return new Form.Sequence(parts);
    }
    if (value instanceof Map<?, ?> map) {
      List<Form> parts = new ArrayList<>(List.of(Form.literal("{")));
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        if (parts.size() > 1) {
          parts.add(COMMA);
        }
        parts.add(value(where, entry.getKey()));
        parts.add(COLON);
        parts.add(value(where, entry.getValue()));
      }
      parts.add(Form.literal("}"));
      return new Form.Sequence(parts);
    }
    return Form.literal(String.valueOf(value));
  }
}
