package ai.sluice.core;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelHead;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.HeadSpec;
import ai.sluice.proto.ModelSpec;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/** The output heads of a model, and which of them a request means. */
final class ModelHeads {
  private final List<ModelHead> heads;

  ModelHeads(ModelSpec spec) {
    heads = spec.getHeadsList().stream().map(ModelHeads::describe).toList();
  }

  private static ModelHead describe(HeadSpec head) {
    int values =
        head.getKind() == HeadKind.CLASSIFICATION
            ? head.getNumLabels()
            : head.getKind() == HeadKind.VALUE ? 1 : 0;
    return new ModelHead(
        head.getName(), ModelHead.Kind.valueOf(head.getKind().name()), values);
  }

  List<ModelHead> all() {
    return heads;
  }

  /** Most values that a head gives; 0 if none gives any. */
  int maxValues() {
    return heads.stream().mapToInt(ModelHead::numValues).max().orElse(0);
  }

  /** The head that chooses tokens: the named one, or the first GENERATION head. */
  HeadChoice forTokens(Optional<String> name) {
    return HeadChoice.tokens(
        find(
            name,
            head -> name.isPresent()
                ? head.givesTokens()
                : head.kind() == ModelHead.Kind.GENERATION,
            "tokens"));
  }

  /** The head that gives scores: the named one, or the first that does. */
  HeadChoice forValues(Optional<String> name) {
    int index = find(name, head -> !head.givesTokens(), "scores");
    return new HeadChoice(index, heads.get(index).numValues());
  }

  private int find(Optional<String> name, Predicate<ModelHead> suits, String what) {
    for (int i = 0; i < heads.size(); i++) {
      ModelHead head = heads.get(i);
      if (suits.test(head) && (name.isEmpty() || head.name().equals(name.get()))) {
        return i;
      }
    }
    String known =
        heads.stream()
            .filter(head -> head.givesTokens() == what.equals("tokens"))
            .map(ModelHead::name)
            .collect(Collectors.joining(", "));
    if (known.isEmpty()) {
      throw new UnsupportedModelException(
          "heads: none gives " + what + " (expected: one that does; this model has "
              + heads.stream().map(ModelHead::name).collect(Collectors.joining(", ")) + ")");
    }
    throw new InvalidRequestException(
        "head: " + name.orElse("none named") + " (expected: " + known + ", which give " + what
            + ")");
  }
}
