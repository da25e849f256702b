/**
 * Bodies of OpenAI's API: requests are read strictly, every key is honoured, ignored because it
 * changes no answer, or refused by name; results become response bodies.
 */
package ai.sluice.openai;
