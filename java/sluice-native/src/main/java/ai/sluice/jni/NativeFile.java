package ai.sluice.jni;

import java.nio.file.Path;

/**
 * A native library on disk.
 *
 * @param path absolute path of the file
 * @param origin where it was found, for messages: a folder or the address of a jar's entry
 */
record NativeFile(Path path, String origin) {}
