package ai.sluice.cli.soak;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

/** Counts what the workers did. Thread-safe. */
final class SoakTally {
  private static final int MOST_MESSAGES = 5;

  private final LongAdder requests = new LongAdder();
  private final LongAdder wrong = new LongAdder();
  private final LongAdder different = new LongAdder();
  private final Map<String, LongAdder> actions = new ConcurrentHashMap<>();
  private final List<String> messages = Collections.synchronizedList(new ArrayList<>());

  /** A request is over. */
  void count(String action) {
    requests.increment();
    actions.computeIfAbsent(action, name -> new LongAdder()).increment();
  }

  /** Something is not as it must be. */
  void wrong(String message) {
    wrong.increment();
    if (messages.size() < MOST_MESSAGES) {
      messages.add(message);
    }
  }

  /** An output differs where that is allowed. */
  void different() {
    different.increment();
  }

  long numRequests() {
    return requests.sum();
  }

  long numWrong() {
    return wrong.sum();
  }

  long numDifferent() {
    return different.sum();
  }

  /** The first things that were wrong. */
  List<String> messages() {
    synchronized (messages) {
      return List.copyOf(messages);
    }
  }

  /** Requests by what was done with them. */
  Map<String, Long> actions() {
    Map<String, Long> counts = new TreeMap<>();
    actions.forEach((name, count) -> counts.put(name, count.sum()));
    return counts;
  }
}
