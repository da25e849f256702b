package ai.sluice.eval.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class MmluCategoriesTest {
  @Test
  void aliasesAreThoseOfSubjectsAndCategories() {
    assertEquals("anatomy", MmluCategories.alias("mmlu", "mmlu_anatomy"));
    assertEquals("social sciences", MmluCategories.alias("mmlu", "mmlu_social_sciences"));
    assertEquals(
        "anatomy", MmluCategories.alias("mmlu_continuation", "mmlu_anatomy_continuation"));
    assertEquals("mmlu", MmluCategories.alias("mmlu", "mmlu"));
  }

  @Test
  void otherTasksHaveTheirNames() {
    for (String task : new String[] {"gsm8k", "humaneval", "q", "my_task"}) {
      assertEquals(task, MmluCategories.alias(task, task));
    }
  }
}
