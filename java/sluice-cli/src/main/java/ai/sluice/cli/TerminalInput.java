package ai.sluice.cli;

import ai.sluice.eval.data.PinnedFiles;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.impl.DefaultParser;
import org.jline.reader.impl.completer.StringsCompleter;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;

/** Lines typed at a terminal, with editing, history and completion. The only user of JLine. */
final class TerminalInput implements ChatInput {
  private static final String INTERRUPT = "INT";

  private final Console console;
  private final Terminal terminal;
  private final LineReader reader;

  TerminalInput(Console console) {
    this.console = console;
    try {
      terminal =
          TerminalBuilder.builder()
              .name("sluice")
              .system(true)
              // No native code is unpacked for this, and no warning printed, on any JDK.
              .provider("exec")
              .dumb(true)
              .encoding(StandardCharsets.UTF_8)
              .stdinEncoding(StandardCharsets.UTF_8)
              .stdoutEncoding(StandardCharsets.UTF_8)
              .nativeSignals(true)
              .build();
    } catch (IOException e) {
      throw new CommandException("terminal: " + PinnedFiles.reason(e), e);
    }
    // A message is prose: quotes and backslashes stand for themselves.
    DefaultParser parser = new DefaultParser().quoteChars(new char[0]).escapeChars(new char[0]);
    reader =
        LineReaderBuilder.builder()
            .terminal(terminal)
            .parser(parser)
            .completer(new StringsCompleter(ChatSession.COMMANDS))
            .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true)
            .option(LineReader.Option.HISTORY_IGNORE_SPACE, false)
            .build();
    historyFile().ifPresent(file -> reader.setVariable(LineReader.HISTORY_FILE, file));
  }

  /** The history, for this user's eyes only; none where it cannot be kept. */
  private java.util.Optional<Path> historyFile() {
    Path folder =
        console
            .environment("XDG_STATE_HOME")
            .map(Path::of)
            .filter(Path::isAbsolute)
            .orElseGet(() -> console.home().resolve(".local").resolve("state"))
            .resolve("sluice");
    Path file = folder.resolve("chat_history");
    try {
      Files.createDirectories(folder);
      if (!Files.exists(file)) {
        Files.createFile(
            file,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      }
      return java.util.Optional.of(file);
    } catch (IOException e) {
      console.err().println("history is not kept: " + PinnedFiles.reason(e));
      return java.util.Optional.empty();
    }
  }

  @Override
  public @Nullable String readLine(String prompt) {
    while (true) {
      try {
        return reader.readLine(prompt);
      } catch (UserInterruptException e) {
        if (e.getPartialLine().isEmpty()) {
          console.err().println("(Ctrl-D or /exit ends the conversation)");
        }
      } catch (EndOfFileException e) {
        return null;
      }
    }
  }

  @Override
  public void interruptible(Runnable work, Runnable cancel) {
    // Not by the terminal's own handlers: a dumb terminal has none.
    Object before = Signals.register(INTERRUPT, cancel);
    try {
      work.run();
    } finally {
      Signals.unregister(INTERRUPT, before);
    }
  }

  @Override
  public void close() {
    try {
      terminal.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
