/**
 * Text in and out of a model: tokenizers from {@code tokenizer.json} or GGUF vocabularies,
 * incremental decoding that never splits a character, and chat templates.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.text;
