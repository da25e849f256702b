package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.RopeVariant;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InspectCommandTest {
  @TempDir Path home;

  private String inspect(String fixture) {
    CliRun run = CliRun.of(home, "inspect", GoldenFiles.fixture(fixture).toString());
    assertEquals(0, run.code(), run.err());
    return run.out();
  }

  private static void assertRow(String out, String label, String text) {
    String row = String.format("%-12s  %s\n", label, text);
    assertTrue(out.contains(row), () -> "no row '" + row.strip() + "' in\n" + out);
  }

  @Test
  void llama() {
    String out = inspect("llama");
    assertRow(out, "architecture", "llama");
    assertRow(out, "stored", "F32 509.7 kB");
    assertRow(out, "parameters", "127,424, of them 16,384 in the embedding");
    assertRow(out, "layers", "3, hidden_size 64, vocabulary 256, head tied to the embedding");
    assertRow(
        out, "attention", "grouped-query: 4 query heads, 2 key/value heads, head_dim 16");
    assertRow(out, "feed-forward", "dense: 128, silu, gated");
    assertRow(out, "rope", "plain: base 500000, 16 columns, pairs in halves");
    // 3 layers * 2 heads * (16 + 16) values.
    assertRow(out, "kv cache", "192 numbers per token: 384 B in bfloat16, 768 B in float32");
    assertRow(out, "tokenizer", "none: requests must be token ids");
  }

  @Test
  void aWindowBoundsTheCache() {
    String out = inspect("mistral");
    assertRow(
        out,
        "attention",
        "multi-query: 4 query heads, 1 key/value heads, head_dim 32, sliding window 8");
    // 2 layers * 8 positions * 64 values * 4 bytes, whatever the context.
    assertRow(
        out, "", "2.0 kB in bfloat16, 4.1 kB in float32 for one sequence of the whole context");
  }

  @Test
  void latentAttentionAndExperts() {
    String out = inspect("deepseek_v3");
    assertRow(
        out,
        "attention",
        "latent: 4 heads of 16 + 8 rotary columns, values of 16; queries through 24, keys and"
            + " values through 32");
    assertRow(out, "feed-forward", "layer 0: dense: 64, silu, gated");
    assertRow(
        out,
        "",
        "layers 1 to 2: mixture: 8 experts of 16, 3 per token from 1 of 2 groups, shared 16, silu,"
            + " gated; router: sigmoid with correction bias, normalised, times 2.5");
    // 3 layers of 32 + 8.
    assertRow(
        out, "kv cache", "120 numbers per token: 240 B in bfloat16, 480 B in float32");
  }

  @Test
  void alternatingWindowsAndPackedExperts() {
    String out = inspect("gpt_oss_mxfp4");
    assertRow(
        out,
        "attention",
        "layers 0, 2: grouped-query: 4 query heads, 2 key/value heads, head_dim 16, sliding"
            + " window 8, q/k/v bias, sinks");
    assertRow(
        out,
        "feed-forward",
        "mixture: 6 experts of 64, 2 per token, swiglu clamped at 7.0, gated; router: softmax of"
            + " the chosen");
    assertTrue(out.contains("BF16 223.2 kB, MXFP4 176.3 kB"), out);
  }

  @Test
  void adaptiveLayersAndTheirHeads() {
    String out = inspect("adaptive_moe_sparse");
    assertRow(
        out,
        "",
        "layer 1: adaptive, blocks of 4: 1 global, 2 local, 2 random: 4 heads of 16, 16 relative"
            + " positions, gate from 0.3 on, q/k/v bias");
    assertRow(
        out,
        "feed-forward",
        "mixture: 4 experts of 8, 2 per token, gelu; router: network of 32 with stored noise; at"
            + " most 9 tokens per expert in 16 positions");
    assertRow(out, "compression", "residual through 25 columns, gelu, LayerNorm, eps 1.0E-5");
    assertRow(out, "heads", "generation: logits of the next token");
    assertRow(out, "", "classification: 5 scores from the last position");
  }

  @Test
  void storedTypeAndEndTokens() {
    String out = inspect("llama3_rope");
    assertRow(out, "stored", "BF16 394.2 kB");
    assertRow(out, "end tokens", "2, 5, 7");
    assertTrue(out.contains("rope          scaled unevenly"), out);
  }

  @Test
  void unsupportedArchitectureIsNamed() throws IOException {
    Path folder = Files.createDirectories(home.resolve("other"));
    Files.writeString(
        folder.resolve("config.json"), "{\"architectures\": [\"OtherForCausalLM\"]}");
    CliRun run = CliRun.of(home, "inspect", folder.toString());
    assertEquals(1, run.code());
    assertTrue(run.err().contains("OtherForCausalLM"), run.err());
    assertEquals(1, run.errLines());
  }

  @Test
  void truncatedWeightsAreNamed() throws IOException {
    Path copy = Files.createDirectories(home.resolve("copy"));
    for (String name : new String[] {"config.json", "model.safetensors"}) {
      Files.copy(GoldenFiles.fixture("llama").resolve(name), copy.resolve(name));
    }
    byte[] bytes = Files.readAllBytes(copy.resolve("model.safetensors"));
    Files.write(
        copy.resolve("model.safetensors"), java.util.Arrays.copyOf(bytes, bytes.length - 1));
    CliRun run = CliRun.of(home, "inspect", copy.toString());
    assertEquals(1, run.code());
    assertTrue(run.err().contains("model.safetensors"), run.err());
    assertEquals(1, run.errLines());
  }

  @Test
  void ropeRulesAreReadBackFromTheNumbers() {
    assertEquals("plain: base 10000, 8 columns, pairs in halves", rope(1, 10_000));
    assertEquals("linear: base 10000, factor 4, 8 columns, pairs in halves", rope(4, 10_000));
  }

  private static String rope(double factor, double base) {
    RopeVariant.Builder variant = RopeVariant.newBuilder();
    for (int i = 0; i < 4; i++) {
      variant.addInvFreq(Math.pow(base, -i / 4.0) / factor);
    }
    RopeSpec spec = RopeSpec.newBuilder().setRotaryDim(8).addVariants(variant).build();
    return RopeText.of(spec, Optional.empty());
  }
}
