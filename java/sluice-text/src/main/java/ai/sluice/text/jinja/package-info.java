/** The Jinja dialect that chat templates are written in: lexer, parser and a limited evaluator. */
@org.jspecify.annotations.NullMarked
package ai.sluice.text.jinja;
