/** What the engine tells Java Flight Recorder. Hidden: the events' names are the interface. */
@org.jspecify.annotations.NullMarked
package ai.sluice.core.events;
