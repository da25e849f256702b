package ai.sluice.text.jinja;

import ai.sluice.text.jinja.Statement.Target;
import ai.sluice.text.jinja.Token.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Builds statements from tokens. Expressions are read by {@link ExpressionParser}. */
final class Parser {
  private static final int MAX_NESTING = 100;
  private static final Set<String> UNSUPPORTED =
      Set.of("extends", "block", "include", "import", "from", "autoescape", "do", "trans", "debug");

  private final TokenStream tokens;
  private final ExpressionParser expressions;
  private final Deque<String> openTags = new ArrayDeque<>();
  private int loops;

  /** The tag that ended the last block. */
  private String endTag = "";

  Parser(List<Token> tokens) {
    this.tokens = new TokenStream(tokens);
    this.expressions = new ExpressionParser(this.tokens);
  }

  List<Statement> parse() {
    return body(Set.of());
  }

  /** Statements up to a tag whose name is one of {@code ends}, of which the name is consumed. */
  private List<Statement> body(Set<String> ends) {
    if (openTags.size() > MAX_NESTING) {
      throw tokens.failure("blocks nested deeper than " + MAX_NESTING);
    }
    List<Statement> body = new ArrayList<>();
    while (true) {
      Token token = tokens.next();
      switch (token.kind()) {
        case DATA -> body.add(new Statement.Text(token.text(), token.line()));
        case OUTPUT_BEGIN -> {
          body.add(new Statement.Print(expressions.tuple(), token.line()));
          tokens.expect(Kind.OUTPUT_END);
        }
        case BLOCK_BEGIN -> {
          Token name = tokens.expect(Kind.NAME);
          if (ends.contains(name.text())) {
            endTag = name.text();
            return body;
          }
          Statement statement = statement(name);
          tokens.expect(Kind.BLOCK_END);
          body.add(statement);
        }
        case END -> {
          if (!ends.isEmpty()) {
            throw tokens.failure(
                "the end of the template within '"
                    + openTags.peek()
                    + "' (expected: "
                    + String.join(" or ", ends)
                    + ")");
          }
          return body;
        }
        default -> throw tokens.failure("unexpected " + token.describe());
      }
    }
  }

  /** A body after the end of the current tag. */
  private List<Statement> block(String tag, String... ends) {
    tokens.expect(Kind.BLOCK_END);
    openTags.push(tag);
    List<Statement> body = body(Set.of(ends));
    openTags.pop();
    return body;
  }

  private Statement statement(Token name) {
    int line = name.line();
    switch (name.text()) {
      case "if":
        return conditional(line);
      case "for":
        return loop(line);
      case "set":
        return assignment(line);
      case "macro":
        return macro(line);
      case "call":
        return callBlock(line);
      case "with":
        return with(line);
      case "filter":
        return filterBlock(line);
      case "generation":
        return new Statement.With(Map.of(), block("generation", "endgeneration"), line);
      case "break", "continue":
        if (loops == 0) {
          throw tokens.failure("'" + name.text() + "' outside of a loop");
        }
        return new Statement.Jump(
            name.text().equals("break") ? Statement.Flow.BREAK : Statement.Flow.CONTINUE, line);
      default:
        if (UNSUPPORTED.contains(name.text())) {
          throw tokens.failure("tag '" + name.text() + "' is not supported in chat templates");
        }
        throw tokens.failure(
            "unknown tag '"
                + name.text()
                + "'"
                + (openTags.isEmpty() ? "" : " within '" + openTags.peek() + "'"));
    }
  }

  private Statement conditional(int line) {
    List<Expression> conditions = new ArrayList<>();
    List<List<Statement>> bodies = new ArrayList<>();
    List<Statement> otherwise = List.of();
    do {
      conditions.add(expressions.tupleWithoutCondition());
      bodies.add(block("if", "elif", "else", "endif"));
    } while (endTag.equals("elif"));
    if (endTag.equals("else")) {
      otherwise = block("if", "endif");
    }
    return new Statement.If(conditions, bodies, otherwise, line);
  }

  private Statement loop(int line) {
    Target target = target(false);
    tokens.expectName("in");
    Expression iterable = expressions.tupleUntilRecursive();
    Expression condition = tokens.skipName("if") ? expressions.expression() : null;
    boolean recursive = tokens.skipName("recursive");
    loops++;
    List<Statement> body = block("for", "else", "endfor");
    loops--;
    List<Statement> otherwise = endTag.equals("else") ? block("for", "endfor") : List.of();
    return new Statement.For(target, iterable, condition, body, otherwise, recursive, line);
  }

