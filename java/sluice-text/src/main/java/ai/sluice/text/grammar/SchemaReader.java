package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads a JSON schema into rules: one for each object, each array, each target of a {@code $ref}
 * and each different scalar, so that equal parts share states and masks. What is not supported is
 * refused by its name and place.
 */
final class SchemaReader {
  private static final Set<String> ANNOTATIONS =
      Set.of(
          "title", "description", "default", "examples", "$comment", "deprecated", "readOnly",
          "writeOnly");
  private static final Set<String> AT_THE_ROOT = Set.of("$schema", "$id", "$defs", "definitions");
  private static final Set<String> STRINGS =
      Set.of("pattern", "format", "minLength", "maxLength");
  private static final Set<String> NUMBERS =
      Set.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf");
  private static final Set<String> OBJECTS =
      Set.of("properties", "required", "additionalProperties");
  private static final Set<String> ARRAYS = Set.of("items", "minItems", "maxItems");
  private static final List<String> TYPES =
      List.of("string", "number", "integer", "boolean", "null", "object", "array");

  private final Rules rules;
  private final Map<String, @Nullable Object> root;
  private final GrammarLimits limits;
  private final ScalarForms scalars;
  private final Map<String, Integer> references = new HashMap<>();

  /** Targets not read yet; not read where met, since a chain of them would exhaust the stack. */
  private final ArrayDeque<String> pending = new ArrayDeque<>();

  private final Map<Form, Integer> shared = new HashMap<>();
  private int anyValue = -1;
  private int numProperties;
  private int numEnumValues;
  private int textLength;

  SchemaReader(Rules rules, Map<String, @Nullable Object> root, GrammarLimits limits) {
    this.rules = rules;
    this.root = root;
    this.limits = limits;
    this.scalars = new ScalarForms(this::stringCharacter);
  }

  /**
   * Adds the rules of the schema.
   *
   * @param where what the schema is called in messages
   * @return the rule of the whole
   */
  int read(String where) {
    int rule = rules.declare(where);
    references.put("#", rule);
    for (String key : List.of("$defs", "definitions")) {
      if (root.containsKey(key)) {
        object(where, key, root.get(key)).keySet().forEach(n -> countText(where, (String) n));
      }
    }
    rules.define(rule, read(where, root, 0));
    while (!pending.isEmpty()) {
      String target = pending.remove();
      Object schema = target(target);
      rules.define(references.get(target), read(target, schema, 1));
    }
    return rule;
  }

  /** Any JSON object. */
  int readAnyObject(String where) {
    int rule = rules.declare(where);
    rules.define(rule, anyObject(where));
    return rule;
  }

  /** The form of a value: calls of rules, or a scalar that ends without any. */
  private Form read(String where, @Nullable Object schema, int depth) {
    if (Boolean.TRUE.equals(schema)) {
      return new Form.Call(anyValue());
    }
    if (!(schema instanceof Map<?, ?> map)) {
      throw fail(where, "is " + brief(schema), "a schema: a JSON object");
    }
    if (depth > limits.maxNesting()) {
      throw fail(where, "nested deeper than " + limits.maxNesting() + " levels", "fewer");
    }
    Set<String> keys = new HashSet<>();
    for (Object key : map.keySet()) {
      String name = (String) key;
      if (!ANNOTATIONS.contains(name) && !(depth == 0 && AT_THE_ROOT.contains(name))) {
        keys.add(name);
      }
    }
    if (keys.isEmpty()) {
      return new Form.Call(anyValue());
    }
    if (keys.remove("$ref")) {
      refuseOthers(where, keys, "beside $ref");
      return new Form.Call(reference(where, map.get("$ref")));
    }
    if (keys.remove("anyOf")) {
      refuseOthers(where, keys, "beside anyOf");
      List<Form> options = new ArrayList<>();
      for (Object option : list(where, "anyOf", map.get("anyOf"))) {
        options.add(read(where + ".anyOf[" + options.size() + "]", option, depth + 1));
      }
      if (options.isEmpty()) {
        throw fail(where, "anyOf: empty", "at least one schema");
      }
      return anyOf(options);
    }
    keys.remove("type");
    List<String> types = types(where, map);
    if (keys.contains("enum") || keys.contains("const")) {
      return values(where, map, keys, types);
    }
    if (types.isEmpty()) {
      throw fail(
          where,
          "has none of type, anyOf, enum, const and $ref",
          "one of them; remedy: add \"type\" beside " + keys.iterator().next());
    }
    return typed(where, map, keys, types, depth);
  }

  private Form typed(
      String where, Map<?, ?> map, Set<String> keys, List<String> types, int depth) {
    Set<String> rest = new HashSet<>(keys);
    List<Form> options = new ArrayList<>();
    for (String type : types) {
      switch (type) {
        case "string" -> {
          options.add(scalars.string(where, map));
          rest.removeAll(STRINGS);
        }
        case "number", "integer" -> {
          options.add(scalars.number(where, map, type.equals("integer")));
          rest.removeAll(NUMBERS);
        }
        case "boolean" -> options.add(JsonForms.BOOLEAN);
        case "null" -> options.add(JsonForms.NULL);
        case "object" -> {
          options.add(new Form.Call(rules.add(where, objectForm(where, map, depth))));
          rest.removeAll(OBJECTS);
        }
        default -> {
          options.add(new Form.Call(rules.add(where, arrayForm(where, map, depth))));
          rest.removeAll(ARRAYS);
        }
      }
    }
    refuseOthers(where, rest, "with type " + String.join(", ", types));
    return anyOf(options);
  }

