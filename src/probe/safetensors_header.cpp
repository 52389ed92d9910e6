#include "probe/safetensors_header.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "probe/strict_sax.h"

namespace mlxk {

namespace {

struct DtypeRow {
  TensorDtype dtype;
  std::string_view name;
  uint64_t bytes;
};
constexpr std::array kDtypes = {
    DtypeRow{TensorDtype::boolean, "BOOL", 1},    DtypeRow{TensorDtype::u8, "U8", 1},
    DtypeRow{TensorDtype::i8, "I8", 1},           DtypeRow{TensorDtype::f8_e4m3, "F8_E4M3", 1},
    DtypeRow{TensorDtype::f8_e5m2, "F8_E5M2", 1}, DtypeRow{TensorDtype::f8_e8m0, "F8_E8M0", 1},
    DtypeRow{TensorDtype::u16, "U16", 2},         DtypeRow{TensorDtype::i16, "I16", 2},
    DtypeRow{TensorDtype::f16, "F16", 2},         DtypeRow{TensorDtype::bf16, "BF16", 2},
    DtypeRow{TensorDtype::u32, "U32", 4},         DtypeRow{TensorDtype::i32, "I32", 4},
    DtypeRow{TensorDtype::f32, "F32", 4},         DtypeRow{TensorDtype::u64, "U64", 8},
    DtypeRow{TensorDtype::i64, "I64", 8},         DtypeRow{TensorDtype::f64, "F64", 8},
    DtypeRow{TensorDtype::c64, "C64", 8},
};

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxTensors = 100'000;
constexpr size_t kMaxDims = 32;
constexpr uint64_t kMaxDim = (uint64_t{1} << 31) - 1;  // MLX keeps a dimension in 32 bits

/// Fills a header from JSON events; the whole shape of the document is checked on the way.
class HeaderSax : public StrictSax {
 public:
  HeaderSax(std::string_view place, uint64_t data_bytes) : StrictSax(place), data_bytes_(data_bytes) {}

  SafetensorsHeader header;

  bool start_object(std::size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::top_value) {
      state_ = in_metadata_ ? State::metadata : State::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    if (state_ == State::top) {
      in_metadata_ = name == "__metadata__";
      if (in_metadata_ && had_metadata_) fail("\"__metadata__\" appears twice");
      had_metadata_ |= in_metadata_;
      if (!in_metadata_) {
        if (header.tensors.size() == kMaxTensors) fail(fmt::format("more than {} tensors", kMaxTensors));
        header.tensors.push_back({std::move(name)});
        seen_ = {};
        offsets_ = 0;
      }
      state_ = State::top_value;
    } else if (state_ == State::metadata) {
      key_ = std::move(name);
      if (header.metadata.count(key_) != 0) fail(fmt::format("{}: {} appears twice", where(), shown(key_)));
      state_ = State::metadata_value;
    } else {
      const size_t field = name == "dtype" ? 0 : name == "shape" ? 1 : name == "data_offsets" ? 2 : 3;
      if (field == 3) unexpected("the key " + shown(name));
      if (seen_[field]) fail(fmt::format("{}: {} appears twice", where(), name));
      seen_[field] = true;
      state_ = field == 0 ? State::dtype : field == 1 ? State::shape : State::offsets;
    }
    return true;
  }

  // libmlx writes `"__metadata__": null` if there is none.
  bool null() override {
    if (state_ != State::top_value || !in_metadata_) unexpected("null");
    state_ = State::top;
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata_value) {
      header.metadata.emplace(std::move(key_), std::move(value));
      state_ = State::metadata;
    } else if (state_ == State::dtype) {
      const auto* row = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& r) { return r.name == value; });
      if (row == kDtypes.end()) fail(fmt::format("{}: unknown dtype {}", where(), shown(value)));
      tensor().dtype = row->dtype;
      state_ = State::tensor;
    } else {
      unexpected(shown(value));
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::shape) {
      state_ = State::shape_items;
    } else if (state_ == State::offsets) {
      state_ = State::offset_items;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::shape_items) {
      if (tensor().shape.size() == kMaxDims) fail(fmt::format("{}: more than {} dimensions", where(), kMaxDims));
      if (value > kMaxDim) fail(fmt::format("{}: dimension {} is past {}", where(), value, kMaxDim));
      tensor().shape.push_back(static_cast<int64_t>(value));
    } else if (state_ == State::offset_items && offsets_ < 2) {
      (offsets_++ == 0 ? tensor().begin : tensor().end) = value;
    } else {
      unexpected(std::to_string(value));
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::offset_items && offsets_ != 2) fail(where() + ": data_offsets is not a pair");
    state_ = State::tensor;
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) check_tensor();
    state_ = state_ == State::top ? State::start : State::top;
    return true;
  }

 protected:
  std::string where() const override {
    if (state_ == State::start) return "the header";
    if (in_metadata_) return "__metadata__";
    return header.tensors.empty() ? "the header" : "tensor " + shown(header.tensors.back().name);
  }

 private:
  enum class State {
    start,
    top,
    top_value,
    metadata,
    metadata_value,
    tensor,
    dtype,
    shape,
    shape_items,
    offsets,
    offset_items
  };

  TensorEntry& tensor() { return header.tensors.back(); }

  void check_tensor() {
    constexpr std::array kFields = {"dtype", "shape", "data_offsets"};
    for (size_t i = 0; i < kFields.size(); ++i) {
      if (!seen_[i]) fail(fmt::format("{}: {} is missing", where(), kFields[i]));
    }
    const TensorEntry& t = tensor();
    if (t.begin > t.end) fail(fmt::format("{}: data_offsets are reversed, got [{}, {}]", where(), t.begin, t.end));
    if (t.end > data_bytes_) {
      fail(fmt::format("{}: data_offsets end at {}, but only {} bytes of data follow (truncated?)", where(), t.end,
                       data_bytes_));
    }
    uint64_t bytes = dtype_bytes(t.dtype);
    for (const int64_t dim : t.shape) {
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes)) {
        fail(fmt::format("{}: the shape [{}] has more than 2^64 bytes", where(), fmt::join(t.shape, ", ")));
      }
    }
    if (bytes != t.end - t.begin) {
      fail(fmt::format("{}: {} of shape [{}] takes {} bytes, but data_offsets span {}", where(), dtype_name(t.dtype),
                       fmt::join(t.shape, ", "), bytes, t.end - t.begin));
    }
  }

  uint64_t data_bytes_;
  State state_ = State::start;
  bool in_metadata_ = false, had_metadata_ = false;
  std::array<bool, 3> seen_{};  // dtype, shape, data_offsets
  int offsets_ = 0;
  std::string key_;
};

