/** What a model costs: latencies, throughput, memory and energy, as a run's folder keeps them. */
package ai.sluice.eval.perf;
