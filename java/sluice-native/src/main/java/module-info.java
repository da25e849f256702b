/** The native border: JavaCPP's binding of sluice.h, the loader of the libraries, and the engine's handle. */
@org.jspecify.annotations.NullMarked
module ai.sluice.jni {
  requires transitive ai.sluice.api;
  requires transitive org.bytedeco.javacpp;
  requires org.slf4j;
  requires static org.jspecify;

  exports ai.sluice.jni to
      ai.sluice.core,
      ai.sluice.cli;
}
