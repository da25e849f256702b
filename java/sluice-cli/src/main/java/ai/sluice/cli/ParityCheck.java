package ai.sluice.cli;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.core.Engine;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * The same small model on the CPU and on the GPU: two layers of attention and experts with random
 * weights, made on the spot, in float32. What they say of a text must agree.
 */
final class ParityCheck {
  /** Largest difference of a log-probability; rounding is a hundredth of it. */
  static final double TOLERANCE = 1e-3;

  private static final int VOCAB = 256;
  private static final int HIDDEN = 64;
  private static final int HEAD = 32;
  private static final int QUERY_HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int EXPERTS = 8;
  private static final int EXPERT_WIDTH = 32;
  private static final int LAYERS = 2;
  private static final int PROMPT = 48;
  private static final int SCORED = 64;
  private static final long SEED = 20_251_122;

  private static final String CONFIG =
      "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\","
          + "\"vocab_size\":" + VOCAB + ",\"hidden_size\":" + HIDDEN + ",\"head_dim\":" + HEAD
          + ",\"num_attention_heads\":" + QUERY_HEADS + ",\"num_key_value_heads\":" + KV_HEADS
          + ",\"num_hidden_layers\":" + LAYERS + ",\"num_local_experts\":" + EXPERTS
          + ",\"num_experts\":" + EXPERTS + ",\"num_experts_per_tok\":3"
          + ",\"moe_intermediate_size\":" + EXPERT_WIDTH + ",\"intermediate_size\":96"
          + ",\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[]"
          + ",\"hidden_act\":\"silu\",\"attention_bias\":false,\"rms_norm_eps\":1e-06"
          + ",\"rope_theta\":1000000.0,\"max_position_embeddings\":512"
          + ",\"tie_word_embeddings\":false,\"torch_dtype\":\"float32\",\"eos_token_id\":2}";

  private final Random random = new Random(SEED);
  private final StringBuilder header = new StringBuilder("{");
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  private ParityCheck() {}

  /**
   * Runs the model on the CPU and on the GPU.
   *
   * @param cublasLtPath as {@link EngineOptions#cublasLtPath}
   * @return the largest difference of a log-probability, NaN where one is not a number
   * @throws IOException if the model cannot be written to the folder for temporary files
   * @throws ai.sluice.api.SluiceException if an engine cannot be opened or fails
   */
  static double run(@Nullable Path cublasLtPath) throws IOException {
    return scores(Backend.CPU, Backend.CUDA, cublasLtPath)[0];
  }

  /** The largest difference between two backends, and by how much the first's numbers differ. */
  static double[] scores(Backend one, Backend other, @Nullable Path cublasLtPath)
      throws IOException {
    Path folder = Files.createTempDirectory("sluice-doctor");
    Path config = folder.resolve("config.json");
    Path weights = folder.resolve("model.safetensors");
    try {
      Files.writeString(config, CONFIG);
      Files.write(weights, new ParityCheck().weights());
      double[] first = scores(folder, one, cublasLtPath);
      double spread =
          Arrays.stream(first).max().orElse(0) - Arrays.stream(first).min().orElse(0);
      return new double[] {compare(first, scores(folder, other, cublasLtPath)), spread};
    } finally {
      Files.deleteIfExists(weights);
      Files.deleteIfExists(config);
      Files.deleteIfExists(folder);
    }
  }

  /** The largest difference; NaN if a number is none, or if there are not equally many. */
  static double compare(double[] one, double[] other) {
    double worst = one.length == other.length && one.length > 0 ? 0 : Double.NaN;
    for (int i = 0; i < Math.min(one.length, other.length); i++) {
      double difference = Math.abs(one[i] - other[i]);
      worst = Double.isNaN(difference) ? Double.NaN : Math.max(worst, difference);
    }
    return worst;
  }

  /** Log-probabilities of random continuations of a prompt that crosses blocks of the cache. */
  private static double[] scores(Path model, Backend backend, @Nullable Path cublasLtPath) {
    EngineOptions options =
        EngineOptions.builder()
            .model(model)
            .backend(backend)
            .cublasLtPath(cublasLtPath)
            .dtype(ComputeDtype.FLOAT32)
            .maxSequences(2)
            .maxStepTokens(256)
            .build();
    Random tokens = new Random(SEED + 1);
    int[] prompt = tokens.ints(PROMPT, 3, VOCAB).toArray();
    List<int[]> continuations = new ArrayList<>();
    for (int i = 0; i < SCORED; i++) {
      continuations.add(tokens.ints(1 + i % 3, 3, VOCAB).toArray());
    }
    ScoreRequest request =
        ScoreRequest.builder().promptTokens(prompt).continuationTokens(continuations).build();
    try (Engine engine = Engine.open(options)) {
      ScoreResult result = engine.score(request);
      return result.scores().stream().mapToDouble(s -> s.logprob()).toArray();
    }
  }

  /** A safetensors file. */
  private byte[] weights() {
    add("model.embed_tokens.weight", 1, VOCAB, HIDDEN);
    add("lm_head.weight", 0.2, VOCAB, HIDDEN);
    add("model.norm.weight", 0, HIDDEN);
    for (int layer = 0; layer < LAYERS; layer++) {
      String at = "model.layers." + layer + ".";
      add(at + "input_layernorm.weight", 0, HIDDEN);
      add(at + "post_attention_layernorm.weight", 0, HIDDEN);
      add(at + "self_attn.q_norm.weight", 0, HEAD);
      add(at + "self_attn.k_norm.weight", 0, HEAD);
      add(at + "self_attn.q_proj.weight", 0.15, QUERY_HEADS * HEAD, HIDDEN);
      add(at + "self_attn.k_proj.weight", 0.15, KV_HEADS * HEAD, HIDDEN);
      add(at + "self_attn.v_proj.weight", 0.15, KV_HEADS * HEAD, HIDDEN);
      add(at + "self_attn.o_proj.weight", 0.15, HIDDEN, QUERY_HEADS * HEAD);
      add(at + "mlp.gate.weight", 0.5, EXPERTS, HIDDEN);
      for (int e = 0; e < EXPERTS; e++) {
        String expert = at + "mlp.experts." + e + ".";
        add(expert + "gate_proj.weight", 0.15, EXPERT_WIDTH, HIDDEN);
        add(expert + "up_proj.weight", 0.15, EXPERT_WIDTH, HIDDEN);
        add(expert + "down_proj.weight", 0.15, HIDDEN, EXPERT_WIDTH);
      }
    }
    byte[] names = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + names.length + data.size())
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(names.length)
        .put(names)
        .put(data.toByteArray())
        .array();
  }

  /** Normal values times {@code scale}; of norms, where that is 0, weights about 1. */
  private void add(String name, double scale, int... shape) {
    int count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    ByteBuffer values = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      double value = random.nextGaussian();
      values.putFloat((float) (scale == 0 ? 1 + 0.1 * value : scale * value));
    }
    header.append(header.length() == 1 ? "\"" : ",\"").append(name)
        .append("\":{\"dtype\":\"F32\",\"shape\":")
        .append(Arrays.toString(shape).replace(" ", ""))
        .append(",\"data_offsets\":[").append(data.size()).append(',')
        .append(data.size() + values.capacity()).append("]}");
    data.writeBytes(values.array());
  }
}
