package ai.sluice.text.grammar;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Schemas: hand-written ones of a resource, and every feature alone and within others. */
final class SchemaCorpus {
  static final ObjectMapper MAPPER = new ObjectMapper();
  private static final TypeReference<LinkedHashMap<String, Object>> OBJECT =
      new TypeReference<>() {};

  private SchemaCorpus() {}

  static Map<String, Object> parse(String json) {
    try {
      return MAPPER.readValue(json.replace('\'', '"'), OBJECT);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** By name, in order. */
  static Map<String, Map<String, Object>> all() {
    Map<String, Map<String, Object>> all = new LinkedHashMap<>(written());
    List<String> scalars = scalars();
    for (String scalar : scalars) {
      all.put(scalar, parse(scalar));
    }
    // Each scalar within something, each kind of surrounding with several scalars.
    for (int i = 0; i < scalars.size(); i++) {
      String one = scalars.get(i);
      String two = scalars.get((i * 7 + 3) % scalars.size());
      String text =
          switch (i % 6) {
            case 0 -> "{'type':'array','items':" + one + ",'maxItems':" + (1 + i % 4) + "}";
            case 1 -> "{'anyOf':[" + one + "," + two + "]}";
            case 2 ->
                "{'type':'object','properties':{'a':" + one + ",'b':" + two
                    + "},'required':['a','b'],'additionalProperties':false}";
            case 3 ->
                "{'type':'object','properties':{'a':" + one + ",'ab':" + two
                    + "},'required':['ab'],'additionalProperties':false}";
            case 4 ->
                "{'$defs':{'x':" + one + "},'type':'array','items':{'anyOf':[{'$ref':'#/$defs/x'},"
                    + "{'type':'array','items':{'$ref':'#'},'maxItems':2}]},'minItems':1}";
            default ->
                "{'type':'object','additionalProperties':{'anyOf':[" + one + ",{'type':'null'}]}}";
          };
      all.put(text, parse(text));
    }
    return all;
  }

  private static Map<String, Map<String, Object>> written() {
    try (InputStream in = SchemaCorpus.class.getResourceAsStream("schemas.json")) {
      return MAPPER.readValue(
          in, new TypeReference<LinkedHashMap<String, Map<String, Object>>>() {});
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<String> scalars() {
    List<String> all = new ArrayList<>();
    for (String type : List.of("string", "number", "integer", "boolean", "null")) {
      all.add("{'type':'" + type + "'}");
    }
    for (String format : JsonForms.formats()) {
      all.add("{'type':'string','format':'" + format + "'}");
    }
    for (String lengths :
        List.of(
            "'minLength':0", "'minLength':3", "'maxLength':0", "'maxLength':5",
            "'minLength':2,'maxLength':2", "'minLength':1,'maxLength':300")) {
      all.add("{'type':'string'," + lengths + "}");
    }
    for (String pattern :
        List.of(
            "^[a-z]+$", "[0-9]", "^a", "z$", "^(foo|bar)$", "^\\\\d{3}-\\\\d{4}$",
            "^\\\\w+ \\\\w+$",
            "^[^,]*,[^,]*$", "^.{2,4}$", "^é+漢?$", "^[\\\\\\\\/]+$", "a|^b|c$", "^$",
            "^\\\\p{Lu}")) {
      all.add("{'type':'string','pattern':'" + pattern + "'}");
    }
    all.add("{'type':'string','pattern':'^[a-z]*$','minLength':3,'maxLength':6}");
    all.add("{'type':'string','pattern':'[0-9]','maxLength':6}");
    all.add("{'type':'string','format':'email','maxLength':12}");
    all.add("{'type':'string','format':'date','pattern':'^2024-'}");
    for (String bounds :
        List.of(
            "'minimum':0", "'maximum':0", "'minimum':-5,'maximum':5", "'exclusiveMinimum':0",
            "'exclusiveMaximum':10,'minimum':9", "'minimum':17,'maximum':1234",
            "'minimum':-1234,'maximum':-17", "'minimum':999,'maximum':1000",
            "'exclusiveMinimum':-1,'exclusiveMaximum':1", "'minimum':1.5,'maximum':2.5",
            "'minimum':-0.5,'maximum':10.25", "'minimum':0.001,'exclusiveMaximum':1.001",
            "'minimum':99.5", "'exclusiveMaximum':-0.25,'minimum':-4")) {
      all.add("{'type':'integer'," + bounds.replace("-0.25", "-0.5") + "}");
      all.add("{'type':'number'," + bounds + "}");
    }
    for (String multiple :
        List.of(
            "'integer','multipleOf':7", "'integer','multipleOf':10,'minimum':-35,'maximum':120",
            "'number','multipleOf':0.1", "'number','multipleOf':3",
            "'number','multipleOf':0.01,'minimum':-1,'maximum':1", "'integer','multipleOf':1")) {
      all.add("{'type':" + multiple + "}");
    }
    all.add("{'enum':['a']}");
    all.add("{'enum':['true','false',true]}");
    all.add("{'type':'integer','enum':[1,12,123,'x']}");
    all.add("{'const':'a\\\"b'}");
    all.add("{'const':0.5}");
    all.add("{'const':null}");
    all.add("{'type':['string','null']}");
    all.add("{'type':['integer','boolean'],'minimum':3,'maximum':40}");
    return all;
  }
}