  private Statement assignment(int line) {
    Target target = target(true);
    if (tokens.skipOperator("=")) {
      return new Statement.Assign(target, expressions.tuple(), line);
    }
    ExpressionParser.Chain filters = expressions.filterChain(false);
    return new Statement.Assign(
        target, filters.over(new Statement.Captured(block("set", "endset"))), line);
  }

  private Statement filterBlock(int line) {
    ExpressionParser.Chain filters = expressions.filterChain(true);
    return new Statement.Print(
        filters.over(new Statement.Captured(block("filter", "endfilter"))), line);
  }

  private Statement macro(int line) {
    String name = tokens.expect(Kind.NAME).text();
    return new Statement.MacroDefinition(definition(name, "macro", "endmacro"), line);
  }

  private Statement callBlock(int line) {
    int loopsAround = loops;
    loops = 0;
    List<String> parameters = new ArrayList<>();
    List<Expression> defaults = new ArrayList<>();
    if (tokens.peek().isOperator("(")) {
      signature(parameters, defaults);
    }
    if (!(expressions.expression() instanceof Expression.Call call)) {
      throw tokens.failure("a call block without a call");
    }
    expressions.watch();
    List<Statement> body = block("call", "endcall");
    Set<String> used = expressions.watched();
    loops = loopsAround;
    return new Statement.CallBlock(
        call,
        new Macro.Definition(
            "caller",
            parameters,
            defaults,
            body,
            used.contains("caller"),
            used.contains("varargs"),
            used.contains("kwargs")),
        line);
  }

  private Macro.Definition definition(String name, String tag, String end) {
    int loopsAround = loops;
    loops = 0;
    List<String> parameters = new ArrayList<>();
    List<Expression> defaults = new ArrayList<>();
    signature(parameters, defaults);
    expressions.watch();
    List<Statement> body = block(tag, end);
    Set<String> used = expressions.watched();
    loops = loopsAround;
    return new Macro.Definition(
        name,
        parameters,
        defaults,
        body,
        used.contains("caller"),
        used.contains("varargs"),
        used.contains("kwargs"));
  }

  private void signature(List<String> parameters, List<Expression> defaults) {
    tokens.expectOperator("(");
    while (!tokens.skipOperator(")")) {
      if (!parameters.isEmpty()) {
        tokens.expectOperator(",");
      }
      parameters.add(tokens.expect(Kind.NAME).text());
      if (tokens.skipOperator("=")) {
        defaults.add(expressions.expression());
      } else if (!defaults.isEmpty()) {
        throw tokens.failure("a parameter without a default after one with a default");
      }
    }
  }

  private Statement with(int line) {
    Map<Target, Expression> variables = new LinkedHashMap<>();
    while (tokens.peek().kind() != Kind.BLOCK_END) {
      if (!variables.isEmpty()) {
        tokens.expectOperator(",");
      }
      Target target = target(false);
      tokens.expectOperator("=");
      variables.put(target, expressions.expression());
    }
    return new Statement.With(variables, block("with", "endwith"), line);
  }

  /** A name, an attribute of a namespace where that is allowed, or several. */
  private Target target(boolean withAttribute) {
    List<Target> parts = new ArrayList<>();
    boolean several = false;
    while (true) {
      if (!parts.isEmpty() && endsTarget()) {
        break;
      }
      parts.add(oneTarget(withAttribute));
      if (!tokens.skipOperator(",")) {
        break;
      }
      several = true;
    }
    return several ? new Target(null, null, List.copyOf(parts)) : parts.get(0);
  }

  private boolean endsTarget() {
    Token next = tokens.peek();
    return next.isName("in")
        || next.isOperator("=")
        || next.isOperator(")")
        || next.kind() == Kind.BLOCK_END;
  }

  private Target oneTarget(boolean withAttribute) {
    if (tokens.skipOperator("(")) {
      Target inner = target(withAttribute);
      tokens.expectOperator(")");
      return inner.name() == null ? inner : new Target(inner.name(), inner.attribute(), List.of());
    }
    Token name = tokens.expect(Kind.NAME);
    if (Set.of("true", "false", "none", "True", "False", "None").contains(name.text())) {
      throw tokens.failure("cannot assign to '" + name.text() + "'");
    }
    @Nullable String attribute = null;
    if (withAttribute && tokens.skipOperator(".")) {
      attribute = tokens.expect(Kind.NAME).text();
    }
    return new Target(name.text(), attribute, List.of());
  }
}
