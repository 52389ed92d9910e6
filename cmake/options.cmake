# Flags that every target shares.
add_library(mlxk_options INTERFACE)
target_include_directories(mlxk_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
# GCC 12 sees uninitialised reads in std::variant, overlaps in std::string and frees of non-heap memory where there are none.
target_compile_options(mlxk_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict -Wno-free-nonheap-object>)
if(MLXK_WERROR)
  target_compile_options(mlxk_options INTERFACE -Werror)
endif()
target_compile_definitions(mlxk_options INTERFACE MLXK_VERSION="${MLXK_VERSION}")
# Hardening. Sanitizers check more than these flags, and conflict with some of them.
include(CheckCXXCompilerFlag)
if(NOT MLXK_SANITIZE AND NOT MLXK_FUZZ)
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER "MLXK_HAS${flag}" known)
    check_cxx_compiler_flag(${flag} ${known})
    if(${known})
      add_compile_options(${flag})
    endif()
  endforeach()
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  # FORTIFY needs the optimiser's analysis.
  add_compile_options($<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  if(NOT APPLE)
    add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack)
  endif()
endif()
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=) # no path of this machine in the results
if(MLXK_SANITIZE)
  add_compile_options(-fsanitize=${MLXK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MLXK_SANITIZE})
endif()
if(MLXK_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage in the rooms; the targets in tests/fuzz link the fuzzer
endif()
# Paths below the source tree are hashed relative to it, so that every clone shares what one of them compiled.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
