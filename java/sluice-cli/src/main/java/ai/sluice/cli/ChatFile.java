package ai.sluice.cli;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.PinnedFiles;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Conversations in files: a JSON array of objects with role and content. */
final class ChatFile {
  private ChatFile() {}

  static void save(String file, @Nullable String system, List<ChatMessage> messages) {
    Path path = path("/save", file);
    StringWriter text = new StringWriter();
    try {
      try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
        json.useDefaultPrettyPrinter();
        json.writeStartArray();
        if (system != null) {
          write(json, ChatMessage.system(system));
        }
        for (ChatMessage message : messages) {
          write(json, message);
        }
        json.writeEndArray();
      }
      Files.writeString(path, text.append('\n').toString());
    } catch (IOException e) {
      throw new CommandException("/save: " + PinnedFiles.reason(e), e);
    }
  }

  private static void write(JsonGenerator json, ChatMessage message) throws IOException {
    json.writeStartObject();
    json.writeStringField("role", message.role());
    json.writeStringField("content", message.content().orElse(""));
    if (message.reasoning().isPresent()) {
      json.writeStringField("reasoning_content", message.reasoning().get());
    }
    json.writeEndObject();
  }

  static List<ChatMessage> load(String file) {
    Path path = path("/load", file);
    String text = Utf8.readFile("/load", path.toString());
    List<ChatMessage> messages = new ArrayList<>();
    try (JsonParser json = new JsonFactory().createParser(text)) {
      expect(json.nextToken(), JsonToken.START_ARRAY, file);
      while (json.nextToken() != JsonToken.END_ARRAY) {
        expect(json.currentToken(), JsonToken.START_OBJECT, file);
        messages.add(message(json, file));
      }
    } catch (JsonProcessingException e) {
      throw new InvalidRequestException(
          "/load: " + file + ": " + e.getOriginalMessage() + " (expected: a file made by /save)",
          e);
    } catch (IOException e) {
      throw new CommandException("/load: " + PinnedFiles.reason(e), e);
    }
    return messages;
  }

  private static ChatMessage message(JsonParser json, String file) throws IOException {
    String role = "";
    String content = "";
    String reasoning = null;
    while (json.nextToken() != JsonToken.END_OBJECT) {
      String key = json.currentName();
      expect(json.nextToken(), JsonToken.VALUE_STRING, file);
      if (key.equals("role")) {
        role = json.getText();
      } else if (key.equals("content")) {
        content = json.getText();
      } else if (key.equals("reasoning_content")) {
        reasoning = json.getText();
      }
    }
    return ChatMessage.builder(role).content(content).reasoning(reasoning).build();
  }

  private static void expect(@Nullable JsonToken met, JsonToken expected, String file) {
    if (met != expected) {
      throw new InvalidRequestException(
          "/load: " + file + ": " + met + " (expected: an array of objects with role and content,"
              + " as /save writes)");
    }
  }

  private static Path path(String command, String file) {
    if (file.isEmpty()) {
      throw new InvalidRequestException(command + ": no file (expected: " + command + " FILE)");
    }
    try {
      return Path.of(file);
    } catch (java.nio.file.InvalidPathException e) {
      throw new InvalidRequestException(command + ": " + file + " (expected: a file's path)", e);
    }
  }
}
