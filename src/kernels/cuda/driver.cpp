#include "kernels/cuda/driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {
namespace {

class Library {
 public:
  explicit Library(const char* name) : name_(name), handle_(dlopen(name, RTLD_NOW | RTLD_GLOBAL)) {
    if (!handle_) throw Error(ErrorKind::internal, fmt::format("[cuda] {} cannot be opened: {}", name, dlerror()));
  }
  template <class F>
  F* get(const char* function) const {
    void* found = dlsym(handle_, function);
    if (!found) throw Error(ErrorKind::internal, fmt::format("[cuda] {} has no {}", name_, function));
    return reinterpret_cast<F*>(found);
  }

 private:
  const char* name_;
  void* handle_;  // never closed: libmlx uses it too
};

using Address = unsigned long long;
constexpr int kOutOfMemory = 2;

/// The functions of libcuda that are used here, without the prefix "cu".
struct Driver {
  Library library{"libcuda.so.1"};
  int (*ctx_get_device)(int*) = library.get<int(int*)>("cuCtxGetDevice");
  int (*device_get_attribute)(int*, int, int) = library.get<int(int*, int, int)>("cuDeviceGetAttribute");
  int (*mem_alloc_async)(Address*, size_t, void*) = library.get<int(Address*, size_t, void*)>("cuMemAllocAsync");
  int (*mem_free)(Address) = library.get<int(Address)>("cuMemFree_v2");
  int (*mem_alloc_host)(void**, size_t) = library.get<int(void**, size_t)>("cuMemAllocHost_v2");
  int (*mem_free_host)(void*) = library.get<int(void*)>("cuMemFreeHost");
  int (*memset)(Address, unsigned char, size_t) = library.get<int(Address, unsigned char, size_t)>("cuMemsetD8_v2");
  int (*memcpy_to_host)(void*, Address, size_t) = library.get<int(void*, Address, size_t)>("cuMemcpyDtoH_v2");
  int (*memcpy_to_device)(Address, const void*, size_t,
                          void*) = library.get<int(Address, const void*, size_t, void*)>("cuMemcpyHtoDAsync_v2");
  int (*ctx_get_current)(void**) = library.get<int(void**)>("cuCtxGetCurrent");
  int (*ctx_set_current)(void*) = library.get<int(void*)>("cuCtxSetCurrent");
  int (*stream_create)(void**, unsigned) = library.get<int(void**, unsigned)>("cuStreamCreate");
  int (*stream_destroy)(void*) = library.get<int(void*)>("cuStreamDestroy_v2");
  int (*stream_synchronize)(void*) = library.get<int(void*)>("cuStreamSynchronize");
  int (*module_load)(void**, const void*) = library.get<int(void**, const void*)>("cuModuleLoadData");
  int (*module_get_function)(CUfunc_st**, void*,
                             const char*) = library.get<int(CUfunc_st**, void*, const char*)>("cuModuleGetFunction");
  int (*func_set_attribute)(CUfunc_st*, int, int) = library.get<int(CUfunc_st*, int, int)>("cuFuncSetAttribute");
  int (*launch_kernel)(const void*, CUfunc_st*, void**,
                       void**) = library.get<int(const void*, CUfunc_st*, void**, void**)>("cuLaunchKernelEx");
  int (*get_error_string)(int, const char**) = library.get<int(int, const char**)>("cuGetErrorString");
};

const Driver& driver() {
  static const Driver it;
  return it;
}

void check(int error, const char* what) {
  if (error == 0) return;
  const char* text = "unknown error";
  driver().get_error_string(error, &text);
  const ErrorKind kind = error == kOutOfMemory ? ErrorKind::memory : ErrorKind::internal;
  throw Error(kind, fmt::format("[cuda] {}: {} ({})", what, text, error));
}

/// The functions of libnvrtc that are used here.
struct Compiler {
  Library library{"libnvrtc.so.13"};
  int (*version)(int*, int*) = library.get<int(int*, int*)>("nvrtcVersion");
  int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*) =
      library.get<int(void**, const char*, const char*, int, const char* const*, const char* const*)>(
          "nvrtcCreateProgram");
  int (*compile)(void*, int,
                 const char* const*) = library.get<int(void*, int, const char* const*)>("nvrtcCompileProgram");
  int (*log_size)(void*, size_t*) = library.get<int(void*, size_t*)>("nvrtcGetProgramLogSize");
  int (*log)(void*, char*) = library.get<int(void*, char*)>("nvrtcGetProgramLog");
  int (*code_size)(void*, size_t*) = library.get<int(void*, size_t*)>("nvrtcGetCUBINSize");
  int (*code)(void*, char*) = library.get<int(void*, char*)>("nvrtcGetCUBIN");
  int (*destroy)(void**) = library.get<int(void**)>("nvrtcDestroyProgram");
};

const Compiler& compiler() {
  static const Compiler it;
  return it;
}

