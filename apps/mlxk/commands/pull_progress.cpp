#include "commands/pull_progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "cli/table.h"
#include "probe/model_entry.h"

namespace mlxk {

namespace {

constexpr auto kRateWindow = std::chrono::seconds(5), kLineEvery = std::chrono::seconds(10);
constexpr size_t kMaxBars = 5, kBarWidth = 10;
constexpr size_t kFiguresWidth = 60;  // of a line, without the name

size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}

uint64_t percent(uint64_t done, uint64_t size) {
  return size == 0 ? 100 : static_cast<uint64_t>(100.0 * static_cast<double>(done) / static_cast<double>(size));
}

/// At most `width` columns of `text`: its end, which distinguishes shards.
std::string cut_front(std::string text, size_t width) {
  if (text_width(text) <= width) return text;
  while (text_width(text) + 1 > width) {
    size_t end = 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    text.erase(0, end);
  }
  return "…" + text;
}

std::string cut_back(std::string text, size_t width) {
  while (text_width(text) > width) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    text.resize(last);
  }
  return text;
}

std::string rate_text(const DownloadProgress& progress, double rate) {
  if (rate < 1) return "";
  const auto left =
      static_cast<uint64_t>(static_cast<double>(progress.size - std::min(progress.done, progress.size)) / rate);
  return fmt::format(", {}/s, {} left", human_size(static_cast<uint64_t>(rate)), duration_text(left));
}

}  // namespace

PullProgress::Style progress_style(bool json) {
  if (json) return PullProgress::Style::quiet;
  const char* terminal = std::getenv("TERM");
  const char* disabled = std::getenv("HF_HUB_DISABLE_PROGRESS_BARS");
  const bool able = isatty(STDERR_FILENO) && terminal && std::string_view(terminal) != "dumb";
  return able && !(disabled && *disabled && std::string_view(disabled) != "0") ? PullProgress::Style::bars
                                                                               : PullProgress::Style::lines;
}

std::string duration_text(uint64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
}

std::string bar_text(uint64_t done, uint64_t size, size_t width) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double part = size == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(size));
  const auto eighths = static_cast<size_t>(part * static_cast<double>(width) * 8);
  std::string bar;
  for (size_t i = 0; i < eighths / 8; ++i) bar += "█";
  bar += kEighths[eighths % 8];
  return bar + std::string(width - eighths / 8 - (eighths % 8 != 0), ' ');
}

std::string bars_text(const DownloadProgress& progress, double rate, size_t columns) {
  const size_t name_width = std::clamp<size_t>(columns, kFiguresWidth + 12, kFiguresWidth + 40) - kFiguresWidth;
  std::string text;
  const auto add = [&](const std::string& name, uint64_t done, uint64_t size, const std::string& more) {
    const std::string shown = cut_front(printable(name), name_width);
    const std::string line =
        fmt::format("{}{} {:>3}% ▕{}▏ {}/{}{}", shown, std::string(name_width - text_width(shown), ' '),
                    percent(done, size), bar_text(done, size, kBarWidth), human_size(done), human_size(size), more);
    text += cut_back(line, columns - 1) + "\n";
  };
  for (size_t i = 0; i < std::min(progress.active.size(), kMaxBars); ++i) {
    const FileProgress& file = progress.active[i];
    const char* more = file.state == FileProgress::State::waiting     ? ", another process downloads it"
                       : file.state == FileProgress::State::verifying ? ", verifying"
                                                                      : "";
    add(file.path, file.done, file.size, more);
  }
  add(fmt::format("{} of {} files", progress.files_done, progress.files), progress.done, progress.size,
      rate_text(progress, rate));
  return text;
}

double PullProgress::rate(const DownloadProgress& progress) {
  const auto now = Clock::now();
  seen_.emplace_back(now, progress.received);
  while (seen_.size() > 2 && now - seen_.front().first > kRateWindow) seen_.pop_front();
  const double seconds = std::chrono::duration<double>(now - seen_.front().first).count();
  return seconds < 0.2 ? 0 : static_cast<double>(progress.received - seen_.front().second) / seconds;
}

void PullProgress::clear() {
  if (drawn_ == 0) return;
  fmt::print(stderr, "\x1b[{}A\r\x1b[J", drawn_);
  drawn_ = 0;
}

void PullProgress::print_lines(const DownloadProgress& progress) {
  const double now_rate = rate(progress);
  for (const auto& path : progress.finished) fmt::print(stderr, "pull: {}\n", printable(path));
  const auto now = Clock::now();
  if (now - last_line_ < kLineEvery || progress.files_done == progress.files) return;
  last_line_ = now;
  fmt::print(stderr, "pull: {} of {} files, {} of {} ({}%){}\n", progress.files_done, progress.files,
             human_size(progress.done), human_size(progress.size), percent(progress.done, progress.size),
             rate_text(progress, now_rate));
}

void PullProgress::show(const DownloadProgress& progress) {
  if (style_ == Style::quiet) return;
  const std::string bars = style_ == Style::bars ? bars_text(progress, rate(progress), terminal_columns()) : "";
  clear();
  for (const auto& note : progress.notes) fmt::print(stderr, "pull: {}\n", printable(note));
  if (style_ == Style::lines) return print_lines(progress);
  fmt::print(stderr, "{}", bars);
  drawn_ = static_cast<size_t>(std::count(bars.begin(), bars.end(), '\n'));
}

}  // namespace mlxk
