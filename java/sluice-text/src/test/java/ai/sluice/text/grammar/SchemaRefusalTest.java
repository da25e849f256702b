package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is not supported, contradicts itself or costs too much is refused by its name. */
class SchemaRefusalTest {
  private static final TokenTable TOKENS = Vocabularies.MADE_UP.table();

  /** The usual limits, but no clock: a busy machine changes nothing. */
  private static final GrammarLimits PATIENT =
      new GrammarLimits(32, 5_000, 5_000, 120_000, 100_000, Duration.ofMinutes(10), 16L << 20);

  private static CompiledGrammar compile(Map<String, ?> schema) {
    return CompiledGrammar.compile(ResponseFormat.jsonSchema(schema), TOKENS, PATIENT);
  }

  private static String refusal(Map<String, ?> schema) {
    String message =
        assertThrows(InvalidRequestException.class, () -> compile(schema)).getMessage();
    assertTrue(message.contains("(expected: "), message);
    assertTrue(message.length() < 1000, message);
    return message;
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " => ",
      quoteCharacter = '\u0001',
      value = {
        "{'oneOf':[{'type':'null'}],'type':'null'} => remedy: anyOf",
        "{'type':'object','allOf':[]} => \"allOf\"",
        "{'type':'string','not':{}} => \"not\"",
        "{'type':'object','if':{}} => \"if\"",
        "{'type':'object','patternProperties':{}} => \"patternProperties\"",
        "{'type':'object','minProperties':1} => \"minProperties\"",
        "{'type':'object','propertyNames':{}} => \"propertyNames\"",
        "{'type':'object','dependentRequired':{}} => \"dependentRequired\"",
        "{'type':'array','prefixItems':[]} => \"prefixItems\"",
        "{'type':'array','uniqueItems':true} => \"uniqueItems\"",
        "{'type':'array','contains':{}} => \"contains\"",
        "{'type':'string','nullable':true} => anyOf with type null",
        "{'type':'string','whatever':1} => \"whatever\"",
        "{'type':'string','minimum':1} => \"minimum\" with type string",
        "{'type':'string','$defs':{}} => none",
        "{'type':'array','items':{'type':'string','$defs':{}}} => \"$defs\"",
        "{'properties':{}} => add \"type\"",
        "{'minimum':1} => add \"type\"",
        "{'type':'text'} => type: text",
        "{'type':['string',5]} => type: 5",
        "{'type':[]} => type: empty",
        "{'type':null} => type: null",
        "{'type':'string','format':'uri'} => format: uri",
        "{'type':'string','format':7} => format: 7",
        "{'type':'string','pattern':7} => pattern: 7",
        "{'type':'string','pattern':'(?=a)'} => schema.pattern: lookahead",
        "{'type':'string','minLength':-1} => minLength: -1",
        "{'type':'string','minLength':1.5} => minLength: 1.5",
        "{'type':'string','minLength':'1'} => minLength: 1",
        "{'type':'string','maxLength':1000000} => maxLength: 1000000",
        "{'type':'string','maxLength':2147483648} => maxLength: 2147483648",
        "{'type':'string','minLength':3,'maxLength':2} => minLength: 3",
        "{'type':'array','minItems':3,'maxItems':2} => minItems: 3",
        "{'type':'array','maxItems':-1} => maxItems: -1",
        "{'type':'array','items':[{}]} => items: is [{}]",
        "{'type':'array','items':5} => items: is 5",
        "{'type':'integer','multipleOf':0} => multipleOf: 0",
        "{'type':'integer','multipleOf':-2} => multipleOf: -2",
        "{'type':'integer','multipleOf':1001} => multipleOf: 1001",
        "{'type':'number','multipleOf':0.3} => multipleOf: 0.3",
        "{'type':'number','minimum':'1'} => minimum: 1",
        "{'type':'number','minimum':1e-20} => digits after the point",
        "{'type':'integer','minimum':5,'maximum':4} => no text fits",
        "{'type':'number','exclusiveMinimum':5,'maximum':5} => no text fits",
        "{'type':'integer','minimum':10000000000000000000} => no text fits",
        "{'type':'string','pattern':'^a$','minLength':2} => no text fits",
        "{'type':'object','properties':{'a':{'type':'string'}},'additionalProperties':true} => :",
        "{'type':'object','properties':{},'additionalProperties':{}} => beside properties",
        "{'type':'object','properties':{'a':{'type':'string'}},'required':['b']} => required: b",
        "{'type':'object','required':'a'} => required: a",
        "{'type':'object','required':[null]} => required: null",
        "{'type':'object','properties':{},'required':[null,5]} => required: ",
        "{'type':'object','properties':[]} => properties: []",
        "{'type':'object','properties':{'a':false}} => a: is false",
        "{'enum':[]} => no value",
        "{'enum':'a'} => enum: a",
        "{'type':'integer','enum':['a']} => no value of type",
        "{'enum':['a'],'minLength':1} => \"minLength\" beside enum",
        "{'const':1,'enum':[1]} => \"enum\" beside const",
        "{'anyOf':[]} => anyOf: empty",
        "{'anyOf':{}} => anyOf: {}",
        "{'anyOf':[{'type':'null'}],'type':'null'} => \"type\" beside anyOf",
        "{'$ref':'#'} => refers to itself",
        "{'$ref':'#/$defs/x'} => $ref: #/$defs/x",
        "{'$ref':'other.json'} => $ref: other.json",
        "{'$ref':5} => $ref: 5",
        "{'$ref':'#/properties/a','type':'string'} => \"type\" beside $ref",
        "{'anyOf':[{'$ref':'#'},{'type':'null'}]} => refers to itself",
        "{'$defs':{'a':{'$ref':'#/$defs/b'},'b':{'$ref':'#/$defs/a'}},'$ref':'#/$defs/a'} => self",
        "{'$defs':{'a':5},'$ref':'#/$defs/a'} => #/$defs/a: is 5",
        "{'$defs':5,'type':'null'} => $defs: 5",
        "{'type':'object','properties':{'a':{'$ref':'#'}},'required':['a']} => endless",
        "{'type':'array','items':{'$ref':'#'},'minItems':1} => endless",
      })
  void refusedByName(String schema, String reason) {
    if (reason.startsWith("none")) {
      compile(SchemaCorpus.parse(schema));
      return;
    }
    String message = refusal(SchemaCorpus.parse(schema));
    assertTrue(message.contains(reason), message);
    assertTrue(message.startsWith("responseFormat") || message.startsWith("#/$defs"), message);
  }

