package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ResponseFormat;
import ai.sluice.text.grammar.Pushdown.Frame;
import ai.sluice.text.grammar.Pushdown.State;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What a grammar holds stays within its limit, however long it is used and by what schema. */
class GrammarMemoryTest {
  private static final GrammarLimits LIMITS =
      new GrammarLimits(32, 5000, 5000, 120_000, 900_000, Duration.ofMinutes(9), 1 << 20);

  /** Heap of all states and frames that a state leads to, guessed at the low side. */
  private static long reachable(State start) {
    Set<Object> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    ArrayDeque<Object> open = new ArrayDeque<>(List.of(start));
    long bytes = 0;
    while (!open.isEmpty()) {
      Object object = open.remove();
      if (!seen.add(object)) {
        continue;
      }
      Frame[] frames;
      if (object instanceof State state) {
        bytes += 80 + 8L * state.places.length;
        frames = state.frames;
        State[] next = state.next;
        for (int i = 0; next != null && i < next.length; i++) {
          if (next[i] != null) {
            open.add(next[i]);
          }
        }
      } else {
        Frame frame = (Frame) object;
        bytes += 60 + 8L * frame.returns.length;
        frames = frame.parents;
        if (frame.popped != null) {
          open.add(frame.popped);
        }
      }
      for (Frame frame : frames) {
        if (frame != null) {
          open.add(frame);
        }
      }
    }
    return bytes;
  }

  private static Pushdown pushdown(Map<String, Object> schema, long maxBytes) {
    CompiledGrammar grammar =
        CompiledGrammar.compile(
            ResponseFormat.jsonSchema(schema), Vocabularies.BYTES.table(), LIMITS);
    return new Pushdown(grammar.pushdown().automaton(), maxBytes);
  }

  private static State read(Pushdown pushdown, State from, String text) {
    State state = from;
    for (int i = 0; i < text.length(); i++) {
      state = pushdown.step(state, text.charAt(i));
      assertNotNull(state, text);
    }
    return state;
  }

  /** A cache that forgets all the time must not go on holding what it forgot. */
  @Test
  void longUseTakesNoMoreMemory() {
    long maxBytes = 32 << 10;
    Pushdown pushdown = pushdown(Map.of("type", "string", "maxLength", 1000), maxBytes);
    for (int i = 0; i < 1000; i++) {
      read(pushdown, pushdown.start(), "\"" + "a".repeat(300));
      long bytes = reachable(pushdown.start());
      assertTrue(bytes <= maxBytes, "after " + i + ": " + bytes);
    }
  }

  /** Alternatives that begin alike make states of hundreds of places. */
  @Test
  void largeStatesCountForWhatTheyAre() {
    List<Object> options = new ArrayList<>();
    for (int i = 0; i < 400; i++) {
      String pattern = "^([a-z]{" + (i % 60 + 1) + "})*[A-Z]" + i + "$";
      options.add(
          Map.of(
              "type", "object",
              "properties", Map.of("a", Map.of("type", "string", "pattern", pattern)),
              "required", List.of("a")));
    }
    long maxBytes = 1 << 20;
    Pushdown pushdown = pushdown(Map.of("anyOf", options), maxBytes);
    State state = read(pushdown, pushdown.start(), "{\"a\":\"");
    for (int i = 0; i < 20; i++) {
      state = read(pushdown, state, "a".repeat(100));
      long bytes = reachable(pushdown.start());
      assertTrue(bytes <= maxBytes, "after " + i + ": " + bytes);
    }
  }
}
