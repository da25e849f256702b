package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Text from files, pipes and arguments. */
class TextInputTest {
  @TempDir Path folder;

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void keepsEveryCharacterButAByteOrderMark() {
    assertEquals("天空😀\n", Utf8.decode("x", utf8("天空😀\n")));
    assertEquals("a", Utf8.decode("x", utf8("\uFEFFa")));
    assertEquals("", Utf8.decode("x", new byte[0]));
  }

  @Test
  void namesTheFirstWrongByte() {
    byte[] cut = {'a', (byte) 0xe5, (byte) 0xa4};
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> Utf8.decode("prompt.txt", cut));
    assertTrue(
        e.getMessage().startsWith("prompt.txt: invalid UTF-8 at byte 1, 0xE5"), e.getMessage());
  }

  @Test
  void argumentsAreReadFromTheKernelWhenJavaCannot() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (String argument : new String[] {"java", "-cp", "x", "Main", "generate", "为什么"}) {
      bytes.write(utf8(argument));
      bytes.write(0);
    }
    Path commandLine = Files.write(folder.resolve("cmdline"), bytes.toByteArray());
    String[] mangled = {"generate", "\uFFFD\uFFFD\uFFFD"};
    assertArrayEquals(
        new String[] {"generate", "为什么"}, Arguments.decode(mangled, commandLine));
    String[] plain = {"generate", "why"};
    assertArrayEquals(plain, Arguments.decode(plain));
  }

  @Test
  void argumentsThatAreNotUtf8AreRefused() throws IOException {
    Path commandLine =
        Files.write(folder.resolve("cmdline"), new byte[] {'j', 0, (byte) 0xff, 'x', 0});
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> Arguments.decode(new String[] {"\uFFFDx"}, commandLine));
    assertTrue(e.getMessage().startsWith("argument 1: invalid UTF-8 at byte 0"), e.getMessage());
  }

  @Test
  void linesEndInEveryFashion() {
    PipedInput input = new PipedInput(new ByteArrayInputStream(utf8("eins\r\nzwei\n\ndrei")));
    assertEquals("eins", input.readLine("> "));
    assertEquals("zwei", input.readLine("> "));
    assertEquals("", input.readLine("> "));
    assertEquals("drei", input.readLine("> "));
    assertNull(input.readLine("> "));
  }
}
