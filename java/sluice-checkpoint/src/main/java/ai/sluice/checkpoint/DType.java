package ai.sluice.checkpoint;

import static com.google.common.collect.ImmutableMap.toImmutableMap;

import com.google.common.collect.ImmutableMap;
import com.google.common.math.LongMath;
import java.util.Arrays;
import java.util.Optional;

/**
 * How a tensor's values are stored in a checkpoint file. A dtype stores {@link #blockElements()}
 * values in {@link #blockBytes()} bytes; plain dtypes have blocks of one value.
 */
public enum DType {
  /** Truth values, one byte each. */
  BOOL("BOOL", -1, 1, 1),
  /** 4-bit floating point, two values a byte. */
  F4("F4", -1, 2, 1),
  /** 6-bit floating point, 2 exponent bits. */
  F6_E2M3("F6_E2M3", -1, 4, 3),
  /** 6-bit floating point, 3 exponent bits. */
  F6_E3M2("F6_E3M2", -1, 4, 3),
  /** Unsigned bytes. */
  U8("U8", -1, 1, 1),
  /** Signed bytes. */
  I8("I8", 24, 1, 1),
  /** 8-bit floating point, 5 exponent bits. */
  F8_E5M2("F8_E5M2", -1, 1, 1),
  /** 8-bit floating point, 4 exponent bits. */
  F8_E4M3("F8_E4M3", -1, 1, 1),
  /** Powers of two. */
  F8_E8M0("F8_E8M0", -1, 1, 1),
  /** 8-bit floating point, 4 exponent bits, no infinity, no negative zero. */
  F8_E4M3FNUZ("F8_E4M3FNUZ", -1, 1, 1),
  /** 8-bit floating point, 5 exponent bits, no infinity, no negative zero. */
  F8_E5M2FNUZ("F8_E5M2FNUZ", -1, 1, 1),
  /** Signed 16-bit integers. */
  I16("I16", 25, 1, 2),
  /** Unsigned 16-bit integers. */
  U16("U16", -1, 1, 2),
  /** IEEE half precision. */
  F16("F16", 1, 1, 2),
  /** The upper half of a float. */
  BF16("BF16", 30, 1, 2),
  /** Signed 32-bit integers. */
  I32("I32", 26, 1, 4),
  /** Unsigned 32-bit integers. */
  U32("U32", -1, 1, 4),
  /** IEEE single precision. */
  F32("F32", 0, 1, 4),
  /** Complex numbers of two floats. */
  C64("C64", -1, 1, 8),
  /** IEEE double precision. */
  F64("F64", 28, 1, 8),
  /** Signed 64-bit integers. */
  I64("I64", 27, 1, 8),
  /** Unsigned 64-bit integers. */
  U64("U64", -1, 1, 8),
  /** GGUF blocks of 32, 4 bits, scale. */
  Q4_0("Q4_0", 2, 32, 18),
  /** GGUF blocks of 32, 4 bits, scale and minimum. */
  Q4_1("Q4_1", 3, 32, 20),
  /** GGUF blocks of 32, 5 bits, scale. */
  Q5_0("Q5_0", 6, 32, 22),
  /** GGUF blocks of 32, 5 bits, scale and minimum. */
  Q5_1("Q5_1", 7, 32, 24),
  /** GGUF blocks of 32, 8 bits, scale. */
  Q8_0("Q8_0", 8, 32, 34),
  /** GGUF blocks of 32, 8 bits, scale and sum. */
  Q8_1("Q8_1", 9, 32, 36),
  /** GGUF blocks of 256, 2 bits. */
  Q2_K("Q2_K", 10, 256, 84),
  /** GGUF blocks of 256, 3 bits. */
  Q3_K("Q3_K", 11, 256, 110),
  /** GGUF blocks of 256, 4 bits. */
  Q4_K("Q4_K", 12, 256, 144),
  /** GGUF blocks of 256, 5 bits. */
  Q5_K("Q5_K", 13, 256, 176),
  /** GGUF blocks of 256, 6 bits. */
  Q6_K("Q6_K", 14, 256, 210),
  /** GGUF blocks of 256, 8 bits. */
  Q8_K("Q8_K", 15, 256, 292),
  /** GGUF codebook blocks of 256, about 2 bits. */
  IQ2_XXS("IQ2_XXS", 16, 256, 66),
  /** GGUF codebook blocks of 256, about 2.3 bits. */
  IQ2_XS("IQ2_XS", 17, 256, 74),
  /** GGUF codebook blocks of 256, about 3 bits. */
  IQ3_XXS("IQ3_XXS", 18, 256, 98),
  /** GGUF codebook blocks of 256, about 1.5 bits. */
  IQ1_S("IQ1_S", 19, 256, 50),
  /** GGUF nonlinear blocks of 32, 4 bits. */
  IQ4_NL("IQ4_NL", 20, 32, 18),
  /** GGUF codebook blocks of 256, about 3.4 bits. */
  IQ3_S("IQ3_S", 21, 256, 110),
  /** GGUF codebook blocks of 256, about 2.5 bits. */
  IQ2_S("IQ2_S", 22, 256, 82),
  /** GGUF nonlinear blocks of 256, about 4.25 bits. */
  IQ4_XS("IQ4_XS", 23, 256, 136),
  /** GGUF codebook blocks of 256, about 1.75 bits. */
  IQ1_M("IQ1_M", 29, 256, 56),
  /** GGUF ternary blocks of 256. */
  TQ1_0("TQ1_0", 34, 256, 54),
  /** GGUF ternary blocks of 256, 2 bits a value. */
  TQ2_0("TQ2_0", 35, 256, 66),
  /** Microscaling blocks of 32, 4-bit floating point and a power of two. */
  MXFP4("MXFP4", 39, 32, 17),
  /** Blocks of 64, 4-bit floating point, one 8-bit scale per 16. */
  NVFP4("NVFP4", 40, 64, 36),
  /** GGUF blocks of 128, 1 bit. */
  Q1_0("Q1_0", 41, 128, 18),
  /** GGUF blocks of 64, 2 bits. */
  Q2_0("Q2_0", 42, 64, 18);

