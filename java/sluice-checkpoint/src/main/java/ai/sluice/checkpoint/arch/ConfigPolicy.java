package ai.sluice.checkpoint.arch;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.common.collect.ImmutableSet;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * What happens to settings that a family did not read. None that changes the arithmetic may pass
 * unnoticed:
 *
 * <ol>
 *   <li>Known not to matter for inference (bookkeeping, training, generation defaults): accepted.
 *   <li>A neutral value (false, an empty list or object, "none", a multiplier of 1, a count of 0):
 *       accepted, since it asks for nothing.
 *   <li>Names an arithmetical idea (norm, scale, window, expert, ...): refused by name.
 *   <li>Anything else: accepted, and reported as a note to the user.
 * </ol>
 */
final class ConfigPolicy {
  private static final ImmutableSet<String> HARMLESS =
      ImmutableSet.of(
          // Bookkeeping of files and libraries.
          "architectures",
          "model_type",
          "torch_dtype",
          "dtype",
          "transformers_version",
          "_name_or_path",
          "_commit_hash",
          "_from_model_config",
          "auto_map",
          "custom_pipelines",
          "license",
          "language",
          "languages",
          "tokenizer_class",
          "finetuning_task",
          "task_specific_params",
          "problem_type",
          "id2label",
          "label2id",
          "prefix",
          "torchscript",
          "use_bfloat16",
          "transformers.js_config",
          "is_llama_config",
          "unsloth_version",
          "unsloth_fixed",
          "unsloth_training_info",
          // Tokens: read where they are needed.
          "bos_token_id",
          "eos_token_id",
          "pad_token_id",
          "unk_token_id",
          "sep_token_id",
          "cls_token_id",
          "mask_token_id",
          "decoder_start_token_id",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "image_token_id",
          "video_token_id",
          // Another way to the same result.
          "_attn_implementation",
          "attn_implementation",
          "_attn_implementation_autoset",
          "use_flash_attention",
          "use_flash_attention_2",
          "use_flash_attn",
          "_flash_attn_2_enabled",
          "use_cache",
          "pretraining_tp",
          "chunk_size_feed_forward",
          "gradient_checkpointing",
          "max_sequence_length",
          "seq_length",
          "model_max_length",
          "use_memory_efficient_attention",
          // Training.
          "initializer_range",
          "attention_dropout",
          "hidden_dropout",
          "hidden_dropout_prob",
          "attention_probs_dropout_prob",
          "attn_pdrop",
          "embd_pdrop",
          "resid_pdrop",
          "embedding_dropout",
          "classifier_dropout",
          "residual_dropout",
          // What a forward pass returns.
          "output_attentions",
          "output_hidden_states",
          "output_scores",
          "return_dict",
          "return_dict_in_generate",
          "output_router_logits",
          // Generation, which generation_config.json and requests govern.
          "max_length",
          "max_new_tokens",
          "min_length",
          "do_sample",
          "early_stopping",
          "num_beams",
          "num_beam_groups",
          "num_return_sequences",
          "diversity_penalty",
          "temperature",
          "top_k",
          "top_p",
          "typical_p",
          "repetition_penalty",
          "length_penalty",
          "no_repeat_ngram_size",
          "encoder_no_repeat_ngram_size",
          "bad_words_ids",
          "remove_invalid_values",
          "exponential_decay_length_penalty",
          "suppress_tokens",
          "begin_suppress_tokens");

  // Parts of a key that speak of arithmetic. Wide on purpose: a false alarm names the key and can
  // be lifted, a key passed over gives wrong text without a word.
  private static final ImmutableSet<String> ARITHMETIC =
      ImmutableSet.of(
          "act",
          "adapter",
          "alibi",
          "attention",
          "attn",
          "audio",
          "bias",
          "cap",
          "causal",
          "chunk",
          "clamp",
          "clip",
          "compress",
          "conv",
          "cross",
          "embed",
          "eps",
          "expert",
          "factor",
          "ffn",
          "freq",
          "gate",
          "group",
          "head",
          "hidden",
          "interleave",
          "intermediate",
          "lambda",
          "latent",
          "layer",
          "length",
          "logit",
          "lora",
          "mask",
          "merge",
          "mlp",
          "moe",
          "mrope",
          "multiplier",
          "mup",
          "nextn",
          "norm",
          "parallel",
          "parameters",
          "partial",
          "position",
          "post",
          "pre_",
          "pruned",
          "quant",
          "rank",
          "recurrent",
          "residual",
          "rope",
          "rotary",
          "router",
          "scale",
          "scaling",
          "scoring",
          "shared",
          "sink",
          "soft",
          "sparse",
          "ssm",
          "state",
          "temperature",
          "theta",
          "tie_",
          "topk",
          "type_vocab",
          "vision",
          "window");

  private ConfigPolicy() {}

  /**
   * Judges what {@code config} has left unread.
   *
   * @param harmless keys that this family knows not to matter
   * @return notes about keys that were passed over
   * @throws ai.sluice.api.UnsupportedModelException for a key that changes the arithmetic
   */
  static List<String> judge(ModelConfig config, Set<String> harmless) {
    List<String> notes = new ArrayList<>();
    for (String key : config.unread()) {
      JsonNode value = config.peek(key).orElseThrow();
      if (HARMLESS.contains(key) || harmless.contains(key) || isNeutral(key, value)) {
        continue;
      }
      String lower = key.toLowerCase(Locale.ROOT);
      if (ARITHMETIC.stream().anyMatch(lower::contains)) {
        throw config.unsupported(
            key,
            "absent: not supported for this family; if it does not change the arithmetic, remove"
                + " it from the file");
      }
      notes.add(passedOver(config, key));
    }
    return notes;
  }

  /**
   * Notes about what {@code config} has left unread, for a family whose definition says that other
   * keys mean nothing.
   */
  static List<String> passOver(ModelConfig config) {
    return config.unread().stream()
        .filter(key -> !HARMLESS.contains(key))
        .filter(key -> !isNeutral(key, config.peek(key).orElseThrow()))
        .map(key -> passedOver(config, key))
        .toList();
  }

  private static String passedOver(ModelConfig config, String key) {
    return config.name(key) + ": " + config.show(key) + " is not known and was passed over";
  }

  private static boolean isNeutral(String key, JsonNode value) {
    if (value.isContainerNode()) {
      return value.isEmpty();
    }
    if (value.isBoolean()) {
      return !value.booleanValue();
    }
    if (value.isTextual()) {
      return value.textValue().isEmpty() || value.textValue().equals("none");
    }
    boolean multiplies =
        key.contains("multiplier") || key.contains("scal") || key.contains("factor");
    boolean counts = key.startsWith("num_") || key.startsWith("n_") || key.endsWith("_count");
    return value.isNumber()
        && ((multiplies && value.doubleValue() == 1) || (counts && value.doubleValue() == 0));
  }
}
