package ai.sluice.text.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Runs an {@link Automaton} whose rules call each other, byte by byte. A state holds every way in
 * which the text so far can be read: places in rules, each with a {@link Frame} that says where
 * reading goes on after that rule. States and frames are made when first reached, kept once each,
 * and dropped all together when there are too many.
 *
 * <p>Thread-safe: what is known is read without a lock, what is not is computed under one.
 */
final class Pushdown {
  /** Where reading goes on after a rule: one place for each caller. */
  static final class Frame {
    final int[] returns;
    final @Nullable Frame[] parents;
    final int id;
    @Nullable State popped;

    Frame(int[] returns, @Nullable Frame[] parents, int id) {
      this.returns = returns;
      this.parents = parents;
      this.id = id;
    }
  }

  /** All ways to read a text. The first {@code own} places follow from the others' ends alone. */
  static final class State {
    final int[] places;
    final @Nullable Frame[] frames;
    final int own;

    /** Whether the text may end here. */
    final boolean complete;

    /** By class of byte; unknown where null. */
    State @Nullable [] next;

    /** Tokens that may follow, kept by {@link TokenMasks}. */
    volatile @Nullable TokenSet mask;

    boolean maskUsed;

    State(int[] places, @Nullable Frame[] frames, int own, boolean complete) {
      this.places = places;
      this.frames = frames;
      this.own = own;
      this.complete = complete;
    }

    /** Whether nothing may follow. */
    boolean isEnd() {
      return own == 0;
    }

    /** Heap without what follows it, guessed at the high side, as the key of a map counted. */
    long bytes() {
      return 300 + 12L * places.length + 12L * own;
    }
  }

  /** Stands for no state in the tables. */
  private static final State DEAD = new State(new int[0], new Frame[0], 0, false);

  /** So many places are compared one by one. */
  private static final int FEW = 16;

  private final Automaton automaton;
  private final int classes;
  private final long maxBytes;
  private final Map<Key, State> states = new HashMap<>();
  private final Map<Key, Frame> frames = new HashMap<>();

  // Those that lead on, also such as were let go of and are reached from elsewhere: what they lead
  // to would otherwise be held for as long as they are.
  private final List<State> linked = new ArrayList<>();
  private final List<Frame> popped = new ArrayList<>();
  private long bytes;
  private int nextFrameId = 1;
  private final State start;

  // The state being built.
  private int[] places = new int[8];
  private @Nullable Frame[] in = new Frame[8];
  private int size;
  private int[] slots = {};
  private boolean slotsUsed;

  /** Counts what was computed, for those who limit it. */
  private long work;

  Pushdown(Automaton automaton, long maxBytes) {
    this.automaton = automaton;
    this.classes = automaton.classes.count();
    this.maxBytes = maxBytes;
    synchronized (this) {
      begin();
      add(automaton.start(0), null);
      start = finish();
    }
  }

  /** Heap taken now, about. */
  synchronized long bytes() {
    return bytes;
  }

  /** The most that is taken, unless a single state needs more. */
  long maxBytes() {
    return maxBytes;
  }

  /** Before the first byte. */
  State start() {
    return start;
  }

  Automaton automaton() {
    return automaton;
  }

  /** The state after a byte 0 to 255, or null if it does not fit. */
  @Nullable State step(State state, int value) {
    int c = automaton.classes.of[value];
    State[] known = state.next;
    State next = known == null ? null : known[c];
    if (next == null) {
      next = compute(state, c);
    }
    return next == DEAD ? null : next;
  }

  private synchronized State compute(State state, int c) {
    begin();
    for (int i = 0; i < state.places.length; i++) {
      int to = automaton.next(state.places[i], c);
      if (to >= 0) {
        add(to, state.frames[i]);
      }
    }
    State next = size == 0 ? DEAD : finish();
    work += 4 + next.places.length;
    State[] known = state.next;
    if (known == null) {
      known = new State[classes];
      state.next = known;
      linked.add(state);
      bytes += 24 + 4L * classes;
    }
    known[c] = next;
    return next;
  }

  /** How many places were computed so far; under the lock. */
  long work() {
    return work;
  }