  @Test
  void textNeedsNoGrammar() {
    assertThrows(
        InvalidRequestException.class,
        () -> CompiledGrammar.compile(ResponseFormat.text(), TOKENS));
  }

  /** The records can be made without their factories, from anything. */
  @Test
  void formatsMadeByHandAreCheckedToo() {
    Map<String, Object> cyclic = new HashMap<>();
    cyclic.put("items", cyclic);
    for (ResponseFormat format :
        List.of(
            new ResponseFormat.JsonSchema(cyclic),
            new ResponseFormat.JsonSchema(Map.of("const", new Object())),
            new ResponseFormat.Regex("a".repeat(10_001)),
            new ResponseFormat.Regex("\ud83d"),
            ResponseFormat.jsonSchema(Map.of("const", "\udc00")))) {
      assertThrows(
          InvalidRequestException.class, () -> CompiledGrammar.compile(format, TOKENS));
    }
  }

  @Test
  void largeSchemasMeetLimits() {
    Map<String, Object> properties = new LinkedHashMap<>();
    List<String> values = new ArrayList<>();
    for (int i = 0; i < 5_001; i++) {
      properties.put(Integer.toString(i, 36), Map.of("type", "null"));
      values.add("v" + i);
    }
    assertTrue(
        refusal(Map.of("type", "object", "properties", properties)).contains("5001"));
    assertTrue(refusal(Map.of("enum", values)).contains("5001"));
    assertTrue(refusal(Map.of("enum", List.of("x".repeat(120_001)))).contains("120000"));
    assertTrue(refusal(Map.of("type", "null", "$defs", Map.of("x".repeat(120_001), true)))
        .contains("120000"));
    properties.remove(Integer.toString(5_000, 36));
    compile(
        Map.of(
            "type", "object",
            "properties", properties,
            "required", List.copyOf(properties.keySet())));
    // Optional ones may each be followed by any later one.
    properties.keySet().removeIf(name -> name.length() > 2);
    assertEquals(1_296, properties.size());
    compile(Map.of("type", "object", "properties", properties));
    compile(Map.of("enum", values.subList(0, 5_000)));

    Map<String, Object> deep = Map.of("type", "null");
    for (int i = 0; i < 32; i++) {
      deep = Map.of("type", "array", "items", deep);
    }
    compile(deep);
    assertTrue(refusal(Map.of("anyOf", List.of(deep))).contains("nested deeper than 32"));
  }

