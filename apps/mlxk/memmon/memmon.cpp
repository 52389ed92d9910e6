#include "memmon/memmon.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/timestamp.h"
#include "cli/table.h"
#include "json/json.h"
#include "memmon/child_process.h"
#include "monitor/memory_log.h"
#include "monitor/process_tree.h"
#include "monitor/system_sampler.h"

namespace mlxk {

namespace {
using Clock = std::chrono::steady_clock;

/// The file of --output. Each line is written at once, so that a killed memmon loses none.
class LogFile {
 public:
  explicit LogFile(const std::string& path) : path_(path) {
    if (path.empty()) return;
    file_.reset(std::fopen(path.c_str(), "we"));
    if (!file_) throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  }
  /// A failed write, as on a full disk, is reported once and ends the log; the command continues.
  void add(std::string line) {
    if (!file_) return;
    line += '\n';
    if (std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() && std::fflush(file_.get()) == 0) return;
    fmt::print(stderr, "memmon: Error: cannot write {}: {}; the command continues, further samples are lost\n", path_,
               std::strerror(errno));
    failed_ = true;
    file_.reset();
  }
  bool failed() const { return failed_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  bool failed_ = false;
};

/// Processor time of this process in seconds.
double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds_of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

/// The words as one line, quoted for a shell.
std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    if (!line.empty()) line += ' ';
    const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$`&|;<>()*?[]{}~#!") == word.npos;
    if (plain) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) {
      if (c == '\'') {
        line += "'\\''";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

/// The current values on a line of stderr, once a second: overwritten on a terminal; elsewhere only with --verbose.
class LiveLine {
 public:
  LiveLine(bool beside_command, bool verbose) {
    const bool terminal = isatty(STDERR_FILENO);
    rewritten_ = terminal;
    // With a command the line would be mixed into the command's output.
    shown_ = verbose || (terminal && !beside_command);
  }
  ~LiveLine() {
    if (drawn_) fmt::print(stderr, "\r\x1b[K");
  }
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;
  void show(const MemorySample& sample) {
    if (!shown_ || sample.elapsed_s < next_) return;
    next_ = sample.elapsed_s + 1;
    std::string text =
        fmt::format("{:.0f} s: {:.2f} of {:.2f} GB free, swap {:.0f} MB, cpu {:.0f} %", sample.elapsed_s,
                    sample.ram_free_gb, sample.ram_total_gb, sample.swap_used_mb, sample.cpu_user + sample.cpu_sys);
    if (sample.process_rss_gb > 0) text += fmt::format(", command {:.2f} GB", sample.process_rss_gb);
    if (!sample.gpus.empty()) {
      text += fmt::format(", gpu {:.0f} % {:.1f} GB", sample.gpu_device_util, sample.gpu_memory_used_gb);
    }
    if (sample.memory_pressure > 1) text += sample.memory_pressure > 2 ? ", CRITICAL" : ", WARN";
    fmt::print(stderr, "{}{}{}", rewritten_ ? "\r\x1b[K" : "", text, rewritten_ ? "" : "\n");
    std::fflush(stderr);
    drawn_ = rewritten_;
  }

 private:
  bool rewritten_, shown_, drawn_ = false;
  double next_ = 0;
};

/// The samplers, and the outputs that a sample goes to.
class Monitor {
 public:
  explicit Monitor(const MemmonOptions& options)
      : log_(options.output), live_(!options.command.empty(), options.verbose) {
    if (!options.command.empty()) tree_.emplace(getpid());
  }

  void sample() {
    MemorySample now;
    now.ts = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    now.elapsed_s = seconds_since(start_);
    system_.read(now);
    gpus_.read(now);
    if (tree_) tree_->read(now);
    if (std::isnan(now.memory_pressure) && summary_.samples() == 0) {
      fmt::print(
          stderr,
          "memmon: this system does not report memory pressure (PSI); memory_pressure and vm_pressure are null\n");
    }
    summary_.add(now);
    log_.add(sample_line(now));
    live_.show(now);
  }

  /// Writes the summary to the file and to stderr; returns false if a line of the file could not be written.
  bool finish(const MemmonOptions& options, double duration, int code) {
    const Json facts = summary_.json();
    Json whole = {{"duration_s", std::round(duration * 1000) / 1000},
                  {"samples", summary_.samples()},
                  {"interval_ms", options.interval.count()}};
    whole.update(facts);
    whole["monitor_cpu_percent"] = std::round(1e5 * (processor_seconds() - processor_) / duration) / 1e3;
    whole["exit_code"] = code;
    whole["command"] = shell_line(options.command);
    whole["timestamp"] = utc_now();
    log_.add(Json{{"summary", whole}}.dump(-1, ' ', true, Json::error_handler_t::replace));
    print(whole);
    return !log_.failed();
  }

 private:
  static void print(const Json& summary) {
    const auto number = [&](const char* key) {
      return summary[key].is_null() ? std::string("-") : fmt::format("{:.4g}", summary[key].get<double>());
    };
    std::string text = fmt::format(
        "\nmemmon: {} samples in {} s, every {} ms\n"
        "  memory free   {} to {} GB, {} on average, of {} GB\n"
        "  swap          {} MB at most\n"
        "  load          {} at most, {} on average\n"
        "  processors    user {} %, system {} % at most\n",
        number("samples"), number("duration_s"), number("interval_ms"), number("ram_free_min_gb"),
        number("ram_free_max_gb"), number("ram_free_avg_gb"), number("ram_total_gb"), number("swap_max_mb"),
        number("load_max"), number("load_avg"), number("cpu_user_max"), number("cpu_sys_max"));
    if (!summary["gpu_memory_max_gb"].is_null()) {
      text += fmt::format("  gpu           {} % at most, {} % on average, {} GB at most\n", number("gpu_device_max"),
                          number("gpu_device_avg"), number("gpu_memory_max_gb"));
    }
    if (!summary["process_rss_max_gb"].is_null()) {
      text += fmt::format("  command       RSS {} GB, PSS {} GB at most; read {} MB from disks; exit code {}\n",
                          number("process_rss_max_gb"), number("process_pss_max_gb"), number("process_read_mb"),
                          number("exit_code"));
    }
    text += fmt::format("  memmon itself {} % of a core\n", number("monitor_cpu_percent"));
    fmt::print(stderr, "{}", text);
  }

  LogFile log_;
  LiveLine live_;
  SystemSampler system_;
  GpuSampler gpus_;
  std::optional<ProcessTree> tree_;
  MemorySummary summary_;
  Clock::time_point start_ = Clock::now();
  double processor_ = processor_seconds();
};
}  // namespace

int run_memmon(const MemmonOptions& options) {
  Monitor monitor(options);
  MonitorSignals signals;
  const auto start = Clock::now();
  monitor.sample();
  std::optional<ChildProcess> child;
  if (!options.command.empty()) {
    try {
      child.emplace(options.command);
    } catch (const Error& error) {
      fmt::print(stderr, "memmon: Error: {}\n", printable(error.what()));
      return error.kind() == ErrorKind::not_found ? 127 : 126;  // like env and timeout
    }
  }
  const auto limit = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.duration_s));
  bool sampling = true;
  std::optional<int> code;
  auto next = start + options.interval;
  auto end = start;
  while (!code) {
    const auto now = Clock::now();
    if (sampling && options.duration_s > 0 && now >= start + limit) {
      monitor.sample();
      sampling = false;
      end = Clock::now();
      if (!child) {
        code = 0;
        break;
      }
    }
    if (sampling && now >= next) {
      monitor.sample();
      // Samples missed while the machine slept or this process was stopped are skipped.
      next += options.interval * ((Clock::now() - next) / options.interval + 1);
    }
    auto until = sampling ? next : Clock::now() + std::chrono::hours(1);
    if (sampling && options.duration_s > 0) until = std::min(until, start + limit);
    const SignalNote note = signals.next(until - Clock::now());
    if (note.number == SIGCHLD) {
      if (child) code = child->reap();
    } else if (note.number != 0 && !child) {
      code = 128 + note.number;
    } else if (note.number != 0 && note.from_process) {
      child->send(note.number);
    }
  }
  if (sampling) {
    monitor.sample();
    end = Clock::now();
  }
  const bool written = monitor.finish(options, seconds(end - start), *code);
  return *code == 0 && !written ? error_kind_info(ErrorKind::io).exit_code : *code;
}

}  // namespace mlxk