  /** Scalars among the options become one rule, which is then deterministic. */
  private Form anyOf(List<Form> options) {
    List<Form> flat = new ArrayList<>();
    List<Form> calls = new ArrayList<>();
    for (Form option : options) {
      if (option instanceof Form.Choice choice && hasCalls(option)) {
        for (Form inner : choice.options()) {
          (hasCalls(inner) ? calls : flat).add(inner);
        }
      } else {
        (hasCalls(option) ? calls : flat).add(option);
      }
    }
    if (flat.size() == 1) {
      calls.add(flat.get(0));
    } else if (!flat.isEmpty()) {
      calls.add(new Form.Choice(flat));
    }
    return calls.size() == 1 ? calls.get(0) : new Form.Choice(calls);
  }

  private static boolean hasCalls(Form form) {
    return form instanceof Form.Call
        || form instanceof Form.Choice choice && choice.options().stream().anyMatch(
            SchemaReader::hasCalls);
  }

  /** The form as a part of others: large ones, which may stand in many places, by a call. */
  private Form part(String where, Form form) {
    if (form instanceof Form.Call
        || form == JsonForms.BOOLEAN
        || form == JsonForms.NULL
        || form instanceof Form.Literal) {
      return form;
    }
    return new Form.Call(shared.computeIfAbsent(form, f -> rules.add(where, f)));
  }

  private Form stringCharacter() {
    return part("string", JsonForms.STRING_CHARACTER);
  }

  private int anyValue() {
    if (anyValue < 0) {
      anyValue = rules.declare("any value");
      Form self = new Form.Call(anyValue);
      rules.define(
          anyValue,
          Form.choice(
              part("string", JsonForms.STRING),
              part("number", NumberForms.NUMBER),
              JsonForms.BOOLEAN,
              JsonForms.NULL,
              part("any object", anyObject("any object")),
              part("any array", JsonForms.array(self, 0, -1))));
    }
    return anyValue;
  }

  private Form anyObject(String where) {
    return JsonForms.map(part(where, JsonForms.STRING), new Form.Call(anyValue()));
  }

  private int reference(String where, @Nullable Object value) {
    if (!(value instanceof String target)) {
      throw fail(where, "$ref: " + brief(value), "\"#\" or \"#/$defs/name\"");
    }
    Integer known = references.get(target);
    if (known != null) {
      return known;
    }
    if (target(target) == null) {
      throw fail(
          where,
          "$ref: " + brief(target),
          "\"#\" or \"#/$defs/name\" of a definition at the root of the schema");
    }
    int rule = rules.declare(target);
    references.put(target, rule);
    pending.add(target);
    return rule;
  }

  private @Nullable Object target(String target) {
    for (String key : List.of("$defs", "definitions")) {
      String prefix = "#/" + key + "/";
      if (target.startsWith(prefix) && root.get(key) instanceof Map<?, ?> definitions) {
        return definitions.get(
            target.substring(prefix.length()).replace("~1", "/").replace("~0", "~"));
      }
    }
    return null;
  }

  private List<String> types(String where, Map<?, ?> map) {
    Object value = map.get("type");
    if (!map.containsKey("type")) {
      return List.of();
    }
    List<?> names =
        value instanceof List<?> several ? several : Collections.singletonList(value);
    List<String> types = new ArrayList<>();
    for (Object name : names) {
      if (!(name instanceof String type) || !TYPES.contains(type)) {
        throw fail(where, "type: " + brief(name), String.join(", ", TYPES));
      }
      if (!types.contains(type)) {
        types.add(type);
      }
    }
    if (types.isEmpty()) {
      throw fail(where, "type: empty", "at least one type");
    }
    if (types.contains("number")) {
      types.remove("integer");
    }
    return types;
  }

  private Form values(String where, Map<?, ?> map, Set<String> keys, List<String> types) {
    Set<String> others = new HashSet<>(keys);
    boolean isConst = others.remove("const");
    if (!isConst) {
      others.remove("enum");
    }
    refuseOthers(where, others, isConst ? "beside const" : "beside enum");
    List<Object> values = new ArrayList<>();
    if (isConst) {
      values.add(map.get("const"));
    } else {
      values.addAll(list(where, "enum", map.get("enum")));
    }
    numEnumValues += values.size();
    if (numEnumValues > limits.maxEnumValues()) {
      throw fail(
          where,
          "enum values of the schema: " + numEnumValues,
          "at most " + limits.maxEnumValues());
    }
    List<Form> forms = new ArrayList<>();
    for (Object value : values) {
      countText(where, String.valueOf(value));
      if (types.isEmpty() || types.stream().anyMatch(type -> isOf(type, value))) {
        forms.add(JsonForms.value(where, value));
      }
    }
    if (forms.isEmpty()) {
      throw fail(
          where,
          "enum or const: no value" + (types.isEmpty() ? "" : " of type " + types),
          "at least one");
    }
    return forms.size() == 1 ? forms.get(0) : new Form.Choice(forms);
  }

