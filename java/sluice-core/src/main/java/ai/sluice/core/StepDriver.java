package ai.sluice.core;

import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_RESET_SEQ;

import ai.sluice.api.OutOfDeviceMemoryException;
import ai.sluice.core.scheduler.RopeFrequencies;
import ai.sluice.core.scheduler.StepMessage;
import ai.sluice.proto.KernelChoice;
import ai.sluice.proto.TraceReplay;
import ai.sluice.proto.TraceRequest;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Writes steps by hand, for looking inside a model: sequence {@code s} has seq_slot {@code s} and a
 * fixed range of blocks. Nothing else may run on the engine. Not thread-safe.
 */
final class StepDriver {
  private final LoadedModel model;
  private final StepMessage message;
  private final int blockSize;
  private final int blocksPerSequence;
  private final int kvGroups;
  private final int[] numComputed;
  private final boolean[] reset;
  private long lastStepId;
  private List<KernelChoice> kernels = List.of();

  StepDriver(LoadedModel model) {
    this.model = model;
    message = model.message(0);
    ResolvedOptions options = model.options();
    blockSize = options.blockSize();
    blocksPerSequence = (options.maxContextLength() + blockSize - 1) / blockSize;
    kvGroups = options.numBlocks().length;
    numComputed = new int[options.maxSequences()];
    reset = new boolean[options.maxSequences()];
    if (Arrays.stream(options.numBlocks()).min().orElseThrow()
        < blocksPerSequence * numComputed.length) {
      throw new OutOfDeviceMemoryException(
          "memory: the KV cache holds fewer than " + numComputed.length + " sequences of "
              + options.maxContextLength() + " tokens (remedy: free memory, or a larger"
              + " kvCacheBytes)",
          options.memory().kvBytesPerToken() * options.maxContextLength() * numComputed.length,
          options.memory().freeBytes());
    }
    Arrays.fill(reset, true);
  }

  /** The last step that ran. */
  long lastStepId() {
    return lastStepId;
  }

  /** The kernels that the last traced step ran. */
  List<KernelChoice> kernels() {
    return kernels;
  }

  /** Forgets a sequence; its next tokens start at position 0. */
  void reset(int sequence) {
    reset[sequence] = true;
    numComputed[sequence] = 0;
  }

  /** Starts a step. */
  void begin() {
    message.begin();
  }

  /**
   * Adds the next tokens {@code [begin, end)} of a sequence whose whole prompt is {@code tokens}.
   */
  void add(int sequence, int[] tokens, int begin, int end) {
    if (begin != numComputed[sequence]) {
      throw new IllegalArgumentException(
          "begin: " + begin + " (expected: " + numComputed[sequence] + ")");
    }
    List<RopeFrequencies> ropes = model.ropes(tokens.length);
    message.addSequence(sequence, end);
    for (RopeFrequencies rope : ropes) {
      message.setRopeVariant(rope.rope(), rope.firstVariant() + sequence);
    }
    if (reset[sequence]) {
      message.addStateOp(SLUICE_STATE_OP_RESET_SEQ, 0, 0, sequence);
      for (RopeFrequencies rope : ropes) {
        message.addRopeUpdate(
            rope.rope(), rope.firstVariant() + sequence, rope.invFreq(), rope.attentionScale());
      }
      reset[sequence] = false;
    }
    for (int position = begin; position < end; position++) {
      int block = sequence * blocksPerSequence + position / blockSize;
      boolean first = position % blockSize == 0;
      message.addToken(tokens[position], position);
      for (int g = 0; g < kvGroups; g++) {
        if (first) {
          message.addBlockUpdate(sequence, g, position / blockSize, block);
        }
        message.setKvSlot(g, block * blockSize + position % blockSize);
      }
    }
    numComputed[sequence] = end;
  }

  /** Runs the step and gives the named tensors of its tokens. */
  Map<String, TracedTensor> trace(List<String> names) {
    return trace(names, List.of());
  }

  /** Runs the step with some decisions given instead of made. */
  Map<String, TracedTensor> trace(List<String> names, List<TraceReplay> replays) {
    message.end(lastStepId + 1);
    TraceRequest request =
        TraceRequest.newBuilder().addAllNames(names).addAllReplay(replays).build();
    ByteBuffer trace = model.engine().trace(0, request.toByteArray());
    lastStepId++;
    kernels = TracedTensor.kernels(trace);
    return TracedTensor.read(trace);
  }
}
