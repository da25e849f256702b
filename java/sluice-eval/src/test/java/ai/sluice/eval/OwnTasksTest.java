package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.sandbox.CodeRunner;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tasks of a user: a class on the class path, and a file. */
class OwnTasksTest {
  @TempDir Path home;

  /** A class path of its own: the tests' classes belong to the library's module here. */
  private static final class Jar extends URLClassLoader {
    Jar(Path folder) throws IOException {
      super(new URL[] {folder.toUri().toURL()}, EvalTask.class.getClassLoader());
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
      synchronized (getClassLoadingLock(name)) {
        return name.startsWith("ai.example.") ? findClass(name) : super.loadClass(name, resolve);
      }
    }
  }

  private <T> T withServices(String services, Supplier<T> work) throws IOException {
    Path folder = Files.createDirectories(home.resolve("jar"));
    Path named = Files.createDirectories(folder.resolve("META-INF/services"));
    Files.writeString(named.resolve(EvalTask.class.getName()), services);
    Path classes = Files.createDirectories(folder.resolve("ai/example"));
    try (InputStream in = OwnTasksTest.class.getResourceAsStream("/ai/example/ParityTask.class")) {
      Files.write(classes.resolve("ParityTask.class"), in.readAllBytes());
    }
    ClassLoader before = Thread.currentThread().getContextClassLoader();
    try (Jar jar = new Jar(folder)) {
      Thread.currentThread().setContextClassLoader(jar);
      return work.get();
    } finally {
      Thread.currentThread().setContextClassLoader(before);
    }
  }

  @Test
  void classesAreFoundAsServices() throws IOException {
    EvalTask task = withServices("ai.example.ParityTask\n", () -> EvalTasks.named("parity"));
    List<EvalItem> items = task.items(home, 2);
    assertEquals(100, items.size());
    assertEquals(
        "The number 0 is even\n\nThe number 1 is odd\n\nThe number 101 is", items.get(1).context());
    EvalAnswer answer =
        EvalAnswer.ofChoices(
            List.of(new EvalAnswer.Choice(-2, false), new EvalAnswer.Choice(-1, true)));
    assertEquals(
        Map.of("acc,none", 1.0), task.scores(items.get(1), answer, CodeRunner.NONE).metrics());
    assertFalse(EvalTasks.all().stream().anyMatch(each -> each.name().equals("parity")));
  }

  @Test
  void brokenServicesAreNamed() throws IOException {
    EvalException e =
        withServices(
            "ai.example.Nothing\n", () -> assertThrows(EvalException.class, EvalTasks::all));
    assertTrue(e.getMessage().startsWith("tasks on the class path: "), e.getMessage());
    assertTrue(e.getMessage().contains("ai.example.Nothing"), e.getMessage());
  }

  private Path write(String text) throws IOException {
    return Files.writeString(home.resolve("own.jsonl"), text);
  }

  @Test
  void filesWithChoicesAreTasks() throws IOException {
    Path file =
        write(
            "{\"prompt\": \"The sky is\", \"choices\": [\"red\", \"deep blue\"], \"answer\": 1}\n"
                + "\n{\"prompt\": \"Q\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": 0}\n");
    EvalTask task = EvalTasks.named(file.toString());
    assertEquals("own", task.name());
    assertTrue(task.generation().isEmpty());
    assertFalse(task.takesShots());
    assertEquals(List.of(file), task.files(home));
    List<EvalItem> items = task.items(home, 0);
    assertEquals(2, items.size());
    assertEquals("The sky is", items.get(0).context());
    assertEquals(List.of(" red", " deep blue"), items.get(0).continuations());
    assertEquals("1", items.get(0).target());
    EvalAnswer answer =
        EvalAnswer.ofChoices(
            List.of(new EvalAnswer.Choice(-3, false), new EvalAnswer.Choice(-4, false)));
    assertEquals(
        Map.of("acc,none", 0.0, "acc_norm,none", 1.0),
        task.scores(items.get(0), answer, CodeRunner.NONE).metrics());
    assertThrows(InvalidRequestException.class, () -> task.items(home, 1));
  }

