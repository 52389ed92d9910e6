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

/// A form (multipart/form-data) with fields and one file, which is called "file", as it arrives on the I/O thread. What
/// is wrong with it is told once it is there: a client that is cut off in the middle often does not read why. What
/// follows a fault is dropped.
class UploadForm : public BodySink {
 public:
  /// The file may have `file_limit` bytes; its bytes count against `room`. Throws ApiError for a `content_type` that is
  /// no form's.
  UploadForm(std::string_view content_type, uint64_t file_limit, std::shared_ptr<SpoolRoom> room);

  void take(std::string_view bytes) override;
  /// The body is complete: throws what is wrong with it, ApiError.
  void finish();

  using Field = std::pair<std::string, std::string>;  // name and value, in their order
  const std::vector<Field>& fields() const { return fields_; }
  const std::optional<std::string>& filename() const { return filename_; }  // nullopt: there was no file
  const Spool& file() const { return file_; }

 private:
  void begin(const PartHead& head);
  void take_part(std::string_view bytes);

  /// What the parser gives; apart, since both kinds of sink have a take().
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
