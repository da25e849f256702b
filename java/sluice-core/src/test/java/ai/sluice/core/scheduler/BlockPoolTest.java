package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class BlockPoolTest {
  @Test
  void everyBlockIsHandedOutOnce() {
    BlockPool pool = new BlockPool(5);
    assertTrue(pool.reserve(5));
    Set<Integer> blocks = new HashSet<>();
    for (int i = 0; i < 5; i++) {
      int block = pool.allocate();
      assertTrue(block >= 0 && block < 5 && blocks.add(block));
    }
    assertEquals(0, pool.free());
    assertThrows(IllegalStateException.class, pool::allocate);
  }

  @Test
  void reservationsBoundAllocations() {
    BlockPool pool = new BlockPool(5);
    assertTrue(pool.reserve(2));
    assertFalse(pool.reserve(4));
    pool.allocate();
    pool.allocate();
    assertThrows(IllegalStateException.class, pool::allocate);
    assertTrue(pool.reserve(3));
    assertFalse(pool.reserve(1));
  }

  @Test
  void aBlockIsReleasedOnce() {
    BlockPool pool = new BlockPool(2);
    pool.reserve(1);
    int block = pool.allocate();
    pool.release(block);
    assertThrows(IllegalStateException.class, () -> pool.release(block));
  }

  @Test
  void aReservationCoversWhatIsInUse() {
    BlockPool pool = new BlockPool(2);
    pool.reserve(1);
    pool.allocate();
    assertThrows(IllegalStateException.class, () -> pool.unreserve(1));
  }
}
