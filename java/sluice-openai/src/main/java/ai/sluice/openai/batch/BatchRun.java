package ai.sluice.openai.batch;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Usage;
import ai.sluice.openai.OpenAiError;
import ai.sluice.openai.OpenAiException;
import ai.sluice.openai.OpenAiResponse;
import ai.sluice.openai.ServedModel;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Answers a file of batch lines into another file: each line of the input gets exactly one line of
 * the output, in the order in which answers come. Lines that the output answers already are passed
 * over, so a run that was killed goes on where it was.
 *
 * <p>{@link #run} is called once, by one thread, which reads, submits and writes; {@link #stop} and
 * {@link #cancel} may be called by any.
 */
public final class BatchRun implements AutoCloseable {
  private static final long TICK_MILLIS = 100;
  private static final long REJECTED_MILLIS = 10;

  private final Path inputPath;
  private final Path outputPath;
  private final BatchFiles files;
  private final BatchOptions options;
  private final BatchInput input;
  private final BatchOutput output;
  private final LinkedBlockingQueue<Outcome> outcomes = new LinkedBlockingQueue<>();
  private final ArrayDeque<BatchLine.Part> ready = new ArrayDeque<>();
  private final Set<BatchLine.Part> running = new HashSet<>();
  private final List<Slot> slots = new ArrayList<>();
  private volatile boolean stopping;
  private volatile boolean cancelled;
  private boolean interrupted;
  private volatile boolean complete;
  private boolean exhausted;
  private boolean pausing;
  private long begun;
  private long before;
  private long answered;
  private long failed;
  private int open;
  private long bytesBefore;
  private long bytesDone;
  private long promptTokens;
  private long cachedPromptTokens;
  private long newTokens;

  /** An engine and how much of it is taken. */
  private static final class Slot {
    final BatchEngine engine;
    int taken;
    @Nullable Throwable failure;

    Slot(BatchEngine engine) {
      this.engine = engine;
    }

    boolean isFree() {
      return failure == null && taken < engine.window();
    }
  }

  private record Outcome(
      BatchLine.Part part,
      Slot slot,
      BatchLine.@Nullable Result result,
      @Nullable Throwable failure) {}

  private BatchRun(BatchFiles files, BatchOptions options) {
    this.files = files;
    this.options = options;
    inputPath = files.inputPath();
    outputPath = files.outputPath();
    input = files.input();
    output = files.output();
  }

  /**
   * Opens both files and reads what the output holds, before any model is loaded. A last line that
   * was not written whole is cut off.
   *
   * @throws InvalidRequestException if the output holds something else than answers to this input
   * @throws BatchException if a file cannot be opened, or another process writes the output
   */
  public static BatchRun open(Path inputPath, Path outputPath, BatchOptions options) {
    return new BatchRun(BatchFiles.open(inputPath, outputPath, options.restart()), options);
  }

  /** Lines that the output answers already. */
  public long linesBefore() {
    return output.done().count();
  }

  /** Whether the output ended in the middle of a line, which was cut off. */
  public boolean wasTorn() {
    return output.torn() > 0;
  }

  /** Whether every line of the input has its line in the output. */
  public boolean isComplete() {
    return complete;
  }

  /** Takes no more lines; those that are being answered are finished. Idempotent. */
  public void stop() {
    stopping = true;
  }

  /** Takes no more lines and cancels those that are being answered; a later run does them. */
  public void cancel() {
    stopping = true;
    cancelled = true;
  }

  /**
   * Answers all lines. An interrupt cancels; the thread stays interrupted.
   *
   * @param engines what answers, at least one
   * @param model what bodies may call it
   * @param listener told about ten times a second how far it is, on this thread
   * @return how far it came
   * @throws InvalidRequestException if the output was begun by another model
   * @throws BatchException if a file fails or no engine is left; what was answered is in the output
   */
  public BatchStatus run(
      List<BatchEngine> engines, ServedModel model, Consumer<BatchStatus> listener) {
    if (engines.isEmpty()) {
      throw new IllegalArgumentException("engines: none (expected: at least one)");
    }
    String run = runFingerprint(model);
    output.requireRun(run);
    engines.forEach(engine -> slots.add(new Slot(engine)));
    begun = System.nanoTime();
    LineReader reader = new LineReader(model, options);
    long told = 0;
    try {
      while (true) {
        fill(reader, run, model);
        if (running.isEmpty() && (ready.isEmpty() || cancelled)) {
          break;
        }
        await(model);
        if (System.nanoTime() - told > TimeUnit.MILLISECONDS.toNanos(TICK_MILLIS)) {
          told = System.nanoTime();
          listener.accept(status());
        }
      }
      output.sync();
      complete = exhausted && ready.isEmpty() && open == 0;
      BatchStatus status = status();
      listener.accept(status);
      return status;
    } finally {
      // Empty unless something was thrown.
      cancelRunning();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Everything that decides what a line's answer is, besides the line. */
  private String runFingerprint(ServedModel model) {
    String text =
        model.fingerprint() + "\n" + options.seed() + "\n" + options.timeout().orElse(null);
    byte[] digest =
        BatchInput.sha256().digest(text.getBytes(StandardCharsets.UTF_8));
    StringBuilder hex = new StringBuilder();
    for (int i = 0; i < LineId.RUN_LENGTH / 2; i++) {
      hex.append(String.format("%02x", digest[i]));
    }
    return hex.toString();
  }

  /** Submits until every engine has enough. */
  private void fill(LineReader reader, String run, ServedModel model) {
    while (!cancelled && !pausing) {
      Slot slot = freest();
      if (slot == null) {
        return;
      }
      BatchLine.Part part = ready.poll();
      if (part != null) {
        submit(part, slot);
      } else if (stopping || exhausted || !readLine(reader, run, model)) {
        return;
      }
    }
  }

  /** The engine with most room, or null while none has any. */
  private @Nullable Slot freest() {
    Slot best = null;
    boolean alive = false;
    for (Slot slot : slots) {
      alive |= slot.failure == null;
      if (slot.isFree() && (best == null || room(slot) > room(best))) {
        best = slot;
      }
    }
    if (!alive) {
      Throwable cause = slots.get(slots.size() - 1).failure;
      throw new BatchException(
          "engine: " + (cause == null ? "failed" : cause.getMessage()) + " (expected: an engine"
              + " that runs; every answer so far is in " + outputPath + ", and the same command"
              + " goes on from there)",
          cause);
    }
    return best;
  }

  private static int room(Slot slot) {
    return slot.engine.window() - slot.taken;
  }

  /** Reads a line that is not answered yet; false at the end of the input. */
  private boolean readLine(LineReader reader, String run, ServedModel model) {
    InputLine line = input.next();
    if (line == null) {
      exhausted = true;
      return false;
    }
    if (output.done().hash(line.number()) != 0) {
      reader.pass(line);
      before++;
      bytesBefore += line.length() + 1;
      return true;
    }
    if (line.number() > Integer.MAX_VALUE - 8) {
      throw new BatchException(
          inputPath + ": more than " + (Integer.MAX_VALUE - 8) + " lines (expected: fewer; split"
              + " the file)");
    }
    LineId id = new LineId(run, (int) line.number(), line.hash());
    LineReader.Envelope envelope;
    try {
      envelope = reader.read(line);
    } catch (LineReader.BadLine e) {
      write(LineWriter.bad(id, e.customId(), e.code(), String.valueOf(e.getMessage())));
      failed++;
      bytesDone += line.length() + 1;
      return true;
    }
    try {
      BatchLine opened = reader.open(envelope, id, line.length() + 1);
      open++;
      if (opened.parts().isEmpty()) {
        answer(opened, model);
      }
      ready.addAll(opened.parts());
    } catch (OpenAiException e) {
      write(LineWriter.answer(id, envelope.customId(), e.error()));
      failed++;
      bytesDone += line.length() + 1;
    }
    return true;
  }

  private void submit(BatchLine.Part part, Slot slot) {
    if (part.line.isOver()) {
      return;
    }
    CompletableFuture<?> future;
    // Before the submission, which may be over when it returns.
    slot.taken += part.width();
    running.add(part);
    try {
      future =
          part.submit(
              slot.engine,
              (result, failure) -> outcomes.add(new Outcome(part, slot, result, failure)));
    } catch (EngineFailedException | EngineClosedException e) {
      release(part, slot);
      slot.failure = e;
      ready.addFirst(part);
      return;
    } catch (RuntimeException e) {
      release(part, slot);
      fail(part.line, OpenAiError.of(e));
      return;
    }
    part.future = future;
  }

  private void release(BatchLine.Part part, Slot slot) {
    slot.taken -= part.width();
    running.remove(part);
    part.future = null;
  }

  /** Waits a moment for something to be over, and takes all that is. */
  private void await(ServedModel model) {
    long patience = pausing ? REJECTED_MILLIS : TICK_MILLIS;
    if (cancelled) {
      cancelRunning();
    }
    try {
      Outcome outcome = outcomes.poll(patience, TimeUnit.MILLISECONDS);
      pausing = false;
      while (outcome != null) {
        take(outcome, model);
        outcome = outcomes.poll();
      }
    } catch (InterruptedException e) {
      interrupted = true;
      cancel();
    }
  }

  private void take(Outcome outcome, ServedModel model) {
    BatchLine.Part part = outcome.part();
    release(part, outcome.slot());
    if (part.line.isOver()) {
      return;
    }
    if (outcome.failure() != null) {
      failedPart(part, outcome);
      return;
    }
    BatchLine.Result result = Objects.requireNonNull(outcome.result());
    FinishReason reason = result.reason();
    if (reason == FinishReason.REJECTED) {
      // Others filled the queue: no failure of the line's.
      ready.addFirst(part);
      pausing = true;
    } else if (cancelled && reason == FinishReason.CANCELLED) {
      // A later run does it.
      return;
    } else if (reason == FinishReason.TIMEOUT && part.tries++ < options.retries()) {
      ready.addLast(part);
    } else {
      OpenAiError error = OpenAiError.of(reason, result.detail()).orElse(null);
      if (error != null) {
        fail(part.line, error);
      } else if (part.line.complete(part, result)) {
        answer(part.line, model);
      }
    }
  }

  private void failedPart(BatchLine.Part part, Outcome outcome) {
    Throwable failure = outcome.failure();
    if (failure instanceof CompletionException wrapped && wrapped.getCause() != null) {
      failure = wrapped.getCause();
    }
    if (failure instanceof EngineFailedException || failure instanceof EngineClosedException) {
      outcome.slot().failure = failure;
      ready.addFirst(part);
    } else if (failure instanceof CancellationException && cancelled) {
      // A later run does it.
      return;
    } else {
      fail(part.line, OpenAiError.of(Objects.requireNonNull(failure)));
    }
  }

  private void answer(BatchLine line, ServedModel model) {
    ObjectNode body;
    try {
      body =
          OpenAiResponse.of(
              line.request,
              line.done(),
              model,
              OpenAiResponse.idOf(line.request, line.id.hex()),
              Instant.now().getEpochSecond());
    } catch (OpenAiException e) {
      fail(line, e.error());
      return;
    }
    write(LineWriter.answer(line.id, line.customId, 200, body));
    Usage usage = OpenAiResponse.usage(line.done());
    promptTokens += usage.promptTokens();
    cachedPromptTokens += usage.cachedPromptTokens();
    newTokens += usage.newTokens();
    answered++;
    end(line);
  }

  private void fail(BatchLine line, OpenAiError error) {
    write(LineWriter.answer(line.id, line.customId, error));
    failed++;
    end(line);
  }

  private void end(BatchLine line) {
    line.setOver();
    open--;
    bytesDone += line.bytes;
    // The rest of a line whose answer is an error is of no use to anyone.
    for (BatchLine.Part part : running) {
      if (part.line == line && part.future != null) {
        part.future.cancel(true);
      }
    }
  }

  private void write(byte[] line) {
    output.append(line);
  }

  private void cancelRunning() {
    for (BatchLine.Part part : running) {
      if (part.future != null) {
        part.future.cancel(true);
      }
    }
  }

  private BatchStatus status() {
    return new BatchStatus(
        before,
        answered,
        failed,
        open,
        bytesBefore,
        bytesDone,
        input.size(),
        promptTokens,
        cachedPromptTokens,
        newTokens,
        System.nanoTime() - begun);
  }

  /** Closes both files. Lines that are being answered then are not in the output. */
  @Override
  public void close() {
    files.close();
  }
}
