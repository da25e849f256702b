package ai.sluice.cli;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options that say how a model runs, whatever is done with it. */
final class RunArguments {
  @Option(
      names = "--backend",
      paramLabel = "WHERE",
      description = "Run on cuda, on cpu, or auto: cuda where it can. Default: auto.")
  @Nullable Backend backend;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "Arithmetic in auto, float32 or bfloat16.")
  @Nullable ComputeDtype dtype;

  @Option(names = "--threads", paramLabel = "N", description = "Threads; default: one per core.")
  @Nullable Integer threads;

  @Option(
      names = "--tensor-parallel-size",
      paramLabel = "N",
      description = "Ranks that share every layer; default: 1.")
  @Nullable Integer tensorParallelSize;

  @Option(
      names = "--numerics",
      paramLabel = "MODE",
      description = "fast, or batch-invariant: bit-equal however work is scheduled.")
  @Nullable Numerics numerics;

  @Option(
      names = "--cublaslt-path",
      paramLabel = "PATH",
      description = "File or folder of cuBLASLt for cuda; default: where the system has it.")
  @Nullable Path cublasLtPath;

  @Option(names = "--no-prefix-cache", description = "Compute every prompt from its beginning.")
  boolean noPrefixCache;

  @Option(
      names = "--draft-tokens",
      paramLabel = "N",
      description = {
        "Guess up to N tokens ahead from what was said before, and check them in one step;",
        "no answer changes. Default: 0, none."
      })
  @Nullable Integer draftTokens;

  /**
   * Engine options without the model.
   *
   * @throws InvalidRequestException if a value is out of range; the message names the option
   */
  EngineOptions.Builder builder() {
    EngineOptions.Builder builder = EngineOptions.builder();
    Values.give("--backend", backend, builder::backend);
    Values.give("--dtype", dtype, builder::dtype);
    Values.give("--threads", threads, builder::threads);
    Values.give("--tensor-parallel-size", tensorParallelSize, builder::tensorParallelSize);
    Values.give("--numerics", numerics, builder::numerics);
    Values.give("--draft-tokens", draftTokens, builder::maxDraftTokens);
    return builder.prefixCache(!noPrefixCache).cublasLtPath(cublasLtPath);
  }
}
