package ai.sluice.core;

import ai.sluice.core.scheduler.StepRunner;
import ai.sluice.jni.NativeEngine;
import java.nio.ByteBuffer;

/** Runs steps on the native engine. */
final class NativeStepRunner implements StepRunner {
  private final NativeEngine engine;

  NativeStepRunner(NativeEngine engine) {
    this.engine = engine;
  }

  @Override
  public int numSlots() {
    return engine.layout().numSlots();
  }

  @Override
  public ByteBuffer input(int slot) {
    return engine.input(slot);
  }

  @Override
  public ByteBuffer output(int slot) {
    return engine.output(slot);
  }

  @Override
  public void submit(int slot) {
    engine.submit(slot);
  }

  @Override
  public boolean await(int slot, long timeoutMicros) {
    return engine.await(slot, timeoutMicros);
  }

  @Override
  public void abort() {
    engine.abort();
  }
}