  private static boolean isOf(String type, @Nullable Object value) {
    return switch (type) {
      case "string" -> value instanceof String;
      case "number" -> value instanceof Number;
      case "integer" ->
          value instanceof Long
              || value instanceof BigInteger
              || value instanceof Double number
                  && new BigDecimal(number).stripTrailingZeros().scale() <= 0;
      case "boolean" -> value instanceof Boolean;
      case "null" -> value == null;
      case "object" -> value instanceof Map;
      default -> value instanceof List;
    };
  }

  private Form arrayForm(String where, Map<?, ?> map, int depth) {
    int min = scalars.count(where, map, "minItems", 0);
    int max = scalars.count(where, map, "maxItems", -1);
    if (max >= 0 && min > max) {
      throw fail(where, "minItems: " + min, "at most maxItems, which is " + max);
    }
    Form item =
        map.containsKey("items")
            ? read(where + ".items", map.get("items"), depth + 1)
            : new Form.Call(anyValue());
    return JsonForms.array(part(where + ".items", item), min, max);
  }

  private Form objectForm(String where, Map<?, ?> map, int depth) {
    Map<?, ?> properties =
        map.containsKey("properties")
            ? object(where, "properties", map.get("properties"))
            : Collections.emptyMap();
    Set<Object> required = new HashSet<>();
    if (map.containsKey("required")) {
      required.addAll(list(where, "required", map.get("required")));
    }
    for (Object name : required) {
      if (!properties.containsKey(name)) {
        throw fail(where, "required: " + brief(name), "a name of properties");
      }
    }
    Object additional = map.get("additionalProperties");
    boolean closed = Boolean.FALSE.equals(additional);
    if (properties.isEmpty() && !closed && !map.containsKey("properties")) {
      Form value =
          map.containsKey("additionalProperties")
              ? read(where + ".additionalProperties", additional, depth + 1)
              : new Form.Call(anyValue());
      return JsonForms.map(
          part("string", JsonForms.STRING), part(where + ".additionalProperties", value));
    }
    if (!closed && map.containsKey("additionalProperties")) {
      throw fail(
          where,
          "additionalProperties: " + brief(additional) + " beside properties",
          "false, or an object without properties");
    }
    numProperties += properties.size();
    if (numProperties > limits.maxProperties()) {
      throw fail(
          where, "properties of the schema: " + numProperties, "at most " + limits.maxProperties());
    }
    List<Form.Member> members = new ArrayList<>();
    for (Map.Entry<?, ?> property : properties.entrySet()) {
      String name = (String) property.getKey();
      countText(where, name);
      String place = where + ".properties." + name;
      JsonForms.value(place, name);
      Form value = part(place, read(place, property.getValue(), depth + 1));
      members.add(
          new Form.Member(
              Form.sequence(JsonForms.key(name), value), required.contains(name)));
    }
    return Form.sequence(Form.literal("{"), new Form.Members(members), Form.literal("}"));
  }

  private void countText(String where, String text) {
    textLength += Math.min(text.length(), limits.maxTextLength() + 1 - textLength);
    if (textLength > limits.maxTextLength()) {
      throw fail(
          where,
          "names and values of the schema: more than " + limits.maxTextLength() + " characters",
          "at most that");
    }
  }

  private static Map<?, ?> object(String where, String key, @Nullable Object value) {
    if (value instanceof Map<?, ?> map) {
      return map;
    }
    throw fail(where, key + ": " + brief(value), "a JSON object");
  }

  private static List<?> list(String where, String key, @Nullable Object value) {
    if (value instanceof List<?> list) {
      return list;
    }
    throw fail(where, key + ": " + brief(value), "a list");
  }

  private static void refuseOthers(String where, Set<String> keys, String beside) {
    if (!keys.isEmpty()) {
      String key = keys.stream().sorted().findFirst().orElseThrow();
      String remedy =
          switch (key) {
            case "oneOf" -> "; remedy: anyOf";
            case "allOf" -> "; remedy: one schema that says it all";
            case "prefixItems" -> "; remedy: an object with a property for each place";
            case "nullable" -> "; remedy: anyOf with type null";
            default -> "";
          };
      throw fail(
          where,
          "keyword \"" + brief(key) + "\" " + beside + " is not supported",
          "what docs/structured-output.md lists" + remedy);
    }
  }

  private static String brief(@Nullable Object value) {
    String text = String.valueOf(value);
    return text.length() > 60 ? text.substring(0, 60) + "…" : text;
  }

  static InvalidRequestException fail(String where, String what, String expected) {
    String place = where.length() > 200 ? where.substring(0, 200) + "…" : where;
    return new InvalidRequestException(place + ": " + what + " (expected: " + expected + ")");
  }
}
