package ai.sluice.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.filter.FilteringParserDelegate;
import com.fasterxml.jackson.core.filter.JsonPointerBasedFilter;
import com.fasterxml.jackson.core.filter.TokenFilter;
import java.io.IOException;
import java.io.StringWriter;

/** Looks into JSON text. */
final class Json {
  private Json() {}

  /** The value at a JSON pointer: a text as it is, everything else as JSON. */
  static String at(String json, String pointer) throws IOException {
    JsonFactory factory = new JsonFactory();
    try (JsonParser parser =
        new FilteringParserDelegate(
            factory.createParser(json),
            new JsonPointerBasedFilter(pointer),
            TokenFilter.Inclusion.ONLY_INCLUDE_ALL,
            false)) {
      JsonToken token = parser.nextToken();
      if (token == null) {
        throw new AssertionError("nothing at " + pointer + " in " + json);
      }
      if (token.isScalarValue()) {
        return parser.getText();
      }
      StringWriter text = new StringWriter();
      try (JsonGenerator generator = factory.createGenerator(text)) {
        generator.copyCurrentStructure(parser);
      }
      return text.toString();
    }
  }

  static int intAt(String json, String pointer) throws IOException {
    return Integer.parseInt(at(json, pointer));
  }
}
