package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.TestModels.LLAMA;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import ai.sluice.api.SluiceException;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Damaged files, by seeded chance: whatever is read, only a SluiceException may come out, and no
 * more memory may be asked for than the file's size justifies.
 */
class MutationTest {
  private static final int ROUNDS = 20_000;
  private static final int CONFIG_ROUNDS = 5_000;
  // Reading one such file costs well below 2 MiB. A config that asks for the most layers costs 6 to
  // 8.2 MiB, by how far the compiler has got with keeping short-lived objects off the heap; a
  // length
  // believed without a check would cost hundreds.
  private static final long MAX_ALLOCATION = 16 << 20;
  private static final long[] HOSTILE = {
    0,
    -1,
    1,
    7,
    1L << 31,
    (1L << 31) - 1,
    1L << 32,
    1L << 40,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    100_000_000,
    100_000_001,
    1L << 61,
    (1L << 63) - 31
  };

  @TempDir Path folder;
  private int refused;
  private int accepted;

  /** Changes one to four places of {@code original}, or cuts it. */
  private static byte[] mutate(byte[] original, int headerEnd, Random random) {
    byte[] bytes = original.clone();
    for (int n = 1 + random.nextInt(4); n > 0; n--) {
      int at = random.nextInt(headerEnd);
      switch (random.nextInt(6)) {
        case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
        case 1 -> bytes[at] = (byte) random.nextInt(256);
        case 2 -> bytes[at] = (byte) "{}[],:\"-0919e.\\ ".charAt(random.nextInt(16));
        case 3 -> {
          int length = Math.min(1 + random.nextInt(32), bytes.length - at);
          int from = random.nextInt(bytes.length - length + 1);
          System.arraycopy(bytes, from, bytes, at, length);
        }
        case 4 -> {
          if (at + 8 <= bytes.length) {
            ByteBuffer.wrap(bytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(at, HOSTILE[random.nextInt(HOSTILE.length)]);
          }
        }
        default -> {
          if (random.nextInt(8) == 0) {
            return Arrays.copyOf(bytes, random.nextInt(bytes.length));
          }
        }
      }
    }
    return bytes;
  }

  private void tryToRead(String what, Runnable read) {
    long before = Allocation.bytes();
    try {
      read.run();
      accepted++;
    } catch (SluiceException e) {
      refused++;
      assertTrue(e.getMessage() != null && e.getMessage().length() < 4000, what);
    } catch (RuntimeException | Error e) {
      fail(what + " threw " + e, e);
    }
    long allocated = Allocation.bytes() - before;
    assertTrue(allocated < MAX_ALLOCATION, what + " allocated " + allocated + " bytes");
  }

  private void run(int rounds, byte[] original, int headerEnd, Path file, Consumer<Path> read)
      throws IOException {
    // One file, written over: truncating to nothing first makes some file systems flush each time.
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(original), 0);
      // Once unharmed: the first reading loads classes.
      read.accept(file);
      for (int seed = 0; seed < rounds; seed++) {
        byte[] mutated = mutate(original, headerEnd, new Random(seed));
        channel.write(ByteBuffer.wrap(mutated), 0);
        channel.truncate(mutated.length);
        tryToRead("seed " + seed, () -> read.accept(file));
      }
    }
    // Both outcomes must occur, else the mutations test nothing.
    assertTrue(refused > rounds / 2, "refused " + refused);
    assertTrue(accepted > rounds / 1000, "accepted " + accepted);
  }

  @Test
  void safetensors() throws IOException {
    byte[] bytes =
        new SafetensorsBytes()
            .add("model.embed_tokens.weight", DType.F32, 8, 4)
            .add("model.layers.0.self_attn.q_proj.weight", DType.BF16, 4, 4)
            .add("empty", DType.I64, 0, 3)
            .add("scalar", DType.U8)
            .bytes();
    int headerEnd = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong() + 8;
    run(
        ROUNDS,
        bytes,
        headerEnd,
        folder.resolve("m.safetensors"),
        file -> {
          SafetensorsFile opened = SafetensorsFile.open(file);
          for (TensorInfo tensor : opened.tensors().tensors()) {
            if (tensor.dtype() == DType.F32) {
              opened.readFloat32(tensor.name());
            }
          }
        });
  }

  @Test
  void ggufOfAWholeModel() throws IOException {
    String[] tokens = new String[40];
    Arrays.setAll(tokens, i -> "token" + i);
    GgufBytes gguf =
        TestModels.ggufKeys("llama")
            .key("tokenizer.ggml.model", "gpt2")
            .key("tokenizer.ggml.tokens", tokens)
            .key("tokenizer.ggml.merges", new String[] {"a b", "b c"})
            .key("tokenizer.ggml.eos_token_id", 2)
            .key("tokenizer.chat_template", "{{ messages }}")
            .key("llama.rope.scaling.type", "linear")
            .key("llama.rope.scaling.factor", 2f);
    TestModels.addTensors(gguf, TestModels.shapes(TestModels.json(LLAMA)));
    gguf.addValues("rope_freqs.weight", 1, 1, 1, 1);
    run(
        ROUNDS,
        gguf.bytes(),
        gguf.header().length,
        folder.resolve("m.gguf"),
        file -> {
          Checkpoint checkpoint = Checkpoint.open(file);
          checkpoint
              .tokenizer()
              .ifPresent(
                  source -> {
                    GgufTokenizerData data = ((TokenizerSource.Gguf) source).data();
                    data.tokens().forEach(String::length);
                    data.merges().forEach(String::length);
                    data.scores().forEach(Float::floatValue);
                    data.tokenTypes().forEach(Long::longValue);
                  });
        });
  }

  @Test
  void configBytes() throws IOException {
    Path model = TestModels.folder(folder.resolve("model"), TestModels.json(LLAMA));
    byte[] config = Files.readAllBytes(model.resolve("config.json"));
    run(
        CONFIG_ROUNDS,
        config,
        config.length,
        model.resolve("config.json"),
        file -> Checkpoint.open(model));
  }

  @Test
  void everySettingWithEveryHostileValue() throws IOException {
    List<JsonNode> hostile = hostileValues();
    String rope =
        "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0,"
            + " \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}";
    for (String[] family :
        new String[][] {
          {"LlamaForCausalLM", "llama"},
          {"MistralForCausalLM", "mistral"},
          {"Qwen2ForCausalLM", "qwen2"},
          {"Qwen3ForCausalLM", "qwen3"}
        }) {
      ObjectNode base =
          TestModels.with(
              LLAMA,
              rope
                  + ", \"architectures\": [\"%s\"], \"model_type\": \"%s\""
                      .formatted(family[0], family[1])
                  + ", \"head_dim\": 8, \"hidden_act\": \"silu\", \"sliding_window\": null,"
                  + " \"use_sliding_window\": false,"
                  + " \"attention_bias\": false, \"mlp_bias\": false, \"rope_parameters\": null,"
                  + " \"partial_rotary_factor\": 1, \"layer_types\": null");
      if (family[1].startsWith("qwen")) {
        base.put("max_window_layers", 1);
      }
      tryEverySetting(family[1], base, hostile);
    }
    assertTrue(refused > 1500, "refused " + refused);
    assertTrue(accepted > 200, "accepted " + accepted);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "mixtral",
        "qwen3_moe",
        "deepseek",
        "deepseek_v2_grouped",
        "deepseek_v3",
        "gpt_oss",
        "adaptive_moe_sparse"
      })
  void everySettingOfTheFamiliesWithExperts(String name) throws IOException {
    ObjectNode base =
        TestModels.json(Files.readString(Fixtures.folder(name).resolve("config.json")));
    // Unharmed first: the first reading loads classes.
    Checkpoint.open(TestModels.folder(folder.resolve(name), base));
    tryEverySetting(name, base, hostileValues());
    assertTrue(refused > 300, "refused " + refused);
    assertTrue(accepted > 100, "accepted " + accepted);
  }

  private void tryEverySetting(String name, ObjectNode base, List<JsonNode> hostile)
      throws IOException {
    Path model = TestModels.folder(folder.resolve(name), base);
    for (String key : fieldNames(base)) {
      for (JsonNode value : hostile) {
        ObjectNode changed = base.deepCopy();
        changed.set(key, value);
        tryOpen(model, changed, key + "=" + value);
      }
      if (!(base.get(key) instanceof ObjectNode inner)) {
        continue;
      }
      for (String innerKey : fieldNames(inner)) {
        for (JsonNode value : hostile) {
          ObjectNode changed = base.deepCopy();
          ((ObjectNode) changed.get(key)).set(innerKey, value);
          tryOpen(model, changed, key + "." + innerKey + "=" + value);
        }
      }
    }
  }

  private static List<JsonNode> hostileValues() throws IOException {
    List<JsonNode> hostile = new ArrayList<>();
    for (String value :
        List.of(
            "null",
            "-1",
            "0",
            "1",
            "2",
            "3",
            "7",
            "0.5",
            "-0.0",
            "1e308",
            "1e-320",
            "1024",
            "2147483647",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "1e400",
            "\"x\"",
            "\"\"",
            "true",
            "false",
            "[]",
            "{}",
            "[1]",
            "[null]",
            "{\"a\":1}",
            "[[[[[]]]]]",
            "\"\\u0000\\ud800\"",
            "[1,2,3,4,5,6,7,8,9,10]")) {
      hostile.add(TestModels.JSON.readTree(value));
    }
    return hostile;
  }

  private void tryOpen(Path model, ObjectNode config, String what) throws IOException {
    // ASCII only, so that lone surrogates can be written as escapes.
    Files.write(
        model.resolve("config.json"),
        TestModels.JSON
            .writer()
            .with(JsonGenerator.Feature.ESCAPE_NON_ASCII)
            .writeValueAsBytes(config));
    tryToRead(what, () -> Checkpoint.open(model));
  }

  private static List<String> fieldNames(ObjectNode object) {
    List<String> names = new ArrayList<>();
    object.fieldNames().forEachRemaining(names::add);
    return names;
  }
}
