#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

/// The headers of a part of a form.
struct PartHead {
  std::string name;
  std::string filename;      // without folders; may be empty
  bool is_file = false;      // it had a filename
  std::string content_type;  // as sent; empty: none
};

/// Receives the parts of a form, one after the other. May throw Error to refuse the rest.
class PartSink {
 public:
  virtual ~PartSink() = default;
  virtual void begin(const PartHead& head) = 0;
  virtual void take(std::string_view bytes) = 0;
  virtual void end() = 0;
};

struct MultipartLimits {
  size_t parts = 64;
  size_t header_bytes = 8 << 10;  // of one part
  size_t name_bytes = 256;        // of a name, of a filename
};

/// Reads a multipart/form-data body as it arrives; stores no more of it than a part's headers. One thread at a time.
class MultipartParser : public BodySink {
 public:
  /// `content_type` is the request's header; throws usage if it is not a form or names no boundary. `parts` must
  /// outlive this object.
  MultipartParser(std::string_view content_type, PartSink& parts, MultipartLimits limits = {});
  /// Throws usage, naming the part (from 1) and its error.
  void take(std::string_view bytes) override;
  /// The body is complete; throws usage if the last boundary is missing.
  void finish();

 private:
  enum class State { preamble, boundary, headers, data, epilogue };
  bool step();
  bool skip_to_delimiter();
  bool read_boundary_end();
  bool read_headers();
  PartHead parse_headers(std::string_view text) const;
  [[noreturn]] void fail(const std::string& what) const;

  PartSink& parts_;
  const MultipartLimits limits_;
  std::string delimiter_;  // CR LF "--" boundary
  std::string buffer_;     // arrived and unused
  size_t used_ = 0;        // of it
  State state_ = State::preamble;
  size_t count_ = 0;  // of parts begun
};

}  // namespace mlxk
