package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Adds forms to an automaton. Each part only adds edges out of the state it begins at and into the
 * state it ends at, so parts may share both.
 */
final class NfaBuilder {
  private final TokenTable tokens;
  private final CompileBudget budget;
  private final Map<CodePoints, CharSpelling> plain = new HashMap<>();
  private final Map<CodePoints, CharSpelling> json = new HashMap<>();

  NfaBuilder(TokenTable tokens, CompileBudget budget) {
    this.tokens = tokens;
    this.budget = budget;
  }

  /** The automaton of a form: state 0 begins, state 1 ends. */
  Nfa build(Form form) {
    return build(form, false);
  }

  private Nfa build(Form form, boolean inString) {
    Nfa nfa = new Nfa(budget);
    int from = nfa.newState();
    int to = nfa.newState();
    add(nfa, form, from, to, inString);
    return nfa;
  }

  private void add(Nfa nfa, Form form, int from, int to, boolean inString) {
    if (form instanceof Form.Literal literal) {
      addLiteral(nfa, literal.text(), from, to, inString);
    } else if (form instanceof Form.Chars chars) {
      addChars(nfa, chars.set(), from, to, inString);
    } else if (form instanceof Form.Sequence sequence) {
      addSequence(nfa, sequence.parts(), from, to, inString);
    } else if (form instanceof Form.Choice choice) {
      for (Form option : choice.options()) {
        add(nfa, option, from, to, inString);
      }
    } else if (form instanceof Form.Repeat repeat) {
      addRepeat(nfa, repeat, from, to, inString);
    } else if (form instanceof Form.Call call) {
      nfa.call(from, call.rule(), to);
    } else if (form instanceof Form.Quoted quoted) {
      int begun = nfa.newState();
      int ended = nfa.newState();
      nfa.bytes(from, '"', '"', begun);
      add(nfa, quoted.body(), begun, ended, true);
      nfa.bytes(ended, '"', '"', to);
    } else if (form instanceof Form.Both both) {
      addBoth(nfa, both, from, to, inString);
    } else if (form instanceof Form.Multiple multiple) {
      addMultiple(nfa, multiple.of(), from, to);
    } else if (form instanceof Form.Members members) {
      addMembers(nfa, members.members(), from, to);
    } else {
      throw new IllegalStateException("form: " + form + " (expected: none; a defect of Sluice)");
    }
  }

  private void addLiteral(Nfa nfa, String text, int from, int to, boolean inString) {
    StringBuilder spelled = new StringBuilder();
    text.codePoints()
        .forEach(
            c -> {
              if (inString) {
                spelled.append(CharSpelling.jsonEscape(c));
              } else {
                spelled.appendCodePoint(c);
              }
            });
    byte[] bytes = spelled.toString().getBytes(StandardCharsets.UTF_8);
    int state = from;
    for (byte value : bytes) {
      int b = value & 0xFF;
      if (!tokens.isSpellable(b)) {
        throw new InvalidRequestException(
            String.format(
                "responseFormat: \"%s\" needs the byte 0x%02X (expected: text that the model's"
                    + " vocabulary can spell; it has no token for that byte)",
                text, b));
      }
      int next = nfa.newState();
      nfa.bytes(state, b, b, next);
      state = next;
    }
    nfa.nothing(state, to);
  }

  private void addChars(Nfa nfa, CodePoints set, int from, int to, boolean inString) {
    CharSpelling spelling =
        inString
            ? json.computeIfAbsent(set, CharSpelling::json)
            : plain.computeIfAbsent(set, CharSpelling::plain);
    int base = nfa.states() - 2;
    for (int place = 2; place < spelling.size(); place++) {
      nfa.newState();
    }
    for (int[] edge : spelling.edges) {
      nfa.bytes(
          edge[0] == 0 ? from : base + edge[0],
          edge[1],
          edge[2],
          edge[3] == 1 ? to : base + edge[3]);
    }
  }

