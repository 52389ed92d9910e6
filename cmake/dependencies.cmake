# Third-party libraries: Debian's packages, libmlx from its wheel, the Rust crates from rust/.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(toml11 REQUIRED)  # headers only
find_package(PkgConfig REQUIRED)
pkg_check_modules(libedit REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(md4c REQUIRED IMPORTED_TARGET md4c)
pkg_check_modules(opus REQUIRED opus>=1.3)  # its headers: the library is opened at run time
pkg_check_modules(libjpeg REQUIRED IMPORTED_TARGET libjpeg)  # libjpeg-turbo
find_package(CURL 7.62 REQUIRED)  # its headers: the library is opened at run time
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS SSL Crypto)
find_package(Boost 1.74 REQUIRED)  # headers only: Asio and Beast
if(MLXK_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
if(MLXK_ENGINE)
  include(mlx)
endif()
