/**
 * What a user of Sluice sees: requests, results, options and exceptions. Nothing in this package
 * depends on native code; every type is immutable unless its Javadoc says otherwise.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.api;
