/** What models say, told apart: answer, reasoning and calls of tools. For the engine's own use. */
@org.jspecify.annotations.NullMarked
package ai.sluice.text.output;