  private void addSequence(Nfa nfa, List<Form> parts, int from, int to, boolean inString) {
    int state = from;
    for (Form part : parts) {
      int next = nfa.newState();
      add(nfa, part, state, next, inString);
      state = next;
    }
    nfa.nothing(state, to);
  }

  private void addRepeat(Nfa nfa, Form.Repeat repeat, int from, int to, boolean inString) {
    int state = from;
    for (int i = 0; i < repeat.min(); i++) {
      int next = nfa.newState();
      add(nfa, repeat.body(), state, next, inString);
      state = next;
    }
    if (repeat.max() < 0) {
      int loop = nfa.newState();
      int again = nfa.newState();
      nfa.nothing(state, loop);
      add(nfa, repeat.body(), loop, again, inString);
      nfa.nothing(again, loop);
      nfa.nothing(loop, to);
      return;
    }
    for (int i = repeat.min(); i < repeat.max(); i++) {
      nfa.nothing(state, to);
      int next = nfa.newState();
      add(nfa, repeat.body(), state, next, inString);
      state = next;
    }
    nfa.nothing(state, to);
  }

  /** The product of the two automata, made deterministic first. */
  private void addBoth(Nfa nfa, Form.Both both, int from, int to, boolean inString) {
    Nfa first = build(both.first(), inString);
    Nfa second = build(both.second(), inString);
    boolean[] begins = new boolean[257];
    first.markBoundaries(begins);
    second.markBoundaries(begins);
    ByteClasses classes = new ByteClasses(begins, tokens);
    Dfa product =
        Dfa.of(first, classes, budget).and(Dfa.of(second, classes, budget), classes, budget);
    int base = nfa.states();
    for (int state = 0; state < product.states(); state++) {
      nfa.newState();
    }
    nfa.nothing(from, base);
    for (int state = 0; state < product.states(); state++) {
      for (int c = 0; c < classes.count(); c++) {
        int next = product.next(state, c);
        if (next >= 0) {
          nfa.bytes(base + state, classes.low(c), classes.high(c), base + next);
        }
      }
      if (product.isAccepting(state)) {
        nfa.nothing(base + state, to);
      }
    }
  }

  /** One place for each remainder. */
  private void addMultiple(Nfa nfa, int of, int from, int to) {
    int base = nfa.states();
    for (int remainder = 0; remainder < of; remainder++) {
      nfa.newState();
    }
    int signed = nfa.newState();
    nfa.nothing(from, signed);
    nfa.bytes(from, '-', '-', signed);
    for (int digit = 0; digit <= 9; digit++) {
      nfa.bytes(signed, '0' + digit, '0' + digit, base + digit % of);
      for (int remainder = 0; remainder < of; remainder++) {
        int next = (remainder * 10 + digit) % of;
        nfa.bytes(base + remainder, '0' + digit, '0' + digit, base + next);
      }
    }
    nfa.nothing(base, to);
  }

  /** Two rows of places: before member i with none so far, and with one so far. */
  private void addMembers(Nfa nfa, List<Form.Member> members, int from, int to) {
    int none = from;
    int some = nfa.newState();
    for (Form.Member member : members) {
      int begun = nfa.newState();
      int nextSome = nfa.newState();
      int comma = nfa.newState();
      if (none >= 0) {
        nfa.nothing(none, begun);
      }
      nfa.bytes(some, ',', ',', comma);
      nfa.nothing(comma, begun);
      nfa.bytes(comma, ' ', ' ', begun);
      add(nfa, member.text(), begun, nextSome, false);
      if (member.required()) {
        none = -1;
      } else {
        nfa.nothing(some, nextSome);
        if (none >= 0) {
          int nextNone = nfa.newState();
          nfa.nothing(none, nextNone);
          none = nextNone;
        }
      }
      some = nextSome;
    }
    if (none >= 0) {
      nfa.nothing(none, to);
    }
    nfa.nothing(some, to);
  }
}
