/** Files of OpenAI batch lines, answered line by line into a file that a later run continues. */
package ai.sluice.openai.batch;
