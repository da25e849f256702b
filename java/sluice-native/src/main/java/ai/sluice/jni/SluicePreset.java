package ai.sluice.jni;

import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * Tells JavaCPP how to turn {@code sluice.h} into {@link SluiceAbi}.
 *
 * <p>Enums become {@code int} constants, which the compiler inlines. Nothing throws in C, so no
 * call pays for a try block. The error record crosses as a direct buffer: an allocation through
 * JavaCPP would be counted against its memory limit, which a process that holds a model exceeds.
 *
 * <p>Public because JavaCPP creates it by reflection; of no use otherwise.
 */
@NoException
@Properties(
    value = @Platform(value = "linux-x86_64", include = "sluice/sluice.h", library = "jnisluice"),
    target = "ai.sluice.jni",
    global = "ai.sluice.jni.SluiceAbi")
public class SluicePreset implements InfoMapper {
  @Override
  public void map(InfoMap infoMap) {
    infoMap
        .put(new Info("SLUICE_API").cppText("#define SLUICE_API"))
        .put(new Info("SLUICE_NOEXCEPT").cppText("#define SLUICE_NOEXCEPT"))
        .put(new Info("sluice_status").cast().valueTypes("int"))
        .put(new Info("uint8_t").cast().valueTypes("byte").pointerTypes("byte[]", "ByteBuffer"))
        .put(new Info("int32_t").valueTypes("int").pointerTypes("int[]"))
        .put(new Info("int64_t").cast().valueTypes("long").pointerTypes("long[]"));
  }
}
