package ai.sluice.eval.report;

import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** Texts that Python makes of values, to the byte, because lm-eval writes or hashes them. */
final class PythonRepr {
  private PythonRepr() {}

  /** {@code json.dumps(value, indent=2, ensure_ascii=False)}. */
  static String json(Object value) {
    StringBuilder out = new StringBuilder();
    json(value, "\n", out);
    return out.toString();
  }

  private static void json(Object value, String margin, StringBuilder out) {
    String inner = margin + "  ";
    if (value instanceof Map<?, ?> map) {
      out.append('{');
      map.forEach(
          (key, member) -> {
            out.append(out.charAt(out.length() - 1) == '{' ? "" : ",").append(inner);
            text(String.valueOf(key), out);
            out.append(": ");
            json(member, inner, out);
          });
      out.append(map.isEmpty() ? "" : margin).append('}');
    } else if (value instanceof List<?> list) {
      out.append('[');
      for (int i = 0; i < list.size(); i++) {
        out.append(i == 0 ? "" : ",").append(inner);
        json(list.get(i), inner, out);
      }
      out.append(list.isEmpty() ? "" : margin).append(']');
    } else if (value instanceof String text) {
      text(text, out);
    } else if (value instanceof Double number) {
      out.append(number(number));
    } else {
      out.append(value);
    }
  }

  private static void text(String value, StringBuilder out) {
    out.append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\b' -> out.append("\\b");
        case '\f' -> out.append("\\f");
        default -> out.append(c < 0x20 ? String.format("\\u%04x", (int) c) : String.valueOf(c));
      }
    }
    out.append('"');
  }

  /** {@code repr} of a float: the shortest digits, an exponent below 1e-4 and from 1e16. */
  static String number(double value) {
    if (Double.isNaN(value)) {
      return "nan";
    }
    if (Double.isInfinite(value)) {
      return value > 0 ? "inf" : "-inf";
    }
    if (value == 0) {
      return 1 / value < 0 ? "-0.0" : "0.0";
    }
    BigDecimal shortest = shortest(value);
    int exponent = shortest.precision() - shortest.scale() - 1;
    if (exponent >= -4 && exponent < 16) {
      String plain = shortest.toPlainString();
      return plain.contains(".") ? plain : plain + ".0";
    }
    String digits = shortest.unscaledValue().abs().toString();
    return (value < 0 ? "-" : "")
        + digits.charAt(0)
        + (digits.length() > 1 ? "." + digits.substring(1) : "")
        + String.format("e%s%02d", exponent < 0 ? "-" : "+", Math.abs(exponent));
  }

  // Double.toString gives more digits than needed on some JDKs.
  private static BigDecimal shortest(double value) {
    BigDecimal exact = new BigDecimal(value);
    for (int digits = 1; digits < 17; digits++) {
      BigDecimal rounded =
          exact.round(new java.math.MathContext(digits, java.math.RoundingMode.HALF_EVEN));
      if (rounded.doubleValue() == value) {
        return rounded.stripTrailingZeros();
      }
    }
    return exact
        .round(new java.math.MathContext(17, java.math.RoundingMode.HALF_EVEN))
        .stripTrailingZeros();
  }

  /** {@code sha256(text.encode("utf-8")).hexdigest()}. */
  static String sha256(String text) {
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(digest);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: missing (a defect of the JDK)", e);
    }
  }
}
