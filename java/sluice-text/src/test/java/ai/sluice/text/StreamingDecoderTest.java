package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Decoding token by token. */
class StreamingDecoderTest {

  @Test
  void bytesOfACharacterAreHeldBack() {
    try (Tokenizer tokenizer = Tokenizer.fromJson(GoldenIds.read("small/sentencepiece.json"))) {
      StreamingDecoder stream = tokenizer.streamingDecoder(true);
      List<String> parts = new ArrayList<>();
      for (byte b : "😀é".getBytes(StandardCharsets.UTF_8)) {
        parts.add(
            stream.accept(tokenizer.tokenToId(String.format("<0x%02X>", b & 0xFF)).orElseThrow()));
      }
      assertEquals(List.of("", "", "", "😀", "", "é"), parts);
      assertEquals("", stream.finish());
    }
  }

  @Test
  void anUnfinishedCharacterIsFlushedAsAReplacement() {
    try (Tokenizer tokenizer = Tokenizer.fromJson(GoldenIds.read("small/sentencepiece.json"))) {
      StreamingDecoder stream = tokenizer.streamingDecoder(true);
      int first = tokenizer.tokenToId("<0xF0>").orElseThrow();
      assertEquals("", stream.accept(first));
      assertTrue(stream.isPending());
      assertEquals("\uFFFD", stream.finish());
      assertThrows(IllegalStateException.class, () -> stream.accept(first));
      assertThrows(IllegalStateException.class, stream::finish);
    }
  }

  @Test
  void aTextThatContinuesKeepsItsFirstSpace() {
    try (Tokenizer tokenizer = Tokenizer.fromJson(GoldenIds.read("small/sentencepiece.json"))) {
      int[] ids = tokenizer.encode("river", false, true);
      assertEquals("river", GoldenIds.stream(tokenizer, ids, true));
      StreamingDecoder stream = tokenizer.continuingDecoder(true);
      StringBuilder text = new StringBuilder();
      for (int id : ids) {
        text.append(stream.accept(id));
      }
      assertEquals(" river", text + stream.finish());
    }
  }

  /** Any bytes at all give the text that the library gives, one token for each byte. */
  @Test
  void brokenBytesDecodeAsInTheLibrary() {
    int[] likely = {
      0xC0, 0xC3, 0xE0, 0xE4, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
      0xBF, 'a', ' '
    };
    Random random = new Random(7);
    byte[] json = GoldenIds.read("small/bytelevel.json");
    try (Tokenizer tokenizer = Tokenizer.fromJson(json);
        NativeTokenizer library = NativeTokenizer.create(TokenizerJson.text(json))) {
      for (int round = 0; round < 5_000; round++) {
        int[] ids = new int[1 + random.nextInt(8)];
        for (int i = 0; i < ids.length; i++) {
          char sign = ByteLevelAlphabet.charOf(likely[random.nextInt(likely.length)]);
          ids[i] = tokenizer.tokenToId(String.valueOf(sign)).orElseThrow();
        }
        assertEquals(library.decode(ids, true), GoldenIds.stream(tokenizer, ids, true));
      }
    }
  }

  /** The library decodes whole documents on its own way; both ways must meet. */
  @Test
  void ourDecodingIsThatOfTheLibrary() {
    Random random = new Random(11);
    byte[] json = GoldenIds.read("small/bytelevel.json");
    try (Tokenizer tokenizer = Tokenizer.fromJson(json);
        NativeTokenizer library = NativeTokenizer.create(TokenizerJson.text(json))) {
      for (int round = 0; round < 500; round++) {
        int[] ids = random.ints(40, 0, tokenizer.vocabSize()).toArray();
        boolean skip = random.nextBoolean();
        assertEquals(library.decode(ids, skip), tokenizer.decode(ids, skip));
        assertEquals(tokenizer.decode(ids, skip), GoldenIds.stream(tokenizer, ids, skip));
      }
    }
  }
}
