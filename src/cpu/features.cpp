#include "cpu/features.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "base/error.h"

namespace mlxk {

extern const CpuKernels kernels_generic;
#if defined(__x86_64__)
extern const CpuKernels kernels_avx2, kernels_avx512, kernels_avx512vnni, kernels_amx;
#elif defined(__aarch64__)
extern const CpuKernels kernels_neon, kernels_neondot;
#endif

namespace {

/// Whether AMX tiles may be used: their registers are large, so a process has to ask the kernel for permission.
[[maybe_unused]] bool has_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kBFloat16Products = 1U << 22, kTiles = 1U << 24;  // of leaf 7's edx
  constexpr int kAskForState = 0x1023, kTileData = 18;                 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBFloat16Products) == 0 || (d & kTiles) == 0) return false;
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
#else
  return false;
#endif
}

/// Whether an arm64 machine has the products of bytes (FEAT_DotProd), as every one of Apple's has.
[[maybe_unused]] bool multiplies_bytes() {
#if defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long kDotProducts = 1UL << 20;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & kDotProducts) != 0;
#else
  return true;
#endif
}

}  // namespace

const std::vector<const CpuKernels*>& available_kernels() {
  static const std::vector<const CpuKernels*> tables = [] {
    std::vector<const CpuKernels*> found;
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    if (vnni && has_tiles()) found.push_back(&kernels_amx);
    if (vnni) found.push_back(&kernels_avx512vnni);
    if (avx512) found.push_back(&kernels_avx512);
    if (avx2) found.push_back(&kernels_avx2);  // every such machine has F16C
#elif defined(__aarch64__)
    if (multiplies_bytes()) found.push_back(&kernels_neondot);
    found.push_back(&kernels_neon);  // every such machine has it
#endif
    found.push_back(&kernels_generic);
    return found;
  }();
  return tables;
}

const CpuKernels& cpu_kernels() {
  static const CpuKernels& chosen = []() -> const CpuKernels& {
    const char* wanted = std::getenv("MLXK_CPU_ISA");
    if (!wanted || !*wanted) return *available_kernels().front();
    std::string names;
    for (const auto* table : available_kernels()) {
      if (table->name == std::string_view(wanted)) return *table;
      names += fmt::format("{}{}", names.empty() ? "" : ", ", table->name);
    }
    throw Error(ErrorKind::usage, fmt::format("MLXK_CPU_ISA={}: this machine has {}", wanted, names));
  }();
  return chosen;
}

}  // namespace mlxk
