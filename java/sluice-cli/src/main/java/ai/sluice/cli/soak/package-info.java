/** A load of every kind on one engine, and what it must leave behind: nothing. */
@org.jspecify.annotations.NullMarked
package ai.sluice.cli.soak;
