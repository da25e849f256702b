/**
 * What a run leaves behind: a folder with a manifest and a line for each item, from which all else
 * (results, samples, report) is derived.
 */
package ai.sluice.eval.run;
