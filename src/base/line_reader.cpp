#include "base/line_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace mlxk {

LineReader::LineReader(const std::filesystem::path& path, size_t limit)
    : path_(path.string()), limit_(limit), buffer_(size_t{64} << 10) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw Error(ErrorKind::io, fmt::format("{} is a folder", path_));
  file_.reset(std::fopen(path_.c_str(), "rb"));
  if (file_) return;
  throw Error(errno == ENOENT ? ErrorKind::not_found : ErrorKind::io,
              fmt::format("cannot read {}: {}", path_, std::strerror(errno)));
}

void LineReader::take(const char* begin, const char* end) {
  const auto size = static_cast<size_t>(end - begin), room = limit_ - line_.size();
  too_long_ = too_long_ || size > room;
  line_.append(begin, std::min(size, room));
}

bool LineReader::next() {
  line_.clear();
  complete_ = too_long_ = false;
  bool any = false;
  while (!complete_) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = std::fread(buffer_.data(), 1, buffer_.size(), file_.get());
      if (end_ == 0 && std::ferror(file_.get())) throw Error(ErrorKind::io, fmt::format("cannot read {}", path_));
      if (end_ == 0) break;
    }
    any = true;
    const char* from = buffer_.data() + begin_;
    const char* to = buffer_.data() + end_;
    const auto* line_end = static_cast<const char*>(std::memchr(from, '\n', static_cast<size_t>(to - from)));
    complete_ = line_end != nullptr;
    take(from, complete_ ? line_end : to);
    begin_ = complete_ ? static_cast<size_t>(line_end + 1 - buffer_.data()) : end_;
  }
  if (!any) return false;
  if (++number_ == 1 && line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);
  if (complete_ && !too_long_ && line_.ends_with('\r')) line_.pop_back();
  return true;
}

}  // namespace mlxk
