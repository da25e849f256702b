package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class BlockPoolTest {
  @Test
  void everyBlockIsHandedOutOnce() {
    BlockPool pool = new BlockPool(5);
    pool.promise(5);
    Set<Integer> blocks = new HashSet<>();
    for (int i = 0; i < 5; i++) {
      int block = pool.allocate();
      assertTrue(block >= 0 && block < 5 && blocks.add(block));
    }
    assertEquals(0, pool.free());
    assertThrows(IllegalStateException.class, pool::allocate);
  }

  @Test
  void promisesBoundAllocations() {
    BlockPool pool = new BlockPool(5);
    pool.promise(2);
    assertThrows(IllegalStateException.class, () -> pool.promise(4));
    pool.allocate();
    pool.allocate();
    assertThrows(IllegalStateException.class, pool::allocate);
    pool.promise(3);
    assertEquals(0, pool.available());
    assertThrows(IllegalStateException.class, () -> pool.promise(1));
    pool.forgo(2);
    assertEquals(2, pool.available());
    assertThrows(IllegalStateException.class, () -> pool.forgo(2));
  }

  @Test
  void aBlockIsReleasedOnce() {
    BlockPool pool = new BlockPool(2);
    pool.promise(1);
    int block = pool.allocate();
    pool.release(block);
    assertThrows(IllegalStateException.class, () -> pool.release(block));
  }

  @Test
  void aSharedBlockIsFreedByItsLastUser() {
    BlockPool pool = new BlockPool(2);
    pool.promise(1);
    int block = pool.allocate();
    pool.retain(block);
    pool.release(block);
    assertEquals(1, pool.used());
    pool.release(block);
    assertEquals(0, pool.used());
    assertThrows(IllegalStateException.class, () -> pool.retain(block));
  }

  @Test
  void whatIsPromisedIsNotTakenForItsContent() {
    BlockPool pool = new BlockPool(2);
    pool.promise(1);
    int block = pool.allocate();
    pool.publish(block, new PrefixNode(new BlockKey(1, 2, 3, 4), new BlockKey(5, 6, 7, 8), null,
        new int[8], 1));
    pool.release(block);
    assertEquals(1, pool.cached());
    pool.promise(2);
    assertThrows(IllegalStateException.class, () -> pool.retain(block));
  }
}
