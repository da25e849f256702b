#include "ops/gemm/onednn.h"

#include <dlfcn.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

// The functions of oneDNN that are used, by their own names without the prefix.
#define SLUICE_ONEDNN_FUNCTIONS(use)                                                          \
  use(version) use(engine_create) use(engine_destroy) use(stream_create) use(stream_destroy)  \
      use(stream_wait) use(memory_desc_create_with_tag) use(memory_desc_create_with_strides)  \
          use(memory_desc_destroy) use(memory_desc_get_size) use(primitive_attr_create)       \
              use(primitive_attr_destroy) use(primitive_attr_set_scratchpad_mode)             \
                  use(primitive_attr_set_post_ops) use(post_ops_create) use(post_ops_destroy) \
                      use(post_ops_append_sum) use(post_ops_append_eltwise)                   \
                          use(matmul_primitive_desc_create) use(primitive_desc_destroy)       \
                              use(primitive_desc_query) use(primitive_desc_query_md)          \
                                  use(primitive_create) use(primitive_destroy)                \
                                      use(primitive_execute) use(memory_create)               \
                                          use(memory_destroy) use(memory_set_data_handle)

struct Functions {
#define SLUICE_ONEDNN_MEMBER(name) decltype(&dnnl_##name) name = nullptr;
  SLUICE_ONEDNN_FUNCTIONS(SLUICE_ONEDNN_MEMBER)
#undef SLUICE_ONEDNN_MEMBER
};

constexpr const char* kDefaultPath = "libdnnl.so.3";
constexpr const char* kRemedy =
    "remedy: set onednn_path to the libdnnl.so.3 of org.bytedeco:dnnl:3.11-1.5.13, or install "
    "oneDNN 3";

[[noreturn]] void fail_missing(const std::string& path, std::string_view reason) {
  SLUICE_FAIL(SLUICE_STATUS_LIBRARY_MISSING, "oneDNN: ", path, ": ", reason, " (", kRemedy, ")");
}

void check_status(dnnl_status_t status, const char* call, const ProductKey& key) {
  if (status == dnnl_success) return;
  SLUICE_FAIL(
      status == dnnl_out_of_memory ? SLUICE_STATUS_OUT_OF_HOST_MEMORY : SLUICE_STATUS_INTERNAL,
      "oneDNN ", call, ": status ", static_cast<int>(status), " for ", key.num_rows, " x ",
      key.weight_rows, " x ", key.weight_cols, " in ", format_name(key.format));
}

dnnl_data_type_t data_type(Format format) { return format == Format::kBf16 ? dnnl_bf16 : dnnl_f32; }

}  // namespace

struct OneDnn::State {
  std::string path;
  std::string version;
  void* library = nullptr;
  Functions f;
  dnnl_engine_t engine = nullptr;
  std::vector<dnnl_stream_t> streams;  // one for each call at the same time

  ~State() {
    for (dnnl_stream_t stream : streams) f.stream_destroy(stream);
    if (engine != nullptr) f.engine_destroy(engine);
    // The library stays mapped: it keeps threads' state, and another engine may use it.
  }
};

