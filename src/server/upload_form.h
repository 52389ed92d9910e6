#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/api_error.h"
#include "server/spool.h"
#include "transport/multipart.h"

namespace mlxk {

/// A form (multipart/form-data) with fields and one file, named "file", as it arrives on the I/O thread. Faults are
/// reported once the whole form is there, because a client that is cut off often does not read the error; bytes after a
/// fault are dropped.
class UploadForm : public BodySink {
 public:
  /// Accepts a file of at most `file_limit` bytes, counted against `room`. Throws ApiError if `content_type` is not
  /// that of a form.
  UploadForm(std::string_view content_type, uint64_t file_limit, std::shared_ptr<SpoolRoom> room);

  void take(std::string_view bytes) override;
  /// Called after the last byte; throws ApiError for a faulty form.
  void finish();

  using Field = std::pair<std::string, std::string>;  // name and value
  const std::vector<Field>& fields() const { return fields_; }
  const std::optional<std::string>& filename() const { return filename_; }  // nullopt: no file
  const Spool& file() const { return file_; }

 private:
  void begin(const PartHead& head);
  void take_part(std::string_view bytes);

  /// The parser's output; a type of its own, since both kinds of sink have a take().
  struct Parts : PartSink {
    explicit Parts(UploadForm& form) : form(form) {}
    void begin(const PartHead& head) override { form.begin(head); }
    void take(std::string_view bytes) override { form.take_part(bytes); }
    void end() override {}
    UploadForm& form;
  };

  const uint64_t file_limit_;
  std::optional<ApiError> failure_;
  std::vector<Field> fields_;
  size_t field_bytes_ = 0;
  std::optional<std::string> filename_;
  Spool file_;
  bool in_file_ = false;
  Parts parts_{*this};
  MultipartParser parser_;
};

}  // namespace mlxk
