package ai.sluice.eval.report;

import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.TaskSummary;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The four categories that lm-eval sorts MMLU's subjects into. */
final class MmluCategories {
  static final String MMLU = "mmlu";

  /** By category, in lm-eval's order, the subjects. */
  private static final Map<String, Set<String>> SUBJECTS = new LinkedHashMap<>();

  static {
    SUBJECTS.put(
        "stem",
        Set.of(
            "abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry",
            "college_computer_science", "college_mathematics", "college_physics",
            "computer_security", "conceptual_physics", "electrical_engineering",
            "elementary_mathematics", "high_school_biology", "high_school_chemistry",
            "high_school_computer_science", "high_school_mathematics", "high_school_physics",
            "high_school_statistics", "machine_learning"));
    SUBJECTS.put(
        "other",
        Set.of(
            "business_ethics", "clinical_knowledge", "college_medicine", "global_facts",
            "human_aging", "management", "marketing", "medical_genetics", "miscellaneous",
            "nutrition", "professional_accounting", "professional_medicine", "virology"));
    SUBJECTS.put(
        "social_sciences",
        Set.of(
            "econometrics", "high_school_geography", "high_school_government_and_politics",
            "high_school_macroeconomics", "high_school_microeconomics", "high_school_psychology",
            "human_sexuality", "professional_psychology", "public_relations", "security_studies",
            "sociology", "us_foreign_policy"));
    SUBJECTS.put(
        "humanities",
        Set.of(
            "formal_logic", "high_school_european_history", "high_school_us_history",
            "high_school_world_history", "international_law", "jurisprudence",
            "logical_fallacies", "moral_disputes", "moral_scenarios", "philosophy", "prehistory",
            "professional_law", "world_religions"));
  }

  private MmluCategories() {}

  /** Whether a task as it was asked for is one of MMLU's. */
  static boolean has(String group) {
    return group.equals(MMLU) || group.startsWith(MMLU + "_");
  }

  /** How many subjects there are. */
  static int count() {
    return SUBJECTS.values().stream().mapToInt(Set::size).sum();
  }

  /**
   * A group's summary whose members are the categories, each with its subjects. Subjects of no
   * category are members themselves.
   *
   * @param items of the group, in their order
   */
  static TaskSummary nested(String group, List<ItemRecord> items) {
    TaskSummary flat = TaskSummary.of(group, items);
    List<TaskSummary> members = new ArrayList<>();
    Map<String, List<ItemRecord>> byCategory = new LinkedHashMap<>();
    SUBJECTS.keySet().forEach(name -> byCategory.put(name, new ArrayList<>()));
    List<ItemRecord> others = new ArrayList<>();
    for (ItemRecord item : items) {
      String subject = String.valueOf(item.doc().get("subject"));
      String category =
          SUBJECTS.entrySet().stream()
              .filter(entry -> entry.getValue().contains(subject))
              .map(Map.Entry::getKey)
              .findFirst()
              .orElse("");
      byCategory.getOrDefault(category, others).add(item);
    }
    byCategory.forEach(
        (category, own) -> {
          if (!own.isEmpty()) {
            members.add(TaskSummary.of(name(group, category), own));
          }
        });
    Set<String> uncategorized =
        Set.copyOf(others.stream().map(ItemRecord::task).toList());
    flat.members().stream()
        .filter(member -> uncategorized.contains(member.task()))
        .forEach(members::add);
    return new TaskSummary(flat.task(), flat.size(), flat.metrics(), members);
  }

  /** {@code mmlu_stem}, of a variant {@code mmlu_stem_continuation}. */
  private static String name(String group, String category) {
    return MMLU + "_" + category + group.substring(MMLU.length());
  }

  /** How lm-eval's table shows a subject or category of a group. */
  static String alias(String group, String task) {
    String prefix = MMLU + "_";
    if (!group.startsWith(MMLU)) {
      return task;
    }
    String suffix = group.substring(MMLU.length());
    if (!task.startsWith(prefix) || !task.endsWith(suffix) || task.equals(group)) {
      return task;
    }
    String name = task.substring(prefix.length(), task.length() - suffix.length());
    return SUBJECTS.containsKey(name) ? name.replace('_', ' ') : name;
  }
}
