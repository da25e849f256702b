package ai.sluice.text.jinja;

import ai.sluice.text.jinja.Token.Kind;
import java.util.List;

/** Tokens read one by one. */
final class TokenStream {
  private final List<Token> tokens;
  private int position;

  TokenStream(List<Token> tokens) {
    this.tokens = tokens;
  }

  Token peek() {
    return tokens.get(position);
  }

  Token peekSecond() {
    return tokens.get(Math.min(position + 1, tokens.size() - 1));
  }

  Token next() {
    Token token = tokens.get(position);
    if (position < tokens.size() - 1) {
      position++;
    }
    return token;
  }

  boolean skipOperator(String operator) {
    if (!peek().isOperator(operator)) {
      return false;
    }
    next();
    return true;
  }

  boolean skipName(String name) {
    if (!peek().isName(name)) {
      return false;
    }
    next();
    return true;
  }

  void expectOperator(String operator) {
    if (!skipOperator(operator)) {
      throw failure("unexpected " + peek().describe() + " (expected: '" + operator + "')");
    }
  }

  void expectName(String name) {
    if (!skipName(name)) {
      throw failure("unexpected " + peek().describe() + " (expected: '" + name + "')");
    }
  }

  Token expect(Kind kind) {
    if (peek().kind() != kind) {
      throw failure(
          "unexpected "
              + peek().describe()
              + " (expected: "
              + new Token(kind, kind == Kind.NAME ? "a name" : "", 0).describe()
              + ")");
    }
    return next();
  }

  TemplateSyntaxException failure(String problem) {
    return new TemplateSyntaxException(problem, peek().line());
  }
}
