package ai.sluice.text.grammar;

import java.util.ArrayList;
import java.util.List;

/** The rules of one grammar while it is read: rule 0 is the whole text. */
final class Rules {
  /** What a rule describes, and what it is called in messages. */
  private static final class Rule {
    final String name;
    Form form = Form.EMPTY;

    Rule(String name) {
      this.name = name;
    }
  }

  private final List<Rule> rules = new ArrayList<>();

  /** Begins a rule, so that others can call it before its form is known. */
  int declare(String name) {
    rules.add(new Rule(name));
    return rules.size() - 1;
  }

  void define(int rule, Form form) {
    rules.get(rule).form = form;
  }

  int add(String name, Form form) {
    int rule = declare(name);
    define(rule, form);
    return rule;
  }

  int size() {
    return rules.size();
  }

  String name(int rule) {
    return rules.get(rule).name;
  }

  Form form(int rule) {
    return rules.get(rule).form;
  }
}
