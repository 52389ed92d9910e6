#include "server/upload_form.h"

#include <fmt/format.h>

namespace mlxk {

namespace {
constexpr size_t kFieldBytes = 256 << 10;  // of all fields together

MultipartParser make_parser(std::string_view content_type, PartSink& parts) {
  try {
    return {content_type, parts};
  } catch (const Error& error) {
    throw ApiError(ErrorKind::invalid, error.what(), "", "invalid_form");
  }
}
}  // namespace

UploadForm::UploadForm(std::string_view content_type, uint64_t file_limit, std::shared_ptr<SpoolRoom> room)
    : file_limit_(file_limit), file_(std::move(room)), parser_(make_parser(content_type, parts_)) {}

void UploadForm::take(std::string_view bytes) {
  if (failure_) return;
  try {
    parser_.take(bytes);
  } catch (const ApiError& error) {
    failure_ = error;
  } catch (const Error& error) {
    failure_ = ApiError(error.kind() == ErrorKind::usage ? ErrorKind::invalid : error.kind(), error.what(), "",
                        "invalid_form");
  }
  if (failure_) file_.clear();
}

void UploadForm::finish() {
  if (!failure_) {
    try {
      parser_.finish();
    } catch (const Error& error) {
      failure_ = ApiError(ErrorKind::invalid, error.what(), "", "invalid_form");
    }
  }
  if (failure_) throw *failure_;
}

void UploadForm::begin(const PartHead& head) {
  in_file_ = head.name == "file";
  if (!in_file_) {
    if (head.is_file) {
      throw ApiError(ErrorKind::invalid, "only the field `file` may be a file", head.name, "invalid_value");
    }
    fields_.emplace_back(head.name, "");
    return;
  }
  if (filename_) throw ApiError(ErrorKind::invalid, "file is given twice", "file", "invalid_value");
  filename_ = head.filename;
}

void UploadForm::take_part(std::string_view bytes) {
  if (!in_file_) {
    field_bytes_ += bytes.size();
    if (field_bytes_ > kFieldBytes) {
      throw ApiError(ErrorKind::invalid,
                     fmt::format("the form's fields may have {} bytes together, got more", kFieldBytes),
                     fields_.back().first, "invalid_value");
    }
    fields_.back().second.append(bytes);
    return;
  }
  if (file_.size() + bytes.size() > file_limit_) {
    throw ApiError(ErrorKind::invalid, fmt::format("Audio file exceeds {} MB limit", file_limit_ >> 20), "file",
                   "file_too_large", 413);
  }
  file_.append(bytes);
}

}  // namespace mlxk
