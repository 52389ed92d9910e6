# libmlx: the wheel named in deps/mlx-<backend>.txt (version and hash), unpacked once for all presets.
set(mlx_pin ${CMAKE_SOURCE_DIR}/deps/mlx-${MLXK_BACKEND}.txt)
if(NOT EXISTS ${mlx_pin})
  message(FATAL_ERROR "MLXK_BACKEND=${MLXK_BACKEND}: no ${mlx_pin}; one of cpu, metal, cuda")
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${mlx_pin})
execute_process(
  COMMAND ${CMAKE_SOURCE_DIR}/tools/fetch-wheel ${mlx_pin} ${CMAKE_SOURCE_DIR}/build/deps
  OUTPUT_VARIABLE MLXK_MLX_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "libmlx could not be fetched (see above)")
endif()
find_package(MLX CONFIG REQUIRED PATHS ${MLXK_MLX_ROOT}/mlx/share/cmake/MLX NO_DEFAULT_PATH)
add_library(mlxk_mlx INTERFACE)
target_link_libraries(mlxk_mlx INTERFACE mlx)
