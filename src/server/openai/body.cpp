#include "server/openai/body.h"

#include <fmt/format.h>

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/api_error.h"
#include "server/openai/schema.h"

namespace mlxk {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxKeys = 20'000;  // of one object: a look-up goes over all of them
constexpr size_t kMaxValues = 2'000'000;

struct Broken {
  std::string what, path;
};

/// Builds the value while it is read, so that excess is refused before it is stored.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return open_.pop_back(), true; }
  bool end_array() override { return open_.pop_back(), true; }
  bool key(string_t& key) override {
    Open& top = open_.back();
    if (top.keys.size() >= kMaxKeys) fail(fmt::format("more than {} keys in an object", kMaxKeys));
    const bool fresh = top.keys.insert(key).second;
    top.key = std::move(key);
    if (!fresh) fail("a key that is given twice");
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error) override {
    // For a number past a double's range the library calls this function, which refuses it.
    fail(error.id == 406 ? "a number past the range of 64-bit floating point" : fmt::format("broken at byte {}", byte));
  }

 private:
  struct Open {
    Json* value;
    std::string key;  // of the open member
    std::unordered_set<std::string> keys;
  };

  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() >= kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth));
    Json& placed = place(std::move(value));
    open_.push_back({&placed, {}, {}});
    return true;
  }
  Json& place(Json value) {
    if (++values_ > kMaxValues) fail(fmt::format("more than {} values", kMaxValues));
    if (open_.empty()) return root_ = std::move(value);
    Open& top = open_.back();
    if (top.value->is_array()) return top.value->get_ref<Json::array_t&>().emplace_back(std::move(value));
    auto& members = top.value->get_ref<Json::object_t&>();
    // Not through operator[], which would look the key up once more.
    static_cast<Json::object_t::Container&>(members).emplace_back(top.key, std::move(value));
    return members.back().second;
  }
  std::string path() const {
    std::string path;
    for (const Open& one : open_) {
      if (one.value->is_array()) {
        // An incomplete item is not in its list yet; an open container is.
        path += fmt::format("[{}]", one.value->size() - (&one == &open_.back() ? 0 : 1));
      } else if (!one.key.empty()) {
        const std::string quoted = schema::shown(one.key);
        path += (path.empty() ? "" : ".") + quoted.substr(1, quoted.size() - 2);
      }
    }
    return path;
  }
  [[noreturn]] void fail(const std::string& what) const { throw Broken{what, path()}; }

  Json root_;
  std::vector<Open> open_;
  size_t values_ = 0;
};

}  // namespace

Json parse_object(std::string_view text, const std::string& param) {
  const std::string what = param.empty() ? "Request body" : param;
  const auto refuse = [&](const std::string& why, const std::string& where) {
    throw ApiError(ErrorKind::invalid, what + why, where, "invalid_json", 400);
  };
  Builder builder;
  try {
    Json::sax_parse(text, &builder);
  } catch (const Broken& broken) {
    const std::string where = broken.path.empty() ? "" : fmt::format(" (in {})", broken.path);
    refuse(fmt::format(" is not valid JSON: {}{}", broken.what, where), param.empty() ? broken.path : param);
  }
  Json object = builder.take();
  if (!object.is_object()) refuse(" must be a JSON object", param);
  return object;
}

}  // namespace mlxk