  /** Definitions that refer on and on need no stack of their length. */
  @Test
  void aLongChainOfReferencesIsRead() {
    Map<String, Object> definitions = new LinkedHashMap<>();
    for (int i = 0; i < 3_000; i++) {
      definitions.put("d" + i, Map.of("$ref", "#/$defs/d" + (i + 1)));
    }
    definitions.put("d3000", Map.of("type", "null"));
    CompiledGrammar grammar = compile(Map.of("$defs", definitions, "$ref", "#/$defs/d0"));
    assertTrue(new Walk(grammar, Vocabularies.MADE_UP).takes("null", new Random(0)));
  }

  /** Each doubles what may be read at once; the readings are merged, not counted out. */
  @Test
  void ambiguityDoesNotMultiply() {
    Map<String, Object> definitions = new LinkedHashMap<>();
    List<Object> options = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      definitions.put(
          "d" + i, Map.of("type", "array", "items", Map.of("$ref", "#/$defs/any")));
      options.add(Map.of("$ref", "#/$defs/d" + i));
    }
    definitions.put("any", Map.of("anyOf", options));
    CompiledGrammar grammar = compile(Map.of("$defs", definitions, "$ref", "#/$defs/any"));
    Walk walk = new Walk(grammar, Vocabularies.MADE_UP);
    assertTrue(walk.takes("[".repeat(300) + "]".repeat(300), new Random(0)));
    assertEquals(false, walk.takes("[".repeat(300) + "]".repeat(299), new Random(0)));
  }

  @Test
  void countsThatMultiplyMeetTheLimitOfStates() {
    Map<String, Object> items = Map.of("type", "string", "pattern", "^([a-z]{1,1000} ){1,1000}$");
    assertTrue(refusal(Map.of("type", "array", "items", items)).contains("states"));
    List<Object> options = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      options.add(Map.of("type", "array", "items", Map.of(), "minItems", 10_000 + i));
    }
    assertTrue(refusal(Map.of("anyOf", options)).contains("states"));
    // Counts beside each other share what they count.
    compile(
        Map.of("type", "array", "items", Map.of("type", "array", "maxItems", 9_000),
            "maxItems", 9_000));
  }

  @Test
  void timeIsLimited() {
    GrammarLimits limits =
        new GrammarLimits(32, 5000, 5000, 120_000, 1_000_000, Duration.ofNanos(1), 1 << 20);
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> CompiledGrammar.compile(ResponseFormat.regex("[a-z]{5000}"), TOKENS, limits));
    assertTrue(e.getMessage().contains("PT0.000000001S"), e.getMessage());
  }

  @Test
  void limitsAreChecked() {
    for (int bad : new int[] {-1, 0, Integer.MIN_VALUE}) {
      assertThrows(InvalidRequestException.class, () -> limits(bad, 1, 1, 1, 16, 1 << 20));
      assertThrows(InvalidRequestException.class, () -> limits(1, bad, 1, 1, 16, 1 << 20));
      assertThrows(InvalidRequestException.class, () -> limits(1, 1, bad, 1, 16, 1 << 20));
      assertThrows(InvalidRequestException.class, () -> limits(1, 1, 1, bad, 16, 1 << 20));
      assertThrows(InvalidRequestException.class, () -> limits(1, 1, 1, 1, bad, 1 << 20));
      assertThrows(InvalidRequestException.class, () -> limits(1, 1, 1, 1, 16, bad));
    }
    assertThrows(
        InvalidRequestException.class,
        () -> new GrammarLimits(1, 1, 1, 1, 16, Duration.ZERO, 1 << 20));
    limits(64, 100_000, 100_000, 10_000_000, 1_000_000, Long.MAX_VALUE);
    // Longer than any clock counts.
    CompiledGrammar.compile(
        ResponseFormat.regex("a"),
        TOKENS,
        new GrammarLimits(1, 1, 1, 1, 16, Duration.ofSeconds(Long.MAX_VALUE), 1 << 20));
  }

  private static GrammarLimits limits(
      int nesting, int properties, int values, int text, int states, long bytes) {
    return new GrammarLimits(
        nesting, properties, values, text, states, Duration.ofSeconds(2), bytes);
  }

  @Test
  void anInterruptEndsCompiling() {
    Thread.currentThread().interrupt();
    assertThrows(
        CancellationException.class,
        () -> CompiledGrammar.compile(ResponseFormat.regex("a"), TOKENS));
    assertTrue(Thread.interrupted(), "stays interrupted");
  }
}