class OneDnn::Product {
 public:
  explicit Product(const Functions& f) : f_(f) {}
  ~Product() {
    for (const Arguments& call : calls) {
      for (dnnl_memory_t memory : {call.x, call.w, call.bias, call.y, call.scratch}) {
        if (memory != nullptr) f_.memory_destroy(memory);
      }
    }
    if (primitive != nullptr) f_.primitive_destroy(primitive);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  // Handles that a call sets to its data.
  struct Arguments {
    dnnl_memory_t x = nullptr, w = nullptr, bias = nullptr, y = nullptr, scratch = nullptr;
  };

  dnnl_primitive_t primitive = nullptr;
  std::vector<Arguments> calls;
  int64_t scratch_size = 0;
  ProductKey key;

 private:
  const Functions& f_;
};

namespace {

// Owns one oneDNN object while a product is put together.
template <typename Handle>
struct Owned {
  Handle handle = nullptr;
  dnnl_status_t (*destroy)(Handle);
  explicit Owned(dnnl_status_t (*destroy_function)(Handle)) : destroy(destroy_function) {}
  ~Owned() {
    if (handle != nullptr) destroy(handle);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

}  // namespace

OneDnn::OneDnn(const std::string& path) : state_(std::make_unique<State>()) {
  state_->path = path.empty() ? kDefaultPath : path;
  state_->library = dlopen(state_->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (state_->library == nullptr) {
    const char* reason = dlerror();
    fail_missing(state_->path, reason == nullptr ? "cannot be opened" : reason);
  }
#define SLUICE_ONEDNN_LOAD(name)                                                         \
  state_->f.name =                                                                       \
      reinterpret_cast<decltype(state_->f.name)>(dlsym(state_->library, "dnnl_" #name)); \
  if (state_->f.name == nullptr) fail_missing(state_->path, "lacks dnnl_" #name);
  SLUICE_ONEDNN_FUNCTIONS(SLUICE_ONEDNN_LOAD)
#undef SLUICE_ONEDNN_LOAD
  const dnnl_version_t* version = state_->f.version();
  state_->version = concat(version->major, ".", version->minor, ".", version->patch);
  if (version->major != 3)
    fail_missing(state_->path, concat("version ", state_->version, " (expected: 3)"));
  if (state_->f.engine_create(&state_->engine, dnnl_cpu, 0) != dnnl_success) {
    fail_missing(state_->path, "no CPU engine");
  }
}

OneDnn::~OneDnn() = default;
const std::string& OneDnn::path() const { return state_->path; }
const std::string& OneDnn::version() const { return state_->version; }

void OneDnn::ProductDeleter::operator()(Product* product) const { delete product; }

int64_t OneDnn::scratch_bytes(const Product& product) { return product.scratch_size; }

OneDnn::ProductPtr OneDnn::compile(const ProductKey& key) {
  const Functions& f = state_->f;
  omp_set_num_threads(1);
  Owned<dnnl_memory_desc_t> x(f.memory_desc_destroy), w(f.memory_desc_destroy),
      bias(f.memory_desc_destroy), y(f.memory_desc_destroy);
  const dnnl_dims_t x_dims{key.num_rows, key.weight_cols}, x_strides{key.x_stride, 1};
  const dnnl_dims_t w_dims{key.weight_cols, key.weight_rows};
  const dnnl_dims_t y_dims{key.num_rows, key.weight_rows}, y_strides{key.y_stride, 1};
  const dnnl_dims_t bias_dims{1, key.weight_rows};
  const bool bf16 = key.format == Format::kBf16;
  const auto check = [&](dnnl_status_t status, const char* call) {
    check_status(status, call, key);
  };
  check(f.memory_desc_create_with_strides(&x.handle, 2, x_dims, data_type(key.format), x_strides),
        "x");
  check(f.memory_desc_create_with_tag(&w.handle, 2, w_dims, data_type(key.format),
                                      bf16 ? dnnl_BA16a64b2a : dnnl_BA16a64b),
        "weight");
  check(f.memory_desc_create_with_strides(&y.handle, 2, y_dims, data_type(key.y_format), y_strides),
        "y");
  if (key.bias) {
    check(f.memory_desc_create_with_tag(&bias.handle, 2, bias_dims, dnnl_f32, dnnl_ab), "bias");
  }
  Owned<dnnl_primitive_attr_t> attr(f.primitive_attr_destroy);
  Owned<dnnl_post_ops_t> post(f.post_ops_destroy);
  check(f.primitive_attr_create(&attr.handle), "attributes");
  check(f.primitive_attr_set_scratchpad_mode(attr.handle, dnnl_scratchpad_mode_user), "scratch");
  check(f.post_ops_create(&post.handle), "post operations");
  if (key.alpha != 1.0f) {
    check(f.post_ops_append_eltwise(post.handle, dnnl_eltwise_linear, key.alpha, 0.0f), "alpha");
  }
  if (key.accumulate) {
    check(f.post_ops_append_sum(post.handle, 1.0f, 0, dnnl_data_type_undef), "sum");
  }
  check(f.primitive_attr_set_post_ops(attr.handle, post.handle), "post operations");

  Owned<dnnl_primitive_desc_t> desc(f.primitive_desc_destroy);
  const dnnl_status_t status = f.matmul_primitive_desc_create(
      &desc.handle, state_->engine, x.handle, w.handle, bias.handle, y.handle, attr.handle);
  if (status == dnnl_unimplemented) return nullptr;
  check(status, "matmul");
  const char* name = "";
  check(f.primitive_desc_query(desc.handle, dnnl_query_impl_info_str, 0, &name), "name");
  if (std::string_view(name).substr(0, 3) != "brg") return nullptr;

  ProductPtr product(new Product(f));
  product->key = key;
  check(f.primitive_create(&product->primitive, desc.handle), "primitive");
  const_dnnl_memory_desc_t scratch =
      f.primitive_desc_query_md(desc.handle, dnnl_query_scratchpad_md, 0);
  const auto bind = [&](dnnl_memory_t* memory, const_dnnl_memory_desc_t md) {
    check(f.memory_create(memory, md, state_->engine, DNNL_MEMORY_NONE), "memory");
  };
  product->calls.resize(static_cast<size_t>(key.calls));
  for (Product::Arguments& call : product->calls) {
    bind(&call.x, x.handle);
    bind(&call.w, w.handle);
    bind(&call.y, y.handle);
    if (key.bias) bind(&call.bias, bias.handle);
    bind(&call.scratch, scratch);
  }
  while (state_->streams.size() < product->calls.size()) {
    dnnl_stream_t stream = nullptr;
    check(f.stream_create(&stream, state_->engine, dnnl_stream_default_flags), "stream");
    state_->streams.push_back(stream);
  }
  product->scratch_size = static_cast<int64_t>(f.memory_desc_get_size(scratch));
  return product;
}

void OneDnn::run(Product& product, int call, const GemmParams& p, void* scratch) {
  const Functions& f = state_->f;
  omp_set_num_threads(1);
  const Product::Arguments& arguments = product.calls[call];
  dnnl_stream_t stream = state_->streams[call];
  dnnl_exec_arg_t args[5];
  int count = 0;
  const auto use = [&](int index, dnnl_memory_t memory, const void* data) {
    check_status(f.memory_set_data_handle(memory, const_cast<void*>(data)), "data", product.key);
    args[count++] = {index, memory};
  };
  use(DNNL_ARG_SRC, arguments.x, p.x);
  use(DNNL_ARG_WEIGHTS, arguments.w, p.w.data);
  use(DNNL_ARG_DST, arguments.y, p.y);
  use(DNNL_ARG_SCRATCHPAD, arguments.scratch, scratch);
  if (product.key.bias) use(DNNL_ARG_BIAS, arguments.bias, p.bias);
  check_status(f.primitive_execute(product.primitive, stream, count, args), "execute", product.key);
  check_status(f.stream_wait(stream), "wait", product.key);
}

OneDnnInfo probe_onednn(const std::string& path) {
  OneDnnInfo info;
  info.path = path.empty() ? kDefaultPath : path;
  try {
    const OneDnn library(path);
    info.version = library.version();
  } catch (const Error& error) {
    info.problem = error.text();
  }
  return info;
}

}  // namespace sluice
