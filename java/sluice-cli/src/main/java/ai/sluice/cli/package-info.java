/** The command line. {@link ai.sluice.cli.Main} starts it; nothing here is meant for other code. */
@org.jspecify.annotations.NullMarked
package ai.sluice.cli;
