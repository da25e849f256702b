#include "runtime/weight_layout.h"

#include <algorithm>

#include "base/checked.h"
#include "base/shape.h"
#include "quant/decode.h"

namespace sluice {
namespace {

using SourceMessage = Sluice__Proto__WeightSource;
using Files = std::vector<std::shared_ptr<const FileReader>>;

constexpr int64_t kMaxExtent = int64_t{1} << 40;
constexpr int64_t kMxfp4Block = 32;
constexpr Format kWeightFormats[] = {
    Format::kF32,    Format::kF16,    Format::kBf16,  Format::kF64,
    Format::kF8E4m3, Format::kF8E5m2, Format::kQ4_0,  Format::kQ4_1,
    Format::kQ5_0,   Format::kQ5_1,   Format::kQ8_0,  Format::kQ4_K,
    Format::kQ5_K,   Format::kQ6_K,   Format::kMxfp4, Format::kMxfp4Split};
constexpr Format kScaleFormats[] = {Format::kF32, Format::kF16, Format::kBf16, Format::kF8E8m0};
constexpr Format kMxfp4ScaleFormats[] = {Format::kF8E8m0};

std::string names_of(std::span<const Format> formats) {
  std::string names;
  for (const Format format : formats) {
    names += (names.empty() ? "" : ", ") + std::string(format_name(format));
  }
  return names;
}

bool contains(std::span<const Format> formats, Format format) {
  return std::find(formats.begin(), formats.end(), format) != formats.end();
}

// Extents and strides of the last `message.n_shape` of [experts, rows, columns], as stored.
struct Layout {
  int64_t extent[3] = {1, 1, 1};
  int64_t stride[3] = {0, 0, 0};
};

Layout decode_extents(const SourceMessage& message, const FieldReader& fields) {
  Layout layout;
  SLUICE_CHECK_ARG(message.n_strides == 0 || message.n_strides == message.n_shape,
                   fields.name("strides"), ": ", message.n_strides, " (expected: none or ",
                   message.n_shape, ")");
  const size_t first = 3 - message.n_shape;
  for (size_t d = 0; d < message.n_shape; ++d) {
    layout.extent[first + d] =
        fields.integer(indexed("shape", d).c_str(), message.shape[d], 1, kMaxExtent);
  }
  layout.stride[2] = 1;
  layout.stride[1] = layout.extent[2];
  layout.stride[0] = checked_mul(layout.extent[1], layout.extent[2]);
  for (size_t d = 0; d < message.n_strides; ++d) {
    layout.stride[first + d] =
        fields.integer(indexed("strides", d).c_str(), message.strides[d], 1, kMaxExtent);
  }
  return layout;
}

void check_blocks(const SourceMessage& message, const FieldReader& fields, Format format,
                  const Layout& layout) {
  const int64_t block = format_traits(format).values_per_block;
  if (block == 1) return;
  SLUICE_CHECK_ARG(layout.extent[2] % block == 0, fields.name("shape"), ": ", layout.extent[2],
                   " values innermost (expected: a multiple of ", block, " for ",
                   format_name(format), ")");
  const size_t first = 3 - message.n_shape;
  SLUICE_CHECK_ARG(layout.stride[2] == 1, fields.name("strides"), ": ", layout.stride[2],
                   " innermost (expected: 1 for ", format_name(format), ")");
  for (size_t d = first; d < 2; ++d) {
    SLUICE_CHECK_ARG(layout.stride[d] % block == 0, fields.name(indexed("strides", d - first)),
                     ": ", layout.stride[d], " (expected: a multiple of ", block, " for ",
                     format_name(format), ")");
  }
}

// Exactly the bytes from the first value to the last.
void decode_place(const SourceMessage& message, const FieldReader& fields, const Files& files,
                  const Layout& layout, WeightTensor* tensor) {
  const int64_t file = fields.required("file", message.has_file, message.file, 0,
                                       static_cast<int64_t>(files.size()) - 1);
  tensor->file = files[file];
  tensor->offset = fields.required("offset", message.has_offset, message.offset, 0, INT64_MAX / 2);
  tensor->bytes = fields.required("bytes", message.has_bytes, message.bytes, 0, INT64_MAX / 2);
  int64_t values = 1;
  for (int d = 0; d < 3; ++d) {
    values = checked_add(values, checked_mul(layout.extent[d] - 1, layout.stride[d]));
  }
  const int64_t block = format_traits(tensor->format).values_per_block;
  const int64_t expected =
      format_bytes(tensor->format, checked_add(values, block - 1) / block * block);
  Shape shape;
  for (size_t d = 3 - message.n_shape; d < 3; ++d) shape.push_back(layout.extent[d]);
  SLUICE_CHECK_ARG(tensor->bytes == expected, fields.name("bytes"), ": ", tensor->bytes,
                   " (expected: ", expected, " for ", shape.to_string(), " ",
                   format_name(tensor->format), " values)");
}

// Rows of the tensor are the model's outputs.
void orient(const Layout& layout, bool is_vector, bool transposed, WeightTensor* tensor) {
  tensor->experts = layout.extent[0];
  tensor->expert_stride = layout.stride[0];
  tensor->rows = layout.extent[1];
  tensor->cols = layout.extent[2];
  tensor->row_stride = layout.stride[1];
  tensor->col_stride = layout.stride[2];
  if (is_vector) {  // [experts, n]: n rows of one column
    tensor->experts = layout.extent[1];
    tensor->expert_stride = layout.stride[1];
    tensor->rows = layout.extent[2];
    tensor->cols = 1;
    tensor->row_stride = layout.stride[2];
    tensor->col_stride = 1;
  }
  if (!transposed) return;
  std::swap(tensor->rows, tensor->cols);
  std::swap(tensor->row_stride, tensor->col_stride);
}

WeightScale decode_scale(const SourceMessage& parent, const Layout& values,
                         std::span<const Format> formats, const FieldReader& parent_fields,
                         const Files& files) {
  const SourceMessage& message = *parent.scale;
  const FieldReader fields = parent_fields.child("scale");
  WeightScale scale;
  scale.block_rows =
      parent_fields.integer("scale_block_rows", parent.scale_block_rows, 1, UINT32_MAX);
  scale.block_cols =
      parent_fields.integer("scale_block_columns", parent.scale_block_columns, 1, UINT32_MAX);
  SLUICE_CHECK_ARG(message.kind == SLUICE__PROTO__SOURCE_KIND__FILE, fields.name("kind"),
                   ": RANDOM_NORMAL (expected: FILE)");
  SLUICE_CHECK_ARG(message.scale == nullptr && message.zero_point == nullptr, fields.name("scale"),
                   ": set (expected: absent, scales have none of their own)");
  SLUICE_CHECK_ARG(!message.transposed, fields.name("transposed"),
                   ": true (expected: false, scales follow the order of their values)");
  fields.require("format", message.has_format);
  scale.tensor.format = static_cast<Format>(message.format);
  SLUICE_CHECK_ARG(contains(formats, scale.tensor.format), fields.name("format"), ": ",
                   proto_enum_name(sluice__proto__format__descriptor, message.format),
                   " (expected: ", names_of(formats), ")");
  SLUICE_CHECK_ARG(message.n_shape == parent.n_shape, fields.name("shape"), ": ", message.n_shape,
                   " dimensions (expected: ", parent.n_shape, ", as its values)");
  const Layout layout = decode_extents(message, fields);
  const int64_t block[3] = {1, scale.block_rows, scale.block_cols};
  const size_t first = 3 - message.n_shape;
  for (size_t d = first; d < 3; ++d) {
    const int64_t expected = ceil_div(values.extent[d], block[d]);
    SLUICE_CHECK_ARG(layout.extent[d] == expected, fields.name(indexed("shape", d - first)), ": ",
                     layout.extent[d], " (expected: ", expected, ", ", values.extent[d],
                     " values in blocks of ", block[d], ")");
  }
  decode_place(message, fields, files, layout, &scale.tensor);
  orient(layout, false, parent.transposed, &scale.tensor);
  if (parent.transposed) std::swap(scale.block_rows, scale.block_cols);
  return scale;
}

// Scales that the format needs, may have, or must not have.
std::optional<WeightScale> decode_scales(const SourceMessage& message, Format format,
                                         bool is_vector, const Layout& layout,
                                         const FieldReader& fields, const Files& files) {
  const bool split = format == Format::kMxfp4Split;
  const bool optional = format == Format::kF8E4m3 || format == Format::kF8E5m2;
  if (message.scale == nullptr) {
    SLUICE_CHECK_ARG(!split, fields.name("scale"), ": absent (expected: a source of F8_E8M0 for ",
                     format_name(format), ")");
    SLUICE_CHECK_ARG(message.scale_block_rows == 1 && message.scale_block_columns == 1,
                     fields.name("scale_block_rows"), ": ", message.scale_block_rows,
                     ", columns: ", message.scale_block_columns,
                     " (expected: 1, there is no scale)");
    return std::nullopt;
  }
  SLUICE_CHECK_ARG(split || optional, fields.name("scale"), ": set (expected: absent for ",
                   format_name(format), ")");
  SLUICE_CHECK_ARG(!is_vector, fields.name("scale"), ": set (expected: absent for a vector)");
  SLUICE_CHECK_ARG(
      !split || (message.scale_block_rows == 1 && message.scale_block_columns == kMxfp4Block),
      fields.name("scale_block_columns"), ": ", message.scale_block_columns,
      ", rows: ", message.scale_block_rows, " (expected: ", kMxfp4Block, " and 1 for ",
      format_name(format), ")");
  const auto formats = split ? std::span<const Format>(kMxfp4ScaleFormats) : kScaleFormats;
  return decode_scale(message, layout, formats, fields, files);
}

}  // namespace

std::span<const Format> weight_formats() { return kWeightFormats; }

WeightSource decode_source(const SourceMessage& message, const FieldReader& fields,
                           const Files& files, const SourceShape& shape) {
  WeightSource source;
  fields.unsupported_if(message.zero_point != nullptr, "zero_point", "formats without zero points");
  const bool random = message.kind == SLUICE__PROTO__SOURCE_KIND__RANDOM_NORMAL;
  WeightTensor& tensor = source.tensor;
  if (random) {
    tensor.format = Format::kF32;
    fields.require("random_seed", message.has_random_seed);
    fields.require("random_std", message.has_random_std);
    source.random_seed = message.random_seed;
    source.random_std = fields.not_negative("random_std", message.random_std);
  } else {
    fields.require("format", message.has_format);
    tensor.format = static_cast<Format>(message.format);
    SLUICE_CHECK(contains(weight_formats(), tensor.format), SLUICE_STATUS_UNSUPPORTED,
                 fields.name("format"), ": ",
                 proto_enum_name(sluice__proto__format__descriptor, message.format),
                 " not built (built: ", names_of(weight_formats()), ")");
  }
  SLUICE_CHECK_ARG(message.n_shape == shape.dimensions(), fields.name("shape"), ": ",
                   message.n_shape, " dimensions (expected: ", shape.dimensions(), ", ",
                   shape.has_experts ? "[experts, " : "[",
                   shape.is_vector ? "n]" : "rows, columns]", " for ", shape.destination, ")");
  SLUICE_CHECK_ARG(!message.transposed || !shape.is_vector, fields.name("transposed"),
                   ": true (expected: false for a vector)");
  const Layout layout = decode_extents(message, fields);
  check_blocks(message, fields, tensor.format, layout);
  if (random) {
    SLUICE_CHECK_ARG(message.scale == nullptr, fields.name("scale"),
                     ": set (expected: absent for RANDOM_NORMAL)");
  } else {
    decode_place(message, fields, files, layout, &tensor);
    source.scale = decode_scales(message, tensor.format, shape.is_vector, layout, fields, files);
  }
  orient(layout, shape.is_vector, message.transposed, &tensor);
  if (random) {  // nothing lies anywhere
    tensor.row_stride = tensor.cols;
    tensor.col_stride = 1;
  }
  return source;
}

}  // namespace sluice
