package ai.sluice.jni;

import ai.sluice.api.InvalidRequestException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * A native engine.
 *
 * <p>Thread-safe in that every method may be called from any thread, also while another closes the
 * engine. The caller serialises {@link #submit}, {@link #await} and {@link #trace} of one slot, and
 * the weight calls among themselves. {@link #close()} ends and awaits the calls in flight; later
 * calls throw {@link ai.sluice.api.EngineClosedException}.
 *
 * <p>Every method throws the exceptions of {@code ai.sluice.api} by the status that the engine
 * returned: {@code InvalidRequestException}, {@code UnsupportedModelException}, {@code
 * OutOfDeviceMemoryException}, {@code CheckpointFormatException}, {@code EngineFailedException},
 * {@code EngineClosedException} (closed or aborted), {@code NativeLoadException}.
 */
public final class NativeEngine implements AutoCloseable {
  /** Length of the snapshot of {@link #stats()}. */
  public static final int STAT_COUNT = SluiceAbi.SLUICE_STAT_COUNT;

  private static final String NAME = "engine";

  private final sluice_engine engine;
  private final NativeHandle handle;
  private final StepLayout layout;
  private final ByteBuffer[] inputs;
  private final ByteBuffer[] outputs;
  private final sluice_weights_progress progress;
  private final @Nullable LeakReport leakReport;

  private NativeEngine(sluice_engine engine) {
    this.engine = engine;
    handle = handleOf(engine);
    try {
      layout = readLayout(engine);
      inputs = new ByteBuffer[layout.numSlots()];
      outputs = new ByteBuffer[layout.numSlots()];
      for (int slot = 0; slot < inputs.length; slot++) {
        readBuffers(slot);
      }
      progress = new sluice_weights_progress(direct(sluice_weights_progress.class));
    } catch (Throwable e) {
      handle.close();
      throw e;
    }
    leakReport = LeakReport.watch(this, NAME);
  }

  /** Engines of this process whose native side was created and not freed yet. */
  public static int numOpen() {
    return NativeHandle.numOpen();
  }

  /**
   * Creates an engine: all device memory that it will ever use is allocated here, the weights are
   * filled in afterwards.
   *
   * @param spec a {@code ModelSpec} message
   * @param options an {@code EngineOptions} message
   * @param devices device index of each local rank; the CPU has one entry, 0
   * @param firstRank global rank of {@code devices[0]}
   * @param worldSize ranks of all processes
   * @param commId id from {@link #commId()}, the same in every process, or null when all ranks are
   *     local
   * @param layerBegin first layer of this process
   * @param layerEnd layer after the last of this process; 0 with {@code layerBegin} 0 for all layers
   */
  public static NativeEngine create(
      byte[] spec,
      byte[] options,
      int[] devices,
      int firstRank,
      int worldSize,
      byte @Nullable [] commId,
      int layerBegin,
      int layerEnd) {
    NativeLibrary.load();
    if (commId != null && commId.length != SluiceAbi.SLUICE_COMM_ID_BYTES) {
      throw new InvalidRequestException(
          "comm_id: " + commId.length + " bytes (expected: " + SluiceAbi.SLUICE_COMM_ID_BYTES
              + "; remedy: pass what commId() returned)");
    }
    sluice_engine engine = new sluice_engine(null);
    NativeCalls.run(
        error ->
            SluiceAbi.sluice_engine_create(
                spec, spec.length, options, options.length, devices, devices.length, firstRank,
                worldSize, commId, layerBegin, layerEnd, engine, error));
    return new NativeEngine(engine);
  }

  /**
   * What {@link #create} would allocate, without allocating it: an {@code EngineInfo} message.
   * Parameters as in {@link #create}.
   */
  public static byte[] plan(
      byte[] spec,
      byte[] options,
      int[] devices,
      int firstRank,
      int worldSize,
      int layerBegin,
      int layerEnd) {
    NativeLibrary.load();
    return NativeCalls.twoCall(
        (buffer, capacity, size, error) ->
            SluiceAbi.sluice_engine_plan(
                spec, spec.length, options, options.length, devices, devices.length, firstRank,
                worldSize, layerBegin, layerEnd, buffer, capacity, size, error));
  }

  /** A fresh id for a group of engines whose ranks live in several processes. */
  public static byte[] commId() {
    NativeLibrary.load();
    byte[] id = new byte[SluiceAbi.SLUICE_COMM_ID_BYTES];
    NativeCalls.run(error -> SluiceAbi.sluice_comm_id(id, error));
    return id;
  }

  /** An {@code EngineInfo} message. */
  public byte[] info() {
    return bytes((b, n, size, e) -> SluiceAbi.sluice_engine_info(engine, b, n, size, e));
  }

  /** A {@code WeightSlotList} message: every slot that the engine expects on its local ranks. */
  public byte[] weightSlots() {
    return bytes((b, n, size, e) -> SluiceAbi.sluice_weights_slots(engine, b, n, size, e));
  }

  /**
   * Begins to fill weights.
   *
   * @param mode {@code SLUICE_WEIGHTS_LOAD}, {@code _UPDATE} or {@code _ADAPTER}
   */
  public void weightsBegin(int mode) {
    call(error -> SluiceAbi.sluice_weights_begin(engine, mode, error));
  }

  /**
   * Queues transfers. They are checked before anything is read; a wrong entry queues nothing.
   *
   * @param list a {@code WeightTransferList} message
   */
  public void weightsEnqueue(byte[] list) {
    call(error -> SluiceAbi.sluice_weights_enqueue(engine, list, list.length, error));
  }

  /**
   * Waits for queued transfers.
   *
   * @param timeoutMicros how long to wait
   * @param receiver receives transfers done, transfers in total, bytes done, bytes in total
   * @return whether everything that was queued is done
   */
  public boolean weightsPoll(long timeoutMicros, long[] receiver) {
    handle.enter();
    try {
      int status =
          NativeCalls.run(
              error -> SluiceAbi.sluice_weights_poll(engine, timeoutMicros, progress, error));
      receiver[0] = progress.transfers_done();
      receiver[1] = progress.transfers_total();
      receiver[2] = progress.bytes_done();
      receiver[3] = progress.bytes_total();
      return status == SluiceAbi.SLUICE_STATUS_OK;
    } finally {
      handle.exit();
    }
  }

  /** Awaits the queue, makes derived slots, and makes the engine ready. */
  public void weightsFinish() {
    call(error -> SluiceAbi.sluice_weights_finish(engine, error));
  }

  /** Drops what is queued and ends the load; from any thread, during {@link #weightsPoll} too. */
  public void weightsAbort() {
    call(error -> SluiceAbi.sluice_weights_abort(engine, error));
  }

  /** Where the sections of a step message lie. */
  public StepLayout layout() {
    return layout;
  }

  /**
   * The input area of a slot: direct, little endian, the same object each time. It is the engine's
   * memory: it must not be touched after {@link #close()}, nor while a step of the slot is in flight.
   *
   * @param slot in [0, {@link StepLayout#numSlots()})
   */
  public ByteBuffer input(int slot) {
    return inputs[slot];
  }

  /**
   * The output area of a slot, by the rules of {@link #input}.
   *
   * @param slot in [0, {@link StepLayout#numSlots()})
   */
  public ByteBuffer output(int slot) {
    return outputs[slot];
  }

  /**
   * Starts the step written in a slot. A message that is wrong starts and changes nothing.
   *
   * @param slot in [0, {@link StepLayout#numSlots()})
   */
  public void submit(int slot) {
    call(error -> SluiceAbi.sluice_engine_submit(engine, slot, error));
  }

  /**
   * Waits for the step of a slot.
   *
   * @param slot in [0, {@link StepLayout#numSlots()})
   * @param timeoutMicros how long to wait; negative: without limit
   * @return whether it is finished; false means that the time is over
   */
  public boolean await(int slot, long timeoutMicros) {
    int status = call(e -> SluiceAbi.sluice_engine_wait(engine, slot, timeoutMicros, e));
    return status == SluiceAbi.SLUICE_STATUS_OK;
  }

  /**
   * Runs the step written in a slot eagerly and keeps named intermediate tensors. Slow; no other
   * step may be in flight.
   *
   * @param slot in [0, {@link StepLayout#numSlots()})
   * @param traceRequest a {@code TraceRequest} message
   * @return little endian: u64 length of a {@code TraceResult} message, the message, padding to a
   *     multiple of 64, the tensors' bytes
   */
  public ByteBuffer trace(int slot, byte[] traceRequest) {
    // Large, so it is written in place rather than copied through an array.
    ByteBuffer request = ByteBuffer.allocateDirect(traceRequest.length).put(traceRequest).flip();
    long[] size = new long[1];
    ByteBuffer result = null;
    while (true) {
      ByteBuffer target = result;
      long capacity = target == null ? 0 : target.capacity();
      int status =
          call(
              error ->
                  SluiceAbi.sluice_engine_trace(
                      engine, slot, request, request.remaining(), target, capacity, size, error));
      if (status == SluiceAbi.SLUICE_STATUS_OK && target != null) {
        return target.limit(Math.toIntExact(size[0])).order(ByteOrder.LITTLE_ENDIAN);
      }
      if (size[0] > Integer.MAX_VALUE - 8) {
        throw new InvalidRequestException(
            "trace: " + size[0] + " bytes (expected: below 2 GiB; remedy: fewer tensors or tokens)");
      }
      result = ByteBuffer.allocateDirect((int) size[0]);
    }
  }

  /** A snapshot of counters, by {@code SLUICE_STAT_*}; {@link #STAT_COUNT} long. */
  public long[] stats() {
    long[] values = new long[STAT_COUNT];
    call(error -> SluiceAbi.sluice_engine_stats(engine, values, values.length, error));
    return values;
  }

  /** Makes every step in flight end soon and every later {@link #submit} fail. Returns at once. */
  public void abort() {
    call(error -> SluiceAbi.sluice_engine_abort(engine, error));
  }

  /**
   * Ends what is in flight, waits for it, frees everything. Harmless when repeated or concurrent;
   * every caller returns after the memory is freed.
   */
  @Override
  public void close() {
    handle.close();
    if (leakReport != null) {
      leakReport.closed();
    }
  }

  private int call(NativeCalls.Call call) {
    handle.enter();
    try {
      return NativeCalls.run(call);
    } finally {
      handle.exit();
    }
  }

  private byte[] bytes(NativeCalls.TwoCall call) {
    handle.enter();
    try {
      return NativeCalls.twoCall(call);
    } finally {
      handle.exit();
    }
  }

  /** Static, so that the handle does not keep the engine reachable: the leak report needs that. */
  private static NativeHandle handleOf(sluice_engine engine) {
    return new NativeHandle(
        NAME,
        () -> SluiceAbi.sluice_engine_abort(engine, null),
        () -> {
          SluiceAbi.sluice_engine_destroy(engine);
          NativeLog.drain();
        });
  }

  private static StepLayout readLayout(sluice_engine engine) {
    sluice_step_layout raw = new sluice_step_layout(direct(sluice_step_layout.class));
    NativeCalls.run(error -> SluiceAbi.sluice_engine_step_layout(engine, raw, error));
    long[] offset = new long[SluiceAbi.SLUICE_SECTION_END];
    long[] capacity = new long[SluiceAbi.SLUICE_SECTION_END];
    for (int section = 0; section < offset.length; section++) {
      offset[section] = raw.offset(section);
      capacity[section] = raw._capacity(section);
    }
    return new StepLayout(
        raw.num_slots(), raw.input_bytes(), raw.output_bytes(), offset, capacity);
  }

  private void readBuffers(int slot) {
    Pointer input = new Pointer();
    Pointer output = new Pointer();
    NativeCalls.run(
        error -> SluiceAbi.sluice_engine_step_buffers(engine, slot, input, output, error));
    inputs[slot] = area(input, layout.inputBytes());
    outputs[slot] = area(output, layout.outputBytes());
  }

  private static ByteBuffer area(Pointer start, long bytes) {
    if (bytes > Integer.MAX_VALUE) {
      throw new InvalidRequestException(
          "step area: " + bytes + " bytes (expected: below 2 GiB; remedy: a smaller token budget)");
    }
    return start.capacity(bytes).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  private static BytePointer direct(Class<? extends Pointer> struct) {
    return new BytePointer(
        ByteBuffer.allocateDirect(org.bytedeco.javacpp.Loader.sizeof(struct)));
  }
}
