package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ResponseFormat;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.networknt.schema.Error;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.dialect.Dialects;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a schema's grammar allows is what the schema accepts. */
class JsonSchemaGrammarTest {
  private static final Map<String, Map<String, Object>> SCHEMAS = SchemaCorpus.all();
  private static final ObjectMapper STRICT =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);

  private static Schema validator(Map<String, Object> schema) {
    return SchemaRegistry.withDefaultDialect(Dialects.getDraft202012())
        .getSchema(SchemaCorpus.MAPPER.<JsonNode>valueToTree(schema));
  }

  private static void check(String name, Schema validator, String text) {
    try {
      JsonNode value = STRICT.readTree(text);
      List<Error> errors =
          validator.validate(
              value, run -> run.executionConfig(config -> config.formatAssertionsEnabled(true)));
      assertTrue(errors.isEmpty(), () -> name + "\n" + text + "\n" + errors);
    } catch (JsonProcessingException e) {
      throw new AssertionError(name + "\n" + text, e);
    }
  }

  @Test
  void thereAreTwoHundredSchemas() {
    assertTrue(SCHEMAS.size() >= 200, "schemas: " + SCHEMAS.size());
  }

  @ParameterizedTest
  @EnumSource
  void everyOutputValidates(Vocabularies vocabulary) {
    boolean large = vocabulary == Vocabularies.SMOLLM2;
    StringBuilder failures = new StringBuilder();
    SCHEMAS.forEach(
        (name, schema) -> {
          Schema validator = validator(schema);
          Walk walk = new Walk(compile(schema, vocabulary), vocabulary);
          for (int seed = 0; seed < (large ? 3 : 6); seed++) {
            Random random = new Random(seed);
            try {
              check(name, validator, walk.run(random, 1 + seed * 7, !large && seed == 5));
            } catch (AssertionError e) {
              failures.append(e.getMessage()).append('\n');
            }
          }
        });
    assertEquals("", failures.toString());
  }

  @ParameterizedTest
  @EnumSource
  void everyInstanceIsAllowed(Vocabularies vocabulary) {
    int[] tried = {0};
    SCHEMAS.forEach(
        (name, schema) -> {
          Schema validator = validator(schema);
          Walk walk = new Walk(compile(schema, vocabulary), vocabulary);
          for (int seed = 0; seed < 8; seed++) {
            Random random = new Random(seed);
            String text = new Instances(schema, random).make();
            if (text != null) {
              check(name, validator, text);
              assertTrue(walk.takes(text, random), () -> name + "\n" + text);
              tried[0]++;
            }
          }
        });
    assertTrue(tried[0] > 1000, "instances: " + tried[0]);
  }

  private static CompiledGrammar compile(Map<String, Object> schema, Vocabularies vocabulary) {
    return CompiledGrammar.compile(ResponseFormat.jsonSchema(schema), vocabulary.table());
  }

  @Test
  void anyObjectIsAnObject() throws Exception {
    for (Vocabularies vocabulary : Vocabularies.values()) {
      Walk walk =
          new Walk(
              CompiledGrammar.compile(ResponseFormat.jsonObject(), vocabulary.table()), vocabulary);
      for (int seed = 0; seed < 20; seed++) {
        String text = walk.run(new Random(seed), seed * 5, seed == 10);
        assertTrue(STRICT.readTree(text).isObject(), text);
      }
      for (String text :
          List.of("{}", "{\"a\": [1, {\"b\":null}], \"\\u00e9\":\"\\ud83d\\ude00\"}")) {
        assertTrue(walk.takes(text, new Random(1)), text);
      }
      for (String text :
          List.of(
              "", "[]", "1", "{", "{} ", " {}", "{\"a\" :1}", "{\"a\":  1}", "{a:1}", "{\"a\":01}",
              "{\"a\":1,}", "{\"a\":\"\\ud83d\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\n\"}",
              "{\"a\":+1}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":NaN}", "{\"a\":\"\\x\"}")) {
        assertEquals(false, walk.takes(text, new Random(1)), text);
      }
    }
  }

  /** Byte by byte what a byte of UTF-8 may follow: nothing overlong, no surrogates. */
  @Test
  void charactersAreWholeAndValid() {
    CompiledGrammar grammar = compile(Map.of("type", "string"), Vocabularies.BYTES);
    Walk walk = new Walk(grammar, Vocabularies.BYTES);
    int[][] wrong = {
      {0xC0, 0x80}, {0xC1, 0xBF}, {0xE0, 0x80, 0x80}, {0xED, 0xA0, 0x80}, {0xF0, 0x80, 0x80, 0x80},
      {0xF4, 0x90, 0x80, 0x80}, {0xF5, 0x80, 0x80, 0x80}, {0x80}, {0xE2, 0x82}, {0xFF}
    };
    for (int[] bytes : wrong) {
      int[] tokens = new int[bytes.length + 2];
      tokens[0] = '"';
      System.arraycopy(bytes, 0, tokens, 1, bytes.length);
      tokens[tokens.length - 1] = '"';
      assertEquals(false, walk.takes(tokens));
    }
    for (int codePoint : new int[] {0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF}) {
      assertTrue(walk.takes("\"" + Character.toString(codePoint) + "\"", new Random(0)));
    }
  }
}
