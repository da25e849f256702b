package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.FileHashes;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.Names;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** What a run has to do: its items, and what identifies them. */
final class WorkList {
  /** A generated token costs about as much as a prompt of so many characters. */
  private static final int CHARACTERS_A_TOKEN = 32;

  /** Examples are drawn by lm-eval's seed; tasks have no other. */
  private static final String SEED = "1234";

  /**
   * An item to do.
   *
   * @param weight about what it costs
   */
  record Work(EvalTask task, EvalItem item, long weight) {
    ItemKey key() {
      return new ItemKey(item.task(), item.index());
    }
  }

  /** What prompts have in common, so that it is computed once. */
  private record Header(String description, List<EvalPrompt.Shot> shots) {
    static Header of(Work work) {
      EvalPrompt prompt = work.item().prompt();
      return new Header(prompt.description(), prompt.shots());
    }
  }

  private final List<Work> work = new ArrayList<>();
  private final List<RunManifest.Task> tasks = new ArrayList<>();
  private final Map<String, List<Path>> files = new LinkedHashMap<>();
  private final Map<ItemKey, Long> weights = new HashMap<>();
  private final Map<String, String> identity = new LinkedHashMap<>();

  /**
   * Reads the tasks' data.
   *
   * @throws InvalidRequestException if data is missing or malformed, or there is no such subject
   */
  WorkList(EvalOptions options) {
    identity.put("prompt_style", options.promptStyle());
    identity.put("seed", SEED);
    identity.put("limit", options.limit().isPresent() ? "" + options.limit().getAsInt() : "none");
    identity.put(
        "subjects", options.subjects().isEmpty() ? "all" : String.join(",", options.subjects()));
    Set<String> subjects = new TreeSet<>();
    for (EvalTask task : options.tasks()) {
      // As in lm-eval, whose flag does not reach tasks that are made without examples.
      int shots =
          task.takesShots()
              ? options.shots().orElse(task.defaultShots())
              : task.defaultShots();
      List<Work> own = new ArrayList<>();
      Set<Header> headers = new HashSet<>();
      for (EvalItem item : task.items(options.data(), shots)) {
        boolean inLimit = item.index() < options.limit().orElse(Integer.MAX_VALUE);
        if (isChosen(item, options.subjects(), subjects) && inLimit) {
          own.add(weighed(task, item, headers));
        }
      }
      if (!own.isEmpty()) {
        String name = task.name();
        files.put(name, task.files(options.data()));
        tasks.add(new RunManifest.Task(name, task.version(), shots, own.size()));
        work.addAll(ordered(own));
        own.forEach(one -> weights.put(one.key(), one.weight()));
      }
    }
    for (String subject : options.subjects()) {
      if (!subjects.contains(subject)) {
        throw new InvalidRequestException(
            "subjects: " + subject + " (expected: "
                + (subjects.isEmpty()
                    ? "none, since the tasks have no subjects"
                    : Names.nearest(subject, subjects, 5))
                + ")");
      }
    }
  }

  private static boolean isChosen(EvalItem item, List<String> chosen, Set<String> known) {
    Object subject = item.doc().get("subject");
    if (subject == null) {
      return true;
    }
    known.add(subject.toString());
    return chosen.isEmpty() || chosen.contains(subject.toString());
  }

  // Whoever comes first pays for the header.
  private static Work weighed(EvalTask task, EvalItem item, Set<Header> headers) {
    EvalPrompt prompt = item.prompt();
    long weight = prompt.question().length() + prompt.answerStart().length();
    for (String continuation : item.continuations()) {
      weight += continuation.length();
    }
    weight += (long) CHARACTERS_A_TOKEN
        * task.generation().map(GenerationSettings::maxNewTokens).orElse(0);
    if (headers.add(new Header(prompt.description(), prompt.shots()))) {
      weight += prompt.header().length();
    }
    return new Work(task, item, weight);
  }

  /** Items of one header side by side, the longest first, as are headers. */
  private static List<Work> ordered(List<Work> own) {
    Map<Header, List<Work>> byHeader = new LinkedHashMap<>();
    for (Work one : own) {
      byHeader.computeIfAbsent(Header.of(one), none -> new ArrayList<>()).add(one);
    }
    Map<List<Work>, Integer> longest = new IdentityHashMap<>();
    List<List<Work>> groups = new ArrayList<>();
    byHeader.forEach(
        (header, members) -> {
          members.sort(
              Comparator.comparingInt((Work one) -> -length(one)).thenComparing(Work::key));
          groups.add(members);
          longest.put(
              members,
              length(members.get(0)) + members.get(0).item().prompt().header().length());
        });
    groups.sort(Comparator.comparingInt((List<Work> members) -> -longest.get(members)));
    return groups.stream().flatMap(List::stream).toList();
  }

  private static int length(Work one) {
    int most = 0;
    for (String continuation : one.item().continuations()) {
      most = Math.max(most, continuation.length());
    }
    return one.item().prompt().question().length() + most;
  }

  /** All items in the order in which they are best done. */
  List<Work> work() {
    return work;
  }

  /** Whether an item is among them. */
  boolean has(ItemKey key) {
    return weights.containsKey(key);
  }

  /** About what an item costs. */
  long weight(ItemKey key) {
    return weights.getOrDefault(key, 0L);
  }

  List<RunManifest.Task> tasks() {
    return tasks;
  }

  /** What must be equal for a run to go on, beside the model. Hashes the data. */
  Map<String, String> identity() {
    FileHashes hashes = new FileHashes(Optional.empty());
    Map<String, String> out = new LinkedHashMap<>(identity);
    files.forEach((task, list) -> out.put(task + ".data_sha256", hashes.of(list)));
    return out;
  }
}
