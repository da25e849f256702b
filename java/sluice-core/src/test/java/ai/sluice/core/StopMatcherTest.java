package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class StopMatcherTest {
  @Test
  void whatMayStartAStopStringIsHeldBack() {
    StopMatcher matcher = new StopMatcher(List.of("</end>", "STOP"));
    assertEquals("hello ", matcher.accept("hello <"));
    assertEquals("", matcher.accept("/en"));
    assertEquals("</en x", matcher.accept(" x"));
    assertEquals("", matcher.accept("ST"));
    assertEquals("ST", matcher.finish());
  }

  @Test
  void theEarliestStopStringWinsAndIsNotPartOfTheText() {
    StopMatcher matcher = new StopMatcher(List.of("later", "now"));
    assertEquals("a", matcher.accept("anow later"));
    assertTrue(matcher.matched());
    assertEquals("", matcher.accept("more"));
    assertEquals("", matcher.finish());
  }

  @Test
  void withoutStopStringsNothingIsHeld() {
    StopMatcher matcher = new StopMatcher(List.of());
    assertEquals("x", matcher.accept("x"));
    assertEquals("", matcher.finish());
  }

  @Test
  void anyCuttingGivesTheSameText() {
    Random random = new Random(1);
    int matches = 0;
    for (int round = 0; round < 20_000; round++) {
      String text = letters(random, random.nextInt(30));
      List<String> stops = new ArrayList<>();
      for (int i = random.nextInt(3); i >= 0; i--) {
        stops.add(letters(random, 1 + random.nextInt(5)));
      }
      int first = text.length();
      boolean found = false;
      for (String stop : stops) {
        int at = text.indexOf(stop);
        if (at >= 0) {
          found = true;
          first = Math.min(first, at);
        }
      }
      StopMatcher matcher = new StopMatcher(stops);
      StringBuilder out = new StringBuilder();
      int at = 0;
      while (at < text.length()) {
        int next = Math.min(text.length(), at + 1 + random.nextInt(4));
        out.append(matcher.accept(text.substring(at, next)));
        assertTrue(text.startsWith(out.toString()));
        at = next;
      }
      out.append(matcher.finish());
      // Fed in pieces, a stop string that ends first may win over one that starts first.
      if (matcher.matched()) {
        matches++;
        assertTrue(found);
        assertTrue(out.length() >= first);
        String rest = text.substring(out.length());
        assertTrue(stops.stream().anyMatch(rest::startsWith));
      } else {
        assertFalse(found);
        assertEquals(text, out.toString());
      }
    }
    assertTrue(matches > 1000);
  }

  private static String letters(Random random, int length) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < length; i++) {
      text.append((char) ('a' + random.nextInt(3)));
    }
    return text.toString();
  }
}
