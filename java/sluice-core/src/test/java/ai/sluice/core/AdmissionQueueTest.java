package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Bounds of the queue, and places that are always given back. */
class AdmissionQueueTest {
  private static String full(Executable action) {
    return assertThrows(QueueFullException.class, action).why();
  }

  @Test
  void requestsAreBoundedOnceAllSequencesAreTaken() {
    AdmissionQueue queue = new AdmissionQueue(2, 100, 3);
    List<QueuePlace> places = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      places.add(queue.enter(1));
    }
    assertEquals(
        "queue: 3 requests wait (expected: fewer than maxQueuedRequests = 2; try again later)",
        full(() -> queue.enter(1)));
    assertEquals(3, queue.waiting());
    places.get(0).leaveQueue();
    full(() -> queue.enter(1));
    places.get(1).leaveQueue();
    QueuePlace more = queue.enter(1);
    more.leave();
    places.forEach(QueuePlace::leave);
    assertEquals(0, queue.waiting());
    assertEquals(0, queue.open());
  }

  @Test
  void alternativesCountAsSequences() {
    AdmissionQueue queue = new AdmissionQueue(1, 100, 4);
    QueuePlace four = queue.enter(4);
    assertEquals(4, queue.open());
    full(() -> queue.enter(1));
    four.leave();
    four.leave();
    assertEquals(0, queue.open());
    queue.enter(1);
  }

  @Test
  void tokensAreBounded() {
    AdmissionQueue queue = new AdmissionQueue(10, 100, 1);
    QueuePlace first = queue.enter(1);
    first.count(1000); // nobody waits, so it may be longer
    QueuePlace second = queue.enter(1);
    assertEquals(
        "queue: 1000 prompt tokens wait, and this request has 1 (expected: together at most"
            + " maxQueuedTokens = 100; try again later)",
        full(() -> second.count(1)));
    second.leave();
    first.leaveQueue();
    assertEquals(0, queue.waitingTokens());
    QueuePlace third = queue.enter(1);
    third.count(60);
    QueuePlace fourth = queue.enter(1);
    fourth.count(40);
    QueuePlace fifth = queue.enter(1);
    full(() -> fifth.count(1));
    full(() -> fifth.count(Integer.MAX_VALUE));
    third.leave();
    fifth.count(60);
    List.of(first, fourth, fifth).forEach(QueuePlace::leave);
    assertEquals(0, queue.waitingTokens());
    assertEquals(0, queue.waiting());
    assertEquals(0, queue.open());
  }

  @Test
  void manyThreadsLeaveNothingBehind() throws Exception {
    AdmissionQueue queue = new AdmissionQueue(5, 50, 2);
    List<Thread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      Random random = new Random(t);
      Thread thread =
          new Thread(
              () -> {
                for (int i = 0; i < 5_000; i++) {
                  QueuePlace place;
                  try {
                    place = queue.enter(1 + random.nextInt(3));
                  } catch (QueueFullException e) {
                    continue;
                  }
                  try {
                    place.count(random.nextInt(60));
                    place.leaveQueue();
                  } catch (QueueFullException e) {
                    // given back below
                  } finally {
                    place.leave();
                  }
                }
              });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(0, queue.waiting());
    assertEquals(0, queue.waitingTokens());
    assertEquals(0, queue.open());
  }
}
