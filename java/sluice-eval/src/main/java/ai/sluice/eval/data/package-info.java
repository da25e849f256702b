/** Data sets: where they come from, under which licence, and how they are fetched. */
package ai.sluice.eval.data;
