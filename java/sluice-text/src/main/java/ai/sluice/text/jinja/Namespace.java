package ai.sluice.text.jinja;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** An object whose attributes a template may set from any block. */
final class Namespace {
  private final Map<String, @Nullable Object> attributes = new LinkedHashMap<>();

  Map<String, @Nullable Object> attributes() {
    return attributes;
  }
}
