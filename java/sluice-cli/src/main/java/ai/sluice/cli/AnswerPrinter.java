package ai.sluice.cli;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.ToolCallDelta;
import java.util.function.Consumer;

/**
 * Prints an answer as it comes: its text and its calls of tools to standard output, what the model
 * reasons with to standard error, dimmed where that is a terminal. Of several alternatives only the
 * first is printed.
 */
final class AnswerPrinter implements Consumer<Chunk> {
  private static final String DIM = "\u001b[2m";
  private static final String PLAIN = "\u001b[0m";

  private final Console console;
  private final boolean colours;
  private boolean reasons;
  private boolean calls;
  private boolean lineBegun;

  AnswerPrinter(Console console) {
    this.console = console;
    colours = console.errTerminal() && console.environment("NO_COLOR").isEmpty();
  }

  @Override
  public void accept(Chunk chunk) {
    if (chunk.index() > 0) {
      return;
    }
    if (chunk.kind() == ChunkKind.REASONING) {
      reason(chunk.text());
      return;
    }
    if (chunk.toolCall().isPresent()) {
      endReasoning();
      call(chunk.toolCall().get());
    } else if (!chunk.text().isEmpty()) {
      endReasoning();
      if (calls) {
        print("\n");
        calls = false;
      }
      print(chunk.text());
    }
  }

  private void reason(String text) {
    if (text.isEmpty()) {
      return;
    }
    if (!reasons && colours) {
      console.err().print(DIM);
    }
    reasons = true;
    console.err().print(text);
    console.err().flush();
  }

  private void call(ToolCallDelta delta) {
    if (delta.name().isPresent()) {
      print((lineBegun ? "\n" : "") + delta.name().get() + " ");
    }
    calls = true;
    print(delta.arguments());
  }

  private void print(String text) {
    if (!text.isEmpty()) {
      console.print(text);
      lineBegun = !text.endsWith("\n");
    }
  }

  /** Ends what would colour or join what is printed next. Harmless when repeated. */
  void endReasoning() {
    if (reasons) {
      reasons = false;
      console.err().print((colours ? PLAIN : "") + "\n\n");
      console.err().flush();
    }
  }
}
