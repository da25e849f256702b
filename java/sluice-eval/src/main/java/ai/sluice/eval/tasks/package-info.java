/** The tasks that come with the library, one class each. */
package ai.sluice.eval.tasks;
