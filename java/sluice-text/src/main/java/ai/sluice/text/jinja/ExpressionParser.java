package ai.sluice.text.jinja;

import ai.sluice.text.jinja.Token.Kind;
import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Builds expressions from tokens, with Jinja's precedence. */
final class ExpressionParser {
  private static final int MAX_NESTING = 100;
  private static final int MAX_CHAIN = 1000;
  private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

  private final TokenStream tokens;
  private final Deque<Set<String>> watches = new ArrayDeque<>();
  private int nesting;

  ExpressionParser(TokenStream tokens) {
    this.tokens = tokens;
  }

  /** Filters and tests that follow each other, waiting for what they apply to. */
  interface Chain {
    Expression over(Expression input);
  }

  /** Starts to note the names that expressions use, until {@link #watched}. */
  void watch() {
    watches.push(new HashSet<>());
  }

  /** The names used since {@link #watch}. */
  Set<String> watched() {
    Set<String> names = watches.pop();
    if (!watches.isEmpty()) {
      watches.peek().addAll(names);
    }
    return names;
  }

  /** An expression. */
  Expression expression() {
    if (++nesting > MAX_NESTING) {
      throw tokens.failure("expressions nested deeper than " + MAX_NESTING);
    }
    Expression then = or();
    for (int i = 0; tokens.skipName("if"); i++) {
      bound(i);
      Expression condition = or();
      Expression otherwise = tokens.skipName("else") ? expression() : null;
      then = new Expression.Conditional(condition, then, otherwise);
    }
    nesting--;
    return then;
  }

  /** An expression, or a tuple written without parentheses. */
  Expression tuple() {
    return tuple(true, false, false);
  }

  /** As {@link #tuple}, without {@code a if b else c} at the top. */
  Expression tupleWithoutCondition() {
    return tuple(false, false, false);
  }

  /** As {@link #tupleWithoutCondition}, ending before the word recursive too. */
  Expression tupleUntilRecursive() {
    return tuple(false, false, true);
  }

  private Expression tuple(boolean withCondition, boolean parenthesized, boolean untilRecursive) {
    List<Expression> elements = new ArrayList<>();
    boolean isTuple = false;
    while (!endsTuple(untilRecursive)) {
      elements.add(withCondition ? expression() : or());
      if (!tokens.skipOperator(",")) {
        break;
      }
      isTuple = true;
    }
    if (!isTuple && elements.size() == 1) {
      return elements.get(0);
    }
    if (elements.isEmpty() && !parenthesized) {
      throw tokens.failure("unexpected " + tokens.peek().describe() + " (expected: an expression)");
    }
    return new Expression.Sequence(elements, true);
  }

  private boolean endsTuple(boolean untilRecursive) {
    Token next = tokens.peek();
    return next.kind() == Kind.OUTPUT_END
        || next.kind() == Kind.BLOCK_END
        || next.isOperator(")")
        || untilRecursive && next.isName("recursive");
  }

  private void bound(int length) {
    if (length > MAX_CHAIN) {
      throw tokens.failure("an expression with more than " + MAX_CHAIN + " parts");
    }
  }

  private Expression or() {
    Expression left = and();
    for (int i = 0; tokens.skipName("or"); i++) {
      bound(i);
      left = new Expression.Logical(false, left, and());
    }
    return left;
  }

  private Expression and() {
    Expression left = not();
    for (int i = 0; tokens.skipName("and"); i++) {
      bound(i);
      left = new Expression.Logical(true, left, not());
    }
    return left;
  }

  private Expression not() {
    int count = 0;
    while (tokens.skipName("not")) {
      bound(count++);
    }
    Expression operand = comparison();
    for (int i = 0; i < count; i++) {
      operand = new Expression.Negation(operand);
    }
    return operand;
  }

  private Expression comparison() {
    Expression first = sum();
    List<String> signs = new ArrayList<>();
    List<Expression> others = new ArrayList<>();
    while (true) {
      bound(signs.size());
      Token next = tokens.peek();
      if (next.kind() == Kind.OPERATOR && COMPARISONS.contains(next.text())) {
        signs.add(tokens.next().text());
      } else if (tokens.skipName("in")) {
        signs.add("in");
      } else if (next.isName("not") && tokens.peekSecond().isName("in")) {
        tokens.next();
        tokens.next();
        signs.add("not in");
      } else {
        return signs.isEmpty() ? first : new Expression.Comparison(first, signs, others);
      }
      others.add(sum());
    }
  }

  private Expression sum() {
    Expression left = concatenation();
    for (int i = 0; tokens.peek().isOperator("+") || tokens.peek().isOperator("-"); i++) {
      bound(i);
      left = new Expression.Binary(tokens.next().text(), left, concatenation());
    }
    return left;
  }