  @Test
  void filesWithTextsAreTasks() throws IOException {
    EvalTask task =
        EvalTasks.named(write("{\"prompt\": \"2 + 2 =\", \"answer\": \"4\"}").toString());
    assertEquals(List.of("\n"), task.generation().orElseThrow().stops());
    EvalItem item = task.items(home, 0).get(0);
    assertEquals(
        Map.of("exact_match,none", 1.0),
        task.scores(item, EvalAnswer.ofText(" 4 "), CodeRunner.NONE).metrics());
    assertEquals(
        Map.of("exact_match,none", 0.0),
        task.scores(item, EvalAnswer.ofText(""), CodeRunner.NONE).metrics());
  }

  private void refused(String text, String expected) throws IOException {
    String file = write(text).toString();
    String message =
        assertThrows(InvalidRequestException.class, () -> EvalTasks.named(file)).getMessage();
    assertTrue(message.startsWith(file), message);
    assertTrue(message.contains(expected), message);
  }

  @Test
  void malformedFilesAreNamedWithTheirLine() throws IOException {
    String good = "{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": 0}\n";
    refused("", "own.jsonl: empty");
    refused(good + "{", "line 2: ");
    refused(good + "[]", "line 2: array (expected: a JSON object)");
    refused(good + "{\"prompt\": \"p\", \"answer\": \"x\"}", "line 2: no choices, unlike");
    refused("{\"prompt\": \"p\", \"answer\": \"x\"}\n" + good, "line 2: choices, unlike");
    refused(good.replace("0}", "2}"), "line 1: answer: 2 (expected: the number of");
    refused(good.replace("0}", "-1}"), "0 to 1");
    refused(good.replace("0}", "\"a\"}"), "answer: a (expected: the number");
    refused(good.replace(", \"answer\": 0", ""), "answer: missing");
    refused(good.replace(", \"b\"", ""), "choices: [a] (expected: at least two");
    refused(good.replace("\"b\"", "\"\""), "choices: ");
    refused(good.replace("\"b\"", "3"), "choices: [a, 3]");
    refused(good.replace("\"p\"", "\"\""), "prompt:  (expected: a text");
    refused(good.replace("\"p\"", "7"), "prompt: 7");
    refused("{\"prompt\": \"p\", \"answer\": \" \"}", "answer:   (expected: a text");
    refused("{\"prompt\": \"p\", \"answer\": 4}", "answer: 4 (expected: a text");
  }

  @Test
  void filesWithOtherNamesAreRefused() {
    for (String name : List.of("a b.jsonl", ".jsonl", "x.y.jsonl")) {
      String message =
          assertThrows(InvalidRequestException.class, () -> EvalTasks.named(name)).getMessage();
      assertTrue(message.startsWith("task: " + name + " (expected: a file name of"), message);
    }
    String missing = home.resolve("none.jsonl").toString();
    assertTrue(
        assertThrows(InvalidRequestException.class, () -> EvalTasks.named(missing))
            .getMessage()
            .startsWith(missing + ": not there"));
  }

  @Test
  void namesOfOthersAreNotTaken() throws IOException {
    String line = "{\"prompt\": \"p\", \"answer\": \"x\"}";
    Path file = Files.writeString(home.resolve("gsm8k.jsonl"), line);
    assertTrue(
        assertThrows(InvalidRequestException.class, () -> EvalTasks.named(file.toString()))
            .getMessage()
            .contains("a file name that no task has"));
    Path other = Files.writeString(home.resolve("parity.jsonl"), line);
    assertEquals("parity", EvalTasks.named(other.toString()).name());
    InvalidRequestException e =
        withServices(
            "ai.example.ParityTask\n",
            () ->
                assertThrows(
                    InvalidRequestException.class, () -> EvalTasks.named(other.toString())));
    assertTrue(e.getMessage().contains("a file name that no task has"), e.getMessage());
  }
}
