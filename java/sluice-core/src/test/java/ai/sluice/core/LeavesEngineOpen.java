package ai.sluice.core;

/** A program that ends while its engine is generating. */
final class LeavesEngineOpen {
  private LeavesEngineOpen() {}

  public static void main(String[] arguments) {
    Engine engine = EngineLifecycleTest.open();
    engine.submit(EngineLifecycleTest.endless()).iterator().next();
    System.out.println("leaving");
  }
}
