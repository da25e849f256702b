/**
 * Structured output: JSON schemas and regular expressions compiled to automata over bytes, and from
 * these to the tokens that a model may choose next. docs/structured-output.md says what is
 * supported.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.text.grammar;
