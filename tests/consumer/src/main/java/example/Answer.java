package example;

import ai.sluice.api.Chunk;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.core.Engine;
import java.nio.file.Path;

public class Answer {
  public static void main(String[] args) {
    EngineOptions options = EngineOptions.builder().model(Path.of(args[0])).build();
    GenerationRequest request =
        GenerationRequest.builder().prompt(args[1]).maxNewTokens(16).build();
    try (Engine engine = Engine.open(options)) {
      for (Chunk chunk : engine.submit(request)) {
        System.out.print(chunk.text());
      }
    }
  }
}