  private Expression concatenation() {
    List<Expression> parts = new ArrayList<>();
    do {
      bound(parts.size());
      parts.add(product());
    } while (tokens.skipOperator("~"));
    return parts.size() == 1 ? parts.get(0) : new Expression.Concatenation(parts);
  }

  private Expression product() {
    Expression left = power();
    for (int i = 0;
        tokens.peek().isOperator("*")
            || tokens.peek().isOperator("/")
            || tokens.peek().isOperator("//")
            || tokens.peek().isOperator("%");
        i++) {
      bound(i);
      left = new Expression.Binary(tokens.next().text(), left, power());
    }
    return left;
  }

  private Expression power() {
    Expression left = unary(true);
    for (int i = 0; tokens.skipOperator("**"); i++) {
      bound(i);
      left = new Expression.Binary("**", left, unary(true));
    }
    return left;
  }

  private Expression unary(boolean withFilters) {
    Expression node;
    if (tokens.peek().isOperator("-") || tokens.peek().isOperator("+")) {
      if (++nesting > MAX_NESTING) {
        throw tokens.failure("expressions nested deeper than " + MAX_NESTING);
      }
      String sign = tokens.next().text();
      node = new Expression.Unary(sign, unary(false));
      nesting--;
    } else {
      node = primary();
    }
    node = postfix(node);
    return withFilters ? filters(node) : node;
  }

  private Expression primary() {
    Token token = tokens.next();
    switch (token.kind()) {
      case NAME:
        return switch (token.text()) {
          case "true", "True" -> new Expression.Constant(true);
          case "false", "False" -> new Expression.Constant(false);
          case "none", "None" -> new Expression.Constant(null);
          default -> name(token.text());
        };
      case STRING:
        StringBuilder text = new StringBuilder(token.text());
        while (tokens.peek().kind() == Kind.STRING) {
          text.append(tokens.next().text());
        }
        return new Expression.Constant(text.toString());
      case INTEGER:
        return new Expression.Constant(integer(token));
      case FLOAT:
        return new Expression.Constant(Double.parseDouble(token.text()));
      case OPERATOR:
        if (token.text().equals("(")) {
          nest();
          Expression inner = tuple(true, true, false);
          tokens.expectOperator(")");
          nesting--;
          return inner;
        } else if (token.text().equals("[")) {
          return list();
        } else if (token.text().equals("{")) {
          return dict();
        }
        break;
      default:
        break;
    }
    throw new TemplateSyntaxException(
        "unexpected " + token.describe() + " (expected: an expression)", token.line());
  }

  private void nest() {
    if (++nesting > MAX_NESTING) {
      throw tokens.failure("expressions nested deeper than " + MAX_NESTING);
    }
  }

  private Expression name(String name) {
    if (!watches.isEmpty()) {
      watches.peek().add(name);
    }
    return new Expression.Name(name);
  }

  private static Object integer(Token token) {
    String text = token.text().replace("_", "");
    try {
      if (text.length() > 1 && text.charAt(0) == '0' && Character.isLetter(text.charAt(1))) {
        int radix =
            switch (text.toLowerCase(Locale.ROOT).charAt(1)) {
              case 'x' -> 16;
              case 'o' -> 8;
              default -> 2;
            };
        return Values.fromBig(new BigInteger(text.substring(2), radix));
      }
      return Values.fromBig(new BigInteger(text));
    } catch (NumberFormatException | TemplateRuntimeException e) {
      throw new TemplateSyntaxException("malformed number '" + token.text() + "'", token.line());
    }
  }

  private Expression list() {
    List<Expression> elements = new ArrayList<>();
    while (!tokens.peek().isOperator("]")) {
      elements.add(expression());
      if (!tokens.peek().isOperator("]")) {
        tokens.expectOperator(",");
      }
    }
    tokens.next();
    return new Expression.Sequence(elements, false);
  }

  private Expression dict() {
    List<Expression> keys = new ArrayList<>();
    List<Expression> values = new ArrayList<>();
    while (!tokens.peek().isOperator("}")) {
      keys.add(expression());
      tokens.expectOperator(":");
      values.add(expression());
      if (!tokens.peek().isOperator("}")) {
        tokens.expectOperator(",");
      }
    }
    tokens.next();
    return new Expression.Dict(keys, values);
  }

  private Expression postfix(Expression start) {
    Expression node = start;
    for (int i = 0; ; i++) {
      bound(i);
      if (tokens.skipOperator(".")) {
        node = afterDot(node);
      } else if (tokens.skipOperator("[")) {
        node = new Expression.Subscript(node, subscript());
        tokens.expectOperator("]");
      } else if (tokens.peek().isOperator("(")) {
        node = new Expression.Call(node, arguments());
      } else {
        return node;
      }
    }
  }

