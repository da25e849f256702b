package ai.sluice.core;

import ai.sluice.proto.Format;
import ai.sluice.proto.KernelChoice;
import ai.sluice.proto.TraceResult;
import ai.sluice.proto.TraceTensor;
import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A tensor of a traced step, as floats, row major; whole numbers are exact up to 2^24.
 *
 * @param shape first the tokens of the step
 * @param values not copied
 */
record TracedTensor(List<Integer> shape, float[] values) {
  private static final int ALIGNMENT = 64;

  TracedTensor {
    shape = List.copyOf(shape);
  }

  /** Tokens of the step. */
  int rows() {
    return shape.get(0);
  }

  /** Values of a token. */
  int columns() {
    return rows() == 0 ? 0 : values.length / rows();
  }

  /** One dimension of the shape. */
  int dimension(int index) {
    return shape.get(index);
  }

  /** Reads the tensors of a trace, by name: F32, I32 or U8. */
  static Map<String, TracedTensor> read(ByteBuffer trace) {
    int length = Math.toIntExact(trace.getLong(0));
    TraceResult result = directory(trace);
    int data = (8 + length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    Map<String, TracedTensor> tensors = new HashMap<>();
    for (TraceTensor tensor : result.getTensorsList()) {
      ByteBuffer bytes =
          trace
              .slice(
                  Math.toIntExact(data + tensor.getOffset()), Math.toIntExact(tensor.getBytes()))
              .order(ByteOrder.LITTLE_ENDIAN);
      List<Integer> shape = tensor.getShapeList().stream().map(Math::toIntExact).toList();
      tensors.put(tensor.getName(), new TracedTensor(shape, floats(tensor, bytes)));
    }
    return tensors;
  }

  /** The kernels that ran in the step of a trace. */
  static List<KernelChoice> kernels(ByteBuffer trace) {
    return directory(trace).getKernelsList();
  }

  private static TraceResult directory(ByteBuffer trace) {
    try {
      return TraceResult.parseFrom(trace.slice(8, Math.toIntExact(trace.getLong(0))));
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("TraceResult: not readable (a defect of Sluice)", e);
    }
  }

  private static float[] floats(TraceTensor tensor, ByteBuffer bytes) {
    int width = tensor.getFormat() == Format.U8 ? 1 : 4;
    float[] values = new float[bytes.remaining() / width];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (tensor.getFormat()) {
            case F32 -> bytes.getFloat(4 * i);
            case I32 -> bytes.getInt(4 * i);
            case U8 -> bytes.get(i) & 0xFF;
            default ->
                throw new IllegalStateException(
                    "trace: " + tensor.getName() + ": " + tensor.getFormat()
                        + " (expected: F32, I32 or U8)");
          };
    }
    return values;
  }
}