  /** The state that reads on after the rule of this frame. */
  synchronized State after(Frame frame) {
    State after = frame.popped;
    if (after == null) {
      begin();
      for (int i = 0; i < frame.returns.length; i++) {
        add(frame.returns[i], frame.parents[i]);
      }
      after = finish();
      frame.popped = after;
      popped.add(frame);
    }
    return after;
  }

  /** The state at one place of a rule that nothing called; the end of that rule is its end. */
  synchronized State alone(int place) {
    begin();
    add(place, null);
    return intern(false);
  }

  private void begin() {
    size = 0;
    if (slotsUsed) {
      Arrays.fill(slots, 0);
      slotsUsed = false;
    }
  }

  /** Adds a place unless it is there; many are looked up by hash. */
  private void add(int place, @Nullable Frame frame) {
    if (size < FEW) {
      for (int i = 0; i < size; i++) {
        if (places[i] == place && in[i] == frame) {
          return;
        }
      }
      append(place, frame);
      return;
    }
    if (!slotsUsed || size * 2 >= slots.length) {
      slots = new int[Math.max(4 * FEW, size * 4)];
      slotsUsed = true;
      for (int i = 0; i < size; i++) {
        slots[slot(places[i], in[i])] = i + 1;
      }
    }
    int slot = slot(place, frame);
    if (slots[slot] == 0) {
      append(place, frame);
      slots[slot] = size;
    }
  }

  /** Where a place is, or the free slot for it. */
  private int slot(int place, @Nullable Frame frame) {
    int slot = (place * 0x9E3779B1 + idOf(frame) * 0x85EBCA6B >>> 1) % slots.length;
    while (slots[slot] != 0
        && (places[slots[slot] - 1] != place || in[slots[slot] - 1] != frame)) {
      slot = slot + 1 == slots.length ? 0 : slot + 1;
    }
    return slot;
  }

  private void append(int place, @Nullable Frame frame) {
    if (size == places.length) {
      places = Arrays.copyOf(places, size * 2);
      in = Arrays.copyOf(in, size * 2);
    }
    places[size] = place;
    in[size++] = frame;
  }

  /** Follows the ends of rules. */
  private State finish() {
    boolean complete = false;
    for (int i = 0; i < size; i++) {
      if (automaton.isAccepting(places[i])) {
        Frame frame = in[i];
        if (frame == null) {
          complete = true;
        } else {
          for (int k = 0; k < frame.returns.length; k++) {
            add(frame.returns[k], frame.parents[k]);
          }
        }
      }
    }
    int kept = 0;
    for (int i = 0; i < size; i++) {
      if (automaton.goesOn(places[i])) {
        places[kept] = places[i];
        in[kept++] = in[i];
      }
    }
    size = kept;
    return intern(complete);
  }

  /** Follows calls, after those places that the text alone decides; they are the key. */
  private State intern(boolean complete) {
    sort();
    Key key = new Key(places, in, size, complete);
    State known = states.get(key);
    if (known != null) {
      return known;
    }
    int own = size;
    TreeMap<Integer, Callers> byRank = new TreeMap<>();
    for (int i = 0; i < own; i++) {
      addCalls(places[i], in[i], byRank);
    }
    while (!byRank.isEmpty()) {
      Callers callers = byRank.pollFirstEntry().getValue();
      Frame frame = frame(callers);
      int place = automaton.start(callers.rule);
      append(place, frame);
      addCalls(place, frame, byRank);
    }
    State state =
        new State(Arrays.copyOf(places, size), Arrays.copyOf(in, size), own, complete);
    if (bytes + state.bytes() > maxBytes) {
      forget();
    }
    states.put(key, state);
    bytes += state.bytes();
    return state;
  }

  private void addCalls(int place, @Nullable Frame frame, TreeMap<Integer, Callers> byRank) {
    int[] pairs = automaton.calls(place);
    for (int i = 0; i < pairs.length; i += 2) {
      int rule = pairs[i];
      Callers callers =
          byRank.computeIfAbsent(automaton.rank(rule), rank -> new Callers(rule));
      int after = pairs[i + 1];
      if (frame != null && !automaton.goesOn(after)) {
        // The call is the rule's last part: what is called returns to the callers at once.
        for (int k = 0; k < frame.returns.length; k++) {
          callers.add(frame.returns[k], frame.parents[k]);
        }
      } else {
        callers.add(after, frame);
      }
    }
  }