  private static final ImmutableMap<Long, DType> BY_GGUF_ID =
      Arrays.stream(values())
          .filter(dtype -> dtype.ggufId >= 0)
          .collect(toImmutableMap(dtype -> (long) dtype.ggufId, dtype -> dtype));

  // GGUF's blocks come after U64: safetensors has no name for them.
  private static final ImmutableMap<String, DType> BY_SAFETENSORS_NAME =
      Arrays.stream(values())
          .filter(dtype -> dtype.ordinal() <= U64.ordinal())
          .collect(toImmutableMap(DType::label, dtype -> dtype));

  private final String label;
  private final int ggufId;
  private final int blockElements;
  private final int blockBytes;

  DType(String label, int ggufId, int blockElements, int blockBytes) {
    this.label = label;
    this.ggufId = ggufId;
    this.blockElements = blockElements;
    this.blockBytes = blockBytes;
  }

  /** The name that files and messages use, for example {@code BF16}. */
  public String label() {
    return label;
  }

  /** Values per block, at least 1. */
  public int blockElements() {
    return blockElements;
  }

  /** Bytes per block, at least 1. */
  public int blockBytes() {
    return blockBytes;
  }

  /**
   * Bytes that {@code elements} values take.
   *
   * @param elements number of values, not negative, a multiple of {@link #blockElements()}
   * @throws ArithmeticException if the result exceeds a long or the values end inside a block
   */
  public long byteLength(long elements) {
    if (elements % blockElements != 0) {
      throw new ArithmeticException(
          elements + " values of " + label + " end inside a block of " + blockElements);
    }
    return LongMath.checkedMultiply(elements / blockElements, blockBytes);
  }

  /** The dtype that safetensors headers spell as {@code name}, if there is one. */
  static Optional<DType> ofSafetensors(String name) {
    return Optional.ofNullable(BY_SAFETENSORS_NAME.get(name));
  }

  /** The dtype with this GGUF tensor type number, if the number is known. */
  static Optional<DType> ofGguf(long id) {
    return Optional.ofNullable(BY_GGUF_ID.get(id));
  }
}
