/**
 * The native border. {@link ai.sluice.jni.NativeEngine} is the engine, {@link
 * ai.sluice.jni.NativeLibrary} the library it lives in, and {@link ai.sluice.jni.SluiceAbi} the
 * constants and calls that JavaCPP generates from {@code sluice.h}.
 */
@NullMarked
package ai.sluice.jni;

import org.jspecify.annotations.NullMarked;