  private Frame frame(Callers callers) {
    // The places of the state are in use; those of the key are not.
    Key key = callers.key();
    Frame frame = frames.get(key);
    if (frame == null) {
      frame = new Frame(key.places, key.frames, nextFrameId++);
      frames.put(key, frame);
      bytes += 200 + 12L * frame.returns.length;
    }
    return frame;
  }

  /**
   * Lets go of everything but masks, which are counted elsewhere; generations in progress make anew
   * what they need.
   */
  private void forget() {
    for (State state : linked) {
      state.next = null;
    }
    for (Frame frame : popped) {
      frame.popped = null;
    }
    linked.clear();
    popped.clear();
    states.clear();
    frames.clear();
    bytes = 0;
  }

  private void sort() {
    sort(places, in, size);
  }

  private static void sort(int[] places, @Nullable Frame[] in, int size) {
    if (size > FEW) {
      int[] oldPlaces = Arrays.copyOf(places, size);
      Frame[] oldIn = Arrays.copyOf(in, size);
      Integer[] order = new Integer[size];
      Arrays.setAll(order, i -> i);
      Arrays.sort(
          order,
          (a, b) ->
              oldPlaces[a] != oldPlaces[b]
                  ? Integer.compare(oldPlaces[a], oldPlaces[b])
                  : Integer.compare(idOf(oldIn[a]), idOf(oldIn[b])));
      for (int i = 0; i < size; i++) {
        places[i] = oldPlaces[order[i]];
        in[i] = oldIn[order[i]];
      }
      return;
    }
    for (int i = 1; i < size; i++) {
      int place = places[i];
      Frame frame = in[i];
      int k = i;
      while (k > 0 && isAfter(places[k - 1], in[k - 1], place, frame)) {
        places[k] = places[k - 1];
        in[k] = in[k - 1];
        k--;
      }
      places[k] = place;
      in[k] = frame;
    }
  }

  private static boolean isAfter(int a, @Nullable Frame inA, int b, @Nullable Frame inB) {
    return a != b ? a > b : idOf(inA) > idOf(inB);
  }

  private static int idOf(@Nullable Frame frame) {
    return frame == null ? 0 : frame.id;
  }

  /** Who calls one rule at one byte. */
  private static final class Callers {
    final int rule;
    private int[] returns = new int[2];
    private @Nullable Frame[] parents = new Frame[2];
    private int size;

    Callers(int rule) {
      this.rule = rule;
    }

    void add(int place, @Nullable Frame parent) {
      if (size == returns.length) {
        returns = Arrays.copyOf(returns, size * 2);
        parents = Arrays.copyOf(parents, size * 2);
      }
      returns[size] = place;
      parents[size++] = parent;
    }

    /** In order, each once. */
    Key key() {
      sort(returns, parents, size);
      int kept = 0;
      for (int i = 0; i < size; i++) {
        if (i == 0 || returns[i] != returns[i - 1] || parents[i] != parents[i - 1]) {
          returns[kept] = returns[i];
          parents[kept++] = parents[i];
        }
      }
      return new Key(returns, parents, kept, false);
    }
  }

  /** Places with frames as a key of a map. */
  private static final class Key {
    final int[] places;
    final @Nullable Frame[] frames;
    private final boolean complete;
    private final int hash;

    Key(int[] places, @Nullable Frame[] frames, int size, boolean complete) {
      this.places = Arrays.copyOf(places, size);
      this.frames = Arrays.copyOf(frames, size);
      this.complete = complete;
      int sum = complete ? 1 : 0;
      for (int i = 0; i < size; i++) {
        sum = (sum * 31 + this.places[i]) * 0x9E3779B1 + idOf(this.frames[i]);
      }
      hash = sum ^ sum >>> 15;
    }

    @Override
    public boolean equals(Object other) {
      if (!(other instanceof Key key)
          || key.complete != complete
          || key.places.length != places.length
          || !Arrays.equals(places, key.places)) {
        return false;
      }
      for (int i = 0; i < frames.length; i++) {
        if (frames[i] != key.frames[i]) {
          return false;
        }
      }
      return true;
    }

    @Override
    public int hashCode() {
      return hash;
    }
  }
}