int attribute(int which) {
  int device = 0, value = 0;
  check(driver().ctx_get_device(&device), "cuCtxGetDevice");
  check(driver().device_get_attribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

std::string architecture() { return fmt::format("sm_{}{}", cuda_device().major, cuda_device().minor); }

}  // namespace

const CudaDevice& cuda_device() {
  static const CudaDevice device{attribute(75), attribute(76), attribute(16), attribute(97)};
  return device;
}

void* cuda_allocate(size_t bytes, bool on_host) {
  if (on_host) {
    void* data = nullptr;
    check(driver().mem_alloc_host(&data, bytes), "cuMemAllocHost");
    return data;
  }
  Address data = 0;
  check(driver().mem_alloc_async(&data, bytes, nullptr), "cuMemAllocAsync");
  check(driver().stream_synchronize(nullptr), "cuStreamSynchronize");
  return reinterpret_cast<void*>(data);
}

void cuda_release(void* data, bool on_host) {
  if (on_host) {
    driver().mem_free_host(data);
  } else {
    driver().mem_free(reinterpret_cast<Address>(data));
  }
}

void cuda_zero(void* data, size_t bytes) {
  check(driver().memset(reinterpret_cast<Address>(data), 0, bytes), "cuMemsetD8");
}

void cuda_launch(const CudaLaunch& launch, void* stream, void** params) {
  // As CUlaunchAttribute and CUlaunchConfig of the driver's interface.
  struct Attribute {
    int id;
    char pad[4];
    union {
      int allowed;
      char value[64];
    };
  };
  struct Config {
    unsigned grid[3], block[3], shared_bytes;
    void* stream;
    Attribute* attributes;
    unsigned count;
  };
  constexpr int kProgrammaticStreamSerialization = 6;
  Attribute overlaps{kProgrammaticStreamSerialization, {}, {1}};
  const auto [x, y, z] = launch.grid;
  const Config config{
      {x, y, z}, {launch.threads, 1, 1}, launch.shared_bytes, stream, &overlaps, cuda_device().major >= 9 ? 1U : 0U};
  check(driver().launch_kernel(&config, launch.function, params, nullptr), "cuLaunchKernelEx");
}

void cuda_copy_to_host(void* to, const void* from, size_t bytes) {
  check(driver().memcpy_to_host(to, reinterpret_cast<Address>(from), bytes), "cuMemcpyDtoH");
}

CudaContext::CudaContext() { check(driver().ctx_get_current(&context_), "cuCtxGetCurrent"); }

void CudaContext::use() const { check(driver().ctx_set_current(context_), "cuCtxSetCurrent"); }

CudaCopier::CudaCopier(size_t bytes) {
  constexpr unsigned kNonBlocking = 1;
  staged_ = cuda_allocate(bytes, true);
  check(driver().stream_create(&stream_, kNonBlocking), "cuStreamCreate");
}

CudaCopier::~CudaCopier() {
  driver().stream_synchronize(stream_);
  driver().stream_destroy(stream_);
  cuda_release(staged_, true);
}

char* CudaCopier::wait() {
  check(driver().stream_synchronize(stream_), "cuStreamSynchronize");
  return static_cast<char*>(staged_);
}

void CudaCopier::copy(void* to, size_t bytes) {
  check(driver().memcpy_to_device(reinterpret_cast<Address>(to), staged_, bytes, stream_), "cuMemcpyHtoDAsync");
}

std::string cuda_compile(const std::string& source, const std::vector<std::string>& options) {
  std::vector<std::string> all{"--gpu-architecture=" + architecture(), "--std=c++17"};
  all.insert(all.end(), options.begin(), options.end());
  std::vector<const char*> texts;
  for (const auto& option : all) texts.push_back(option.c_str());
  const Compiler& c = compiler();
  void* program = nullptr;
  if (c.create(&program, source.c_str(), "kernel.cu", 0, nullptr, nullptr) != 0)
    throw Error(ErrorKind::internal, "[cuda] nvrtcCreateProgram failed");
  const int error = c.compile(program, static_cast<int>(texts.size()), texts.data());
  std::string code;
  size_t size = 0;
  if (error == 0 && c.code_size(program, &size) == 0) {
    code.resize(size);
    c.code(program, code.data());
  } else {
    c.log_size(program, &size);
    code.resize(size);
    c.log(program, code.data());
  }
  c.destroy(&program);
  if (error != 0)
    throw Error(ErrorKind::internal, fmt::format("[cuda] a kernel does not compile for {}: {}", architecture(), code));
  return code;
}

std::string cuda_compiler_id() {
  int major = 0, minor = 0;
  compiler().version(&major, &minor);
  return fmt::format("nvrtc {}.{} {}", major, minor, architecture());
}

CUfunc_st* cuda_load(const std::string& code, const char* name, int shared_bytes) {
  constexpr int kMaxDynamicSharedBytes = 8;
  void* module = nullptr;
  CUfunc_st* function = nullptr;
  if (driver().module_load(&module, code.data()) != 0) return nullptr;
  check(driver().module_get_function(&function, module, name), name);
  if (shared_bytes > 0) check(driver().func_set_attribute(function, kMaxDynamicSharedBytes, shared_bytes), name);
  return function;
}

}  // namespace mlxk
