package ai.sluice.checkpoint;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The vocabulary fields of a GGUF file, as the file has them. Nothing is interpreted: whoever
 * builds a tokenizer decides which {@code model} and {@code pre} it knows. The lists cannot be
 * changed and decode their entries when read; an entry that is not UTF-8 then throws
 * CheckpointFormatException.
 *
 * @param file the file, for messages
 * @param model kind of tokenizer: {@code gpt2} (byte-level BPE), {@code llama} (SentencePiece), ...
 * @param pre name of the pre-tokenizer rules, if given
 * @param tokens the tokens by id
 * @param tokenTypes type of each token (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6
 *     byte); empty if absent, else as long as tokens
 * @param scores score of each token; empty if absent, else as long as tokens
 * @param merges BPE merges by rank, two tokens with a space between; empty if absent
 * @param bosTokenId the token in front of a text, if any
 * @param eosTokenId the token after a text, if any
 * @param eotTokenId the token after a chat turn, if any
 * @param unknownTokenId the token for what no other covers, if any
 * @param paddingTokenId the padding token, if any
 * @param addBos whether texts get the token in front, if said
 * @param addEos whether texts get the token after, if said
 * @param addSpacePrefix whether a space is put in front of a text, if said
 * @param removeExtraWhitespaces whether repeated spaces are merged, if said
 * @param precompiledCharsmap SentencePiece normalization rules; empty if absent
 */
public record GgufTokenizerData(
    Path file,
    String model,
    Optional<String> pre,
    List<String> tokens,
    List<Long> tokenTypes,
    List<Float> scores,
    List<String> merges,
    Optional<Integer> bosTokenId,
    Optional<Integer> eosTokenId,
    Optional<Integer> eotTokenId,
    Optional<Integer> unknownTokenId,
    Optional<Integer> paddingTokenId,
    Optional<Boolean> addBos,
    Optional<Boolean> addEos,
    Optional<Boolean> addSpacePrefix,
    Optional<Boolean> removeExtraWhitespaces,
    List<Long> precompiledCharsmap) {}
