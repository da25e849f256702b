package ai.sluice.jni;

/**
 * Where the sections of a step message lie; the same for every slot of an engine.
 *
 * @param numSlots step slots
 * @param inputBytes size of an input area
 * @param outputBytes size of an output area
 * @param offset by section id ({@code SLUICE_SECTION_*}): bytes from the start of the input or output
 *     area, a multiple of 64; -1 for a section that the engine does not use
 * @param capacity by section id: elements
 */
@SuppressWarnings("ArrayRecordComponent") // Read once by the code that fills the step message.
public record StepLayout(
    int numSlots, long inputBytes, long outputBytes, long[] offset, long[] capacity) {}
