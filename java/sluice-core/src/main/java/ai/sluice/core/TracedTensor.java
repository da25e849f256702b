package ai.sluice.core;

import ai.sluice.proto.Format;
import ai.sluice.proto.TraceResult;
import ai.sluice.proto.TraceTensor;
import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/**
 * A tensor of a traced step, as floats, row major.
 *
 * @param rows tokens of the step
 * @param columns values of a token
 * @param values not copied
 */
record TracedTensor(int rows, int columns, float[] values) {
  private static final int ALIGNMENT = 64;

  /** Reads the tensors of a trace, by name; all must be F32. */
  static Map<String, TracedTensor> read(ByteBuffer trace) {
    int length = Math.toIntExact(trace.getLong(0));
    TraceResult result;
    try {
      result = TraceResult.parseFrom(trace.slice(8, length));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("TraceResult: not readable (a defect of Sluice)", e);
    }
    int data = (8 + length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    Map<String, TracedTensor> tensors = new HashMap<>();
    for (TraceTensor tensor : result.getTensorsList()) {
      if (tensor.getFormat() != Format.F32) {
        throw new IllegalStateException(
            "trace: " + tensor.getName() + ": " + tensor.getFormat() + " (expected: F32)");
      }
      int bytes = Math.toIntExact(tensor.getBytes());
      float[] values = new float[bytes / Float.BYTES];
      trace
          .slice(Math.toIntExact(data + tensor.getOffset()), bytes)
          .order(ByteOrder.LITTLE_ENDIAN)
          .asFloatBuffer()
          .get(values);
      int rows = Math.toIntExact(tensor.getShape(0));
      tensors.put(
          tensor.getName(), new TracedTensor(rows, rows == 0 ? 0 : values.length / rows, values));
    }
    return tensors;
  }
}
