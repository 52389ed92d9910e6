#include "tensor_archive/torch_file.h"

#include <fmt/format.h>

#include <array>
#include <set>
#include <string_view>

#include "base/error.h"
#include "tensor_archive/pickle.h"

namespace mlxk {

namespace {
using Kind = PickleNode::Kind;

constexpr uint64_t kMaxPickle = uint64_t{32} << 20;

struct Storage {
  const char* global;
  TensorDtype dtype;
};
constexpr Storage kStorages[] = {
    {"torch.FloatStorage", TensorDtype::f32},     {"torch.HalfStorage", TensorDtype::f16},
    {"torch.BFloat16Storage", TensorDtype::bf16}, {"torch.DoubleStorage", TensorDtype::f64},
    {"torch.ByteStorage", TensorDtype::u8},       {"torch.CharStorage", TensorDtype::i8},
    {"torch.ShortStorage", TensorDtype::i16},     {"torch.IntStorage", TensorDtype::i32},
    {"torch.LongStorage", TensorDtype::i64},      {"torch.BoolStorage", TensorDtype::boolean}};

constexpr const char* kDict = "collections.OrderedDict";
constexpr const char* kTensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* kParameter = "torch._utils._rebuild_parameter";
constexpr std::array kAllowed = {kDict,
                                 kTensor,
                                 kParameter,
                                 "torch.FloatStorage",
                                 "torch.HalfStorage",
                                 "torch.BFloat16Storage",
                                 "torch.DoubleStorage",
                                 "torch.ByteStorage",
                                 "torch.CharStorage",
                                 "torch.ShortStorage",
                                 "torch.IntStorage",
                                 "torch.LongStorage",
                                 "torch.BoolStorage"};

class TorchReader {
 public:
  TorchReader(const ZipFile& archive, TensorBuffers& buffers)
      : archive_(archive), buffers_(buffers), root_(find_root(archive)) {
    const auto bytes = archive.bytes(root_ + "data.pkl");
    if (bytes.size() > kMaxPickle) throw broken(fmt::format("data.pkl has {} bytes", bytes.size()));
    check_byte_order();
    pickle_ = read_pickle(bytes, kAllowed, archive.place() + ": data.pkl");
  }

  std::vector<ArchiveTensor> read() {
    const auto* dict = &node(pickle_.root);
    require_dict(*dict);
    for (const char* key : {"state_dict", "model_state_dict", "model", "module"}) {
      if (const auto* inner = entry_of(*dict, key); inner && is_dict(*inner)) {
        dict = inner;
        break;
      }
    }
    std::vector<ArchiveTensor> tensors;
    std::set<std::string_view> names;
    for (const auto& [key, value] : dict->pairs) {
      const auto* tensor = as_tensor(node(value));
      if (!tensor) continue;  // counters, options and the like
      if (node(key).kind != Kind::text) throw broken("a tensor has no name");
      if (!names.insert(node(key).text).second) throw broken(fmt::format("tensor {} occurs twice", node(key).text));
      tensors.push_back(rebuild(node(key).text, *tensor));
    }
    if (tensors.empty()) throw broken("it holds no tensors");
    return tensors;
  }

 private:
  static std::string find_root(const ZipFile& archive) {
    constexpr std::string_view kPickle = "data.pkl";
    for (const auto& [name, entry] : archive.entries()) {
      const auto slash = name.find('/');
      if (slash != name.npos && std::string_view(name).substr(slash + 1) == kPickle) return name.substr(0, slash + 1);
    }
    throw Error(ErrorKind::bad_model, fmt::format("{}: no data.pkl in it: not saved by PyTorch", archive.place()));
  }

  void check_byte_order() const {
    const auto found = archive_.entries().find(root_ + "byteorder");
    if (found == archive_.entries().end()) return;
    const auto data = found->second.data;
    const std::string_view order(reinterpret_cast<const char*>(data.data()), data.size());
    if (order.substr(0, 6) != "little") {
      throw Error(ErrorKind::unsupported, fmt::format("{}: byte order {} cannot be read", archive_.place(), order));
    }
  }

  const PickleNode& node(uint32_t index) const { return pickle_.nodes[index]; }
  bool calls(const PickleNode& call, std::string_view name) const {
    return call.kind == Kind::call && node(call.items[0]).text == name;
  }
  bool is_dict(const PickleNode& value) const { return value.kind == Kind::dict || calls(value, kDict); }
  void require_dict(const PickleNode& value) const {
    if (!is_dict(value)) throw broken("it is not a dictionary of tensors");
  }

  const PickleNode* entry_of(const PickleNode& dict, std::string_view name) const {
    for (const auto& [key, value] : dict.pairs) {
      if (node(key).kind == Kind::text && node(key).text == name) return &node(value);
    }
    return nullptr;
  }

  /// The call that rebuilds a tensor, unwrapped from the parameter around it; null if it is something else.
  const PickleNode* as_tensor(const PickleNode& value) const {
    if (calls(value, kTensor)) return &value;
    if (!calls(value, kParameter)) return nullptr;
    const auto& arguments = node(value.items[1]).items;
    return !arguments.empty() && calls(node(arguments[0]), kTensor) ? &node(arguments[0]) : nullptr;
  }

  ArchiveTensor rebuild(const std::string& name, const PickleNode& call) {
    const auto& arguments = node(call.items[1]).items;  // storage, offset, size, stride, …
    if (arguments.size() < 4 || node(arguments[0]).kind != Kind::persistent) {
      throw broken(fmt::format("tensor {} has no storage", name));
    }
    const auto& id = node(node(arguments[0]).items[0]).items;  // "storage", type, key, device, elements
    const bool known = id.size() >= 5 && node(id[0]).text == "storage" && node(id[1]).kind == Kind::global &&
                       node(id[2]).kind == Kind::text;
    if (!known) throw broken(fmt::format("tensor {} has no storage", name));
    TensorEntry entry;
    entry.name = name;
    entry.dtype = dtype_of(node(id[1]).text, name);
    entry.shape = integers(arguments[2], name);
    const StridedData source{archive_.bytes(root_ + "data/" + node(id[2]).text), integer(arguments[1], name),
                             integers(arguments[3], name)};
    return in_row_order(std::move(entry), source, buffers_, archive_.place());
  }

  TensorDtype dtype_of(const std::string& global, const std::string& name) const {
    for (const auto& row : kStorages) {
      if (global == row.global) return row.dtype;
    }
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: tensor {} of type {} cannot be read", archive_.place(), name, global));
  }

  int64_t integer(uint32_t index, const std::string& name) const {
    if (node(index).kind != Kind::integer)
      throw broken(fmt::format("tensor {} has a size that is not an integer", name));
    return node(index).integer;
  }
  std::vector<int64_t> integers(uint32_t index, const std::string& name) const {
    if (node(index).kind != Kind::tuple || node(index).items.size() > 32) {
      throw broken(fmt::format("tensor {} has no valid shape", name));
    }
    std::vector<int64_t> values;
    for (const auto item : node(index).items) values.push_back(integer(item, name));
    return values;
  }

  Error broken(const std::string& why) const {
    return {ErrorKind::bad_model, fmt::format("{}: {}", archive_.place(), why)};
  }

  const ZipFile& archive_;
  TensorBuffers& buffers_;
  std::string root_;
  Pickle pickle_;
};
}  // namespace

std::vector<ArchiveTensor> read_torch(const ZipFile& archive, TensorBuffers& buffers) {
  return TorchReader(archive, buffers).read();
}

}  // namespace mlxk
