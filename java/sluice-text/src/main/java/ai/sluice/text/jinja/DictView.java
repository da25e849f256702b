package ai.sluice.text.jinja;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What dict.keys(), values() and items() give: iterable with a length, without an index.
 *
 * @param kind dict_keys, dict_values or dict_items
 * @param elements the elements at the time of the call
 */
record DictView(String kind, List<@Nullable Object> elements) {}
