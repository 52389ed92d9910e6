#include "report/machine_facts.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "base/cores.h"
#include "base/error.h"

namespace mlxk {

namespace {
const std::vector<std::string> kFeatures = {"avx2",  "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
                                            "asimd", "asimddp", "i8mm",        "bf16",        "sve"};
constexpr int kPasses = 3;

/// The value of the first line `key : value` of /proc/cpuinfo.
std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return {};
}

uint64_t sum_words(const uint64_t* words, size_t count) {
  uint64_t sums[16] = {};
  for (size_t i = 0; i + 16 <= count; i += 16) {
    for (size_t j = 0; j < 16; ++j) sums[j] += words[i + j];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

/// The time in seconds that `threads` threads need to run body(thread).
template <class Body>
double timed(int threads, const Body& body) {
  std::vector<std::thread> others;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 1; i < threads; ++i) others.emplace_back([&body, i] { body(i); });
  body(0);
  for (auto& thread : others) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.cores = usable_cores();
  facts.memory_bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
#ifdef __APPLE__
  char name[256] = {};
  size_t size = sizeof name - 1;
  if (sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0) facts.cpu = name;
#else
  facts.cpu = cpuinfo("model name");
  std::string flags = cpuinfo("flags");
  if (flags.empty()) flags = cpuinfo("Features");  // arm64
  std::istringstream words(flags);
  for (std::string word; words >> word;) {
    if (std::find(kFeatures.begin(), kFeatures.end(), word) != kFeatures.end()) facts.features.push_back(word);
  }
#endif
  return facts;
}

double read_bandwidth(int threads, uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Error(ErrorKind::memory, "not enough memory to measure the read bandwidth");
  const size_t words = bytes / sizeof(uint64_t) / static_cast<size_t>(threads);  // of each thread
  auto* data = static_cast<uint64_t*>(memory);
  timed(threads, [&](int i) { std::memset(data + words * static_cast<size_t>(i), i + 1, words * sizeof(uint64_t)); });
  std::atomic<uint64_t> sum{0};  // keeps the reads from being optimised away
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double seconds =
        timed(threads, [&](int i) { sum += sum_words(data + words * static_cast<size_t>(i), words); });
    best = std::max(best, static_cast<double>(words * sizeof(uint64_t)) * threads / seconds);
  }
  munmap(memory, bytes);
  return sum.load() == 0 ? 0 : best;
}

ProcessMemory process_memory(pid_t process) {
  ProcessMemory memory;
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmHWM:", 0) == 0) memory.peak = std::stoull(line.substr(6)) * 1024;
    if (line.rfind("VmRSS:", 0) == 0) memory.held = std::stoull(line.substr(6)) * 1024;
  }
  return memory;
}

void reset_peak_memory() {
#ifdef __GLIBC__
  malloc_trim(0);  // memory freed after an earlier point must not count towards this one
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
}

uint64_t peak_memory() {
  if (const uint64_t bytes = process_memory(getpid()).peak) return bytes;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return static_cast<uint64_t>(usage.ru_maxrss);
#else
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
#endif
}

}  // namespace mlxk