[[noreturn]] void refuse(std::string_view place, std::string_view message) {
  throw Error(ErrorKind::bad_model, fmt::format("{}: {}", place, message));
}

void check_names(const std::vector<TensorEntry>& tensors, std::string_view place) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorEntry& t : tensors) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) refuse(place, fmt::format("tensor {} appears twice", shown(*twice)));
}

void check_layout(const std::vector<TensorEntry>& tensors, uint64_t data_bytes, std::string_view place) {
  uint64_t at = 0;
  for (const TensorEntry& t : tensors) {
    if (t.begin != at) {
      refuse(place, fmt::format("tensor {}: data_offsets begin at {}, {} the tensor before, which ends at {}",
                                shown(t.name), t.begin, t.begin < at ? "overlapping" : "leaving a gap after", at));
    }
    at = t.end;
  }
  if (at != data_bytes)
    refuse(place, fmt::format("the tensors end at {}, but {} bytes of data follow", at, data_bytes));
}

/// Recognises other files in place of weights, by the first bytes; empty: none of them.
std::string_view disguise(std::string_view head) {
  if (head.starts_with("version https://git-lfs")) {
    return "is a git-LFS pointer, not the weights: fetch them with `git lfs pull`, or pull the model again";
  }
  const size_t text = head.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (text != std::string_view::npos && head[text] == '<') {
    return "is a web page (HTML or XML), not weights: the download failed; pull the model again";
  }
  if (head.starts_with("PK\x03\x04"))
    return "is a zip archive (a PyTorch pickle?), not safetensors; it is never opened";
  if (head.starts_with("GGUF")) return "is a GGUF file, not safetensors: turn it into MLX with `mlxk convert`";
  return {};
}

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

std::string read_at(int fd, uint64_t offset, uint64_t count, const std::string& place) {
  std::string bytes(count, '\0');
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t n = pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(offset + at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorKind::io, fmt::format("cannot read {}: {}", place, std::strerror(errno)));
    if (n == 0) refuse(place, "was shortened while it was read");
    at += static_cast<size_t>(n);
  }
  return bytes;
}

}  // namespace

uint64_t dtype_bytes(TensorDtype dtype) { return kDtypes[static_cast<size_t>(dtype)].bytes; }

std::string_view dtype_name(TensorDtype dtype) { return kDtypes[static_cast<size_t>(dtype)].name; }

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, std::string_view place) {
  if (!json.starts_with('{')) refuse(place, "the safetensors header does not begin with {");
  HeaderSax sax(place, data_bytes);
  Json::sax_parse(json, &sax);
  SafetensorsHeader header = std::move(sax.header);
  header.header_bytes = sizeof(uint64_t) + json.size();
  check_names(header.tensors, place);
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  check_layout(header.tensors, data_bytes, place);
  return header;
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  const std::string place = path.string();
  // O_NONBLOCK: opening a FIFO that somebody planted must not hang.
  const Descriptor fd{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info{};
  if (fd.value < 0 || fstat(fd.value, &info) != 0) {
    throw Error(ErrorKind::io, fmt::format("cannot read {}: {}", place, std::strerror(errno)));
  }
  if (!S_ISREG(info.st_mode)) refuse(place, "is not a regular file");
  const auto size = static_cast<uint64_t>(info.st_size);
  const std::string head = read_at(fd.value, 0, std::min<uint64_t>(size, 512), place);
  if (size < sizeof(uint64_t)) refuse(place, fmt::format("is {} bytes long, too short for safetensors", size));

  uint64_t length = 0;  // little-endian in the file
  for (size_t i = 0; i < sizeof(length); ++i) length |= uint64_t{static_cast<unsigned char>(head[i])} << (8 * i);
  if (length < 2 || length > kMaxHeaderBytes) {
    if (const std::string_view what = disguise(head); !what.empty()) refuse(place, what);
    refuse(place, fmt::format("header length must be in [2, {}], got {}", kMaxHeaderBytes, length));
  }
  if (length > size - sizeof(length)) {
    refuse(place, fmt::format("header length {} is past the end of the file of {} bytes (truncated?)", length, size));
  }
  return parse_safetensors_header(read_at(fd.value, sizeof(length), length, place), size - sizeof(length) - length,
                                  place);
}

}  // namespace mlxk
