package ai.sluice.core;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.Numerics;
import ai.sluice.proto.EngineOptions;
import ai.sluice.proto.ModelSpec;
import java.util.List;

/**
 * Engine options with every automatic choice made, once and for all.
 *
 * @param backend CPU or CUDA
 * @param devices the device index of each rank; not copied
 * @param dtype FLOAT32 or BFLOAT16
 * @param numerics as asked
 * @param threads threads that compute
 * @param maxContextLength longest sequence
 * @param maxSequences most running sequences
 * @param maxStepTokens most tokens of a step
 * @param blockSize tokens per KV block
 * @param numBlocks KV blocks of each group; not copied
 * @param maxTopN most likeliest tokens per row
 * @param spec the model, with the dynamic RoPE variants that the options call for
 * @param message the options as they cross the native border
 * @param memory what it all needs
 * @param notes what was decided that a user may want to know
 */
record ResolvedOptions(
    Backend backend,
    int[] devices,
    ComputeDtype dtype,
    Numerics numerics,
    int threads,
    int maxContextLength,
    int maxSequences,
    int maxStepTokens,
    int blockSize,
    int[] numBlocks,
    int maxTopN,
    ModelSpec spec,
    EngineOptions message,
    MemoryPlan memory,
    List<String> notes) {}
