#include "tokenizer/text_frame.h"

#include <algorithm>

#include "tokenizer/rust_tokenizer.h"

namespace mlxk {

namespace {

constexpr int32_t kFirst = -1, kSecond = -2;  // as returned by mlxk_tokenizer_frame

struct Ids {
  int32_t* data = nullptr;
  size_t count = 0;
  Ids() = default;
  Ids(const Ids&) = delete;
  Ids& operator=(const Ids&) = delete;
  ~Ids() { mlxk_ids_free(data, count); }
};

}  // namespace

TextFrame text_frame(const Tokenizer& tokenizer, bool pair) {
  const RustTokenizer& rust = rust_tokenizer(tokenizer);
  Ids ids, types;
  RustText error;
  const int status = mlxk_tokenizer_frame(rust.handle(), pair, &ids.data, &types.data, &ids.count, error.out());
  types.count = ids.count;
  check_rust(status, error, ErrorKind::bad_model, rust.place());
  const std::vector<int32_t> all(ids.data, ids.data + ids.count);
  const auto first = std::find(all.begin(), all.end(), kFirst);
  const auto second = pair ? std::find(all.begin(), all.end(), kSecond) : all.end();
  const bool once = std::count(all.begin(), all.end(), kFirst) == 1 &&
                    std::count(all.begin(), all.end(), kSecond) == (pair ? 1 : 0) && (!pair || first < second);
  if (!once) {
    throw Error(ErrorKind::bad_model,
                "[" + rust.place() + "] post_processor must contain each text once, the first one first");
  }
  TextFrame frame;
  frame.before.assign(all.begin(), first);
  if (pair) {
    frame.between.assign(first + 1, second);
    frame.behind.assign(second + 1, all.end());
    frame.marks_second = types.data[second - all.begin()] == 1;
  } else {
    frame.behind.assign(first + 1, all.end());
  }
  return frame;
}

std::string lower_case_text(std::string_view text) {
  RustText lower, error;
  const int status = mlxk_lower_case(text.data(), text.size(), lower.out(), error.out());
  check_rust(status, error, ErrorKind::invalid, "text");
  return lower.str();
}

}  // namespace mlxk
