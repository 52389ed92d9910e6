// A multipart body, whole and in pieces of the first byte's size: both must give the same result.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "transport/multipart.h"

namespace {

// All reported parts as one text; pieces of a part are joined.
class Record : public mlxk::PartSink {
 public:
  void begin(const mlxk::PartHead& head) override {
    text += "[" + head.name + "|" + head.filename + "|" + head.content_type + (head.is_file ? "|f]" : "]");
  }
  void take(std::string_view bytes) override {
    if (bytes.empty()) std::abort();
    text += bytes;
  }
  void end() override { text += "[end]"; }
  std::string text;
};

// A body's parts, or its refusal.
std::string parse(std::string_view body, size_t piece) {
  Record record;
  mlxk::MultipartParser parser("multipart/form-data; boundary=XX", record);
  try {
    for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) parser.take(body.substr(0, piece));
    parser.finish();
  } catch (const mlxk::Error&) {
    return "refused";
  }
  return record.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (parse(body, SIZE_MAX) != parse(body, size_t{1} + data[0] % 32)) std::abort();
  const std::string type(body.substr(0, 200));
  Record record;
  try {
    mlxk::MultipartParser parser(type, record);
  } catch (const mlxk::Error&) {
  }
  return 0;
}
