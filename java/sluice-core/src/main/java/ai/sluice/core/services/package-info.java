/** What this module gives to others through {@link java.util.ServiceLoader}. */
@org.jspecify.annotations.NullMarked
package ai.sluice.core.services;
