#include "run/gguf_import.h"

#include <fmt/format.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/convert_progress.h"
#include "engine/open.h"
#include "gguf/gguf.h"
#include "hub/environment.h"
#include "hub/locks.h"
#include "hub/workspace.h"
#include "json/member.h"
#include "terminal/interrupt.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

std::string short_digest(std::string_view text) { return Digest(Digest::Kind::sha256).add(text).hex().substr(0, 12); }

/// The imports of one file share a prefix, followed by a digest of its size, time and the program's version.
struct ImportName {
  std::string prefix, rest;
  std::string full() const { return prefix + rest; }
};

ImportName import_name(const fs::path& file, const fs::path& real) {
  const std::string state =
      fmt::format("{} {} {}", fs::file_size(real), fs::last_write_time(real).time_since_epoch().count(), MLXK_VERSION);
  constexpr size_t kMaxStem = 100;  // of a name that gets a suffix
  return {fmt::format("{}-{}-", file.stem().string().substr(0, kMaxStem), short_digest(real.string())),
          short_digest(state)};
}

/// Removes imports of earlier versions of the same file.
void remove_older(const fs::path& folder, const ImportName& name) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string other = it->path().filename().string();
    if (other.starts_with(name.prefix) && !other.starts_with(name.full())) {
      std::error_code ignored;
      fs::remove_all(it->path(), ignored);
    }
  }
}

void convert(const fs::path& source, const fs::path& target) {
  Worker worker(open_engine);
  worker.convert({.source = source, .target = target},
                 [progress = ConvertProgress()](const std::string& what, int64_t done, int64_t total) mutable {
                   progress(what, done, total);
                 });
}

}  // namespace

fs::path gguf_import_folder() {
  const auto cache = environment_path("XDG_CACHE_HOME");
  return (cache && cache->is_absolute() ? *cache : home_folder() / ".cache") / "mlxk" / "gguf";
}

fs::path import_gguf(const fs::path& file) {
  const fs::path real = fs::canonical(file), folder = gguf_import_folder();
  const ImportName name = import_name(file, real);
  const fs::path target = folder / name.full();
  if (is_workspace(target)) return target;
  GgufFile::open(real);  // a file that is not GGUF is refused before anything is printed or created
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", folder.string(), error.message()),
                "set XDG_CACHE_HOME to a folder for imported GGUF files, or convert it: mlxk convert FILE.gguf FOLDER");
  }
  const InterruptGuard guard;
  const FileLock lock = wait_for_lock(folder / (name.full() + ".lock"), interrupted);
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  if (is_workspace(target)) return target;  // another process did it meanwhile
  fmt::print(stderr, "Importing {} ({}) into {}, once\n", printable(file.string()), human_size(fs::file_size(real)),
             printable(target.string()));
  convert(real, target);
  remove_older(folder, name);
  return target;
}

std::vector<fs::path> orphaned_imports() {
  std::vector<fs::path> orphans;
  for (const auto& folder : workspaces_in(gguf_import_folder())) {
    const auto sentinel = read_sentinel(folder);
    const std::string source = sentinel ? string_at(*sentinel, "source_repo") : "";
    std::error_code error;
    if (!source.empty() && !fs::exists(source, error) && !error) orphans.push_back(folder);
  }
  return orphans;
}

}  // namespace mlxk