  private Expression afterDot(Expression node) {
    Token token = tokens.next();
    if (token.kind() == Kind.NAME) {
      return new Expression.Attribute(node, token.text());
    } else if (token.kind() == Kind.INTEGER) {
      return new Expression.Subscript(node, new Expression.Constant(integer(token)));
    }
    throw new TemplateSyntaxException(
        "unexpected " + token.describe() + " (expected: a name or a number)", token.line());
  }

  private Expression subscript() {
    List<Expression> parts = new ArrayList<>();
    do {
      parts.add(subscriptPart());
    } while (tokens.skipOperator(",") && !tokens.peek().isOperator("]"));
    return parts.size() == 1 ? parts.get(0) : new Expression.Sequence(parts, true);
  }

  private Expression subscriptPart() {
    Expression start = null;
    if (!tokens.peek().isOperator(":")) {
      start = expression();
      if (!tokens.peek().isOperator(":")) {
        return start;
      }
    }
    tokens.next();
    Expression stop = slicePart();
    Expression step = tokens.skipOperator(":") ? slicePart() : null;
    return new Expression.SliceLiteral(start, stop, step);
  }

  private @Nullable Expression slicePart() {
    Token next = tokens.peek();
    return next.isOperator(":") || next.isOperator("]") || next.isOperator(",")
        ? null
        : expression();
  }

  private Expression.Arguments arguments() {
    Token open = tokens.peek();
    tokens.expectOperator("(");
    List<Expression> positional = new ArrayList<>();
    Map<String, Expression> named = new LinkedHashMap<>();
    Expression spread = null;
    Expression namedSpread = null;
    while (!tokens.skipOperator(")")) {
      if (tokens.skipOperator("*")) {
        check(spread == null && namedSpread == null, open);
        spread = expression();
      } else if (tokens.skipOperator("**")) {
        check(namedSpread == null, open);
        namedSpread = expression();
      } else if (tokens.peek().kind() == Kind.NAME && tokens.peekSecond().isOperator("=")) {
        check(namedSpread == null, open);
        String name = tokens.next().text();
        tokens.next();
        check(!named.containsKey(name), open);
        named.put(name, expression());
      } else {
        check(spread == null && namedSpread == null && named.isEmpty(), open);
        positional.add(expression());
      }
      if (!tokens.peek().isOperator(")")) {
        tokens.expectOperator(",");
      }
    }
    return new Expression.Arguments(positional, named, spread, namedSpread);
  }

  private static void check(boolean condition, Token open) {
    if (!condition) {
      throw new TemplateSyntaxException("invalid arguments of a call", open.line());
    }
  }

  private Expression filters(Expression start) {
    Expression node = start;
    for (int i = 0; ; i++) {
      bound(i);
      if (tokens.skipOperator("|")) {
        node = filter(node);
      } else if (tokens.skipName("is")) {
        node = test(node);
      } else if (tokens.peek().isOperator("(")) {
        node = new Expression.Call(node, arguments());
      } else {
        return node;
      }
    }
  }

  /** Filters of a block: {@code upper|trim}, or {@code |upper} after what a set names. */
  Chain filterChain(boolean inline) {
    record Step(String name, Expression.Arguments arguments) {}

    List<Step> steps = new ArrayList<>();
    boolean first = inline;
    while (first || tokens.skipOperator("|")) {
      first = false;
      bound(steps.size());
      String name = dottedName();
      steps.add(
          new Step(name, tokens.peek().isOperator("(") ? arguments() : Expression.Arguments.NONE));
    }
    return input -> {
      Expression node = input;
      for (Step step : steps) {
        node = new Expression.Filter(node, step.name(), step.arguments());
      }
      return node;
    };
  }

  private Expression filter(Expression input) {
    String name = dottedName();
    return new Expression.Filter(
        input, name, tokens.peek().isOperator("(") ? arguments() : Expression.Arguments.NONE);
  }

  private String dottedName() {
    StringBuilder name = new StringBuilder(tokens.expect(Kind.NAME).text());
    while (tokens.skipOperator(".")) {
      name.append('.').append(tokens.expect(Kind.NAME).text());
    }
    return name.toString();
  }

  private Expression test(Expression input) {
    boolean negated = tokens.skipName("not");
    String name = dottedName();
    Expression.Arguments arguments = Expression.Arguments.NONE;
    Token next = tokens.peek();
    if (next.isOperator("(")) {
      arguments = arguments();
    } else if (next.kind() == Kind.NAME
        || next.kind() == Kind.STRING
        || next.kind() == Kind.INTEGER
        || next.kind() == Kind.FLOAT
        || next.isOperator("[")
        || next.isOperator("{")) {
      if (next.isName("is")) {
        throw tokens.failure("tests cannot be chained with is");
      }
      if (!next.isName("else") && !next.isName("or") && !next.isName("and")) {
        arguments = new Expression.Arguments(List.of(postfix(primary())), Map.of(), null, null);
      }
    }
    Expression node = new Expression.Test(input, name, arguments);
    return negated ? new Expression.Negation(node) : node;
  }
}
