package ai.sluice.cli.soak;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.regex.Pattern;

/**
 * What this process holds, as the kernel sees it.
 *
 * @param rssBytes resident memory, or -1 where there is no /proc
 * @param threads its threads but those of the JVM itself, which come and go, or -1
 * @param files open file descriptors, or -1
 * @param heapBytes Java heap in use
 */
record ProcessSample(long rssBytes, int threads, int files, long heapBytes) {
  private static final Path PROC = Path.of("/proc/self");

  /** As the kernel cuts their names. */
  private static final Pattern JVM_THREAD =
      Pattern.compile(
          "(C[12] Compiler|GC Thread|G1 |VM |Signal Dispatch|Sweeper|Monitor Deflati|Service Thread"
              + "|Notification|Common-Cleaner|Finalizer|Reference Handl|Attach Listener|JFR "
              + "|DestroyJavaVM|process reaper).*");

  /** Collects garbage first, so that what is counted is what is held. */
  static ProcessSample take() {
    System.gc();
    Runtime runtime = Runtime.getRuntime();
    long heap = runtime.totalMemory() - runtime.freeMemory();
    return new ProcessSample(rssNow(), threadsNow(), filesNow(), heap);
  }

  private static long rssNow() {
    try {
      for (String line : Files.readAllLines(PROC.resolve("status"))) {
        if (line.startsWith("VmRSS:")) {
          return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
        }
      }
    } catch (IOException e) {
      // Not Linux.
    }
    return -1;
  }

  private static int threadsNow() {
    int count = 0;
    try (DirectoryStream<Path> tasks = Files.newDirectoryStream(PROC.resolve("task"))) {
      for (Path task : tasks) {
        try {
          if (!JVM_THREAD.matcher(Files.readString(task.resolve("comm")).strip()).matches()) {
            count++;
          }
        } catch (NoSuchFileException e) {
          // It ended meanwhile.
        }
      }
      return count;
    } catch (IOException e) {
      return -1;
    }
  }

  private static int filesNow() {
    int count = 0;
    try (DirectoryStream<Path> descriptors = Files.newDirectoryStream(PROC.resolve("fd"))) {
      for (Path descriptor : descriptors) {
        count++;
      }
      return count - 1; // The stream's own.
    } catch (IOException e) {
      return -1;
    }
  }
}
