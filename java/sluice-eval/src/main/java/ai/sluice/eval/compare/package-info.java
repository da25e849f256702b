/** Runs held against each other: pairs with tests of their difference, tables, and trends. */
package ai.sluice.eval.compare;
