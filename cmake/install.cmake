# The installed tree is relocatable: every path in it is relative to the program (bin/) or the engine (lib/mlxk/).
#   bin/mlxk + links         lib/mlxk: engine, bundled libraries, mlx/lib/libmlx with its own in mlx_cpu.libs
#   share: completions, man page, doc/mlxk (LICENSE, NOTICE)
include(GNUInstallDirs)
set(engine_dir lib/mlxk) # engine/open.cpp looks for ../lib/mlxk
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/mlxk)

if(APPLE)
  set_target_properties(mlxk PROPERTIES INSTALL_RPATH "@executable_path/../${engine_dir}")
else()
  # In the build tree too: CMake would pad there with empty entries, which stand for the current directory.
  set_target_properties(mlxk PROPERTIES INSTALL_RPATH "$ORIGIN/../${engine_dir}" BUILD_WITH_INSTALL_RPATH ON)
  # DT_RPATH, not DT_RUNPATH: it also serves the libraries that the bundled ones need (libedit's libbsd).
  target_link_options(mlxk PRIVATE -Wl,--disable-new-dtags)
endif()
install(CODE "set(CMAKE_INSTALL_DO_STRIP ON)")
install(TARGETS mlxk RUNTIME_DEPENDENCY_SET mlxk_bundle RUNTIME DESTINATION bin)
foreach(link mlxk2 mlxk-json mlx-run memmon)
  install(CODE "file(CREATE_LINK mlxk \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin/${link}\" SYMBOLIC)")
endforeach()

if(TARGET mlxk_engine_shared)
  if(APPLE)
    set_target_properties(mlxk_engine_shared PROPERTIES INSTALL_RPATH "@loader_path;@loader_path/mlx/lib")
  else()
    set_target_properties(mlxk_engine_shared PROPERTIES INSTALL_RPATH "$ORIGIN;$ORIGIN/mlx/lib")
    target_link_options(mlxk_engine_shared PRIVATE -Wl,--disable-new-dtags)
  endif()
  install(TARGETS mlxk_engine_shared RUNTIME_DEPENDENCY_SET mlxk_bundle LIBRARY DESTINATION ${engine_dir})
  # As in the wheel, because libmlx finds its own libraries by $ORIGIN/../../mlx_cpu.libs.
  install(DIRECTORY ${MLXK_MLX_ROOT}/mlx/lib DESTINATION ${engine_dir}/mlx USE_SOURCE_PERMISSIONS PATTERN "*.a" EXCLUDE)
  file(GLOB wheel_libs LIST_DIRECTORIES true ${MLXK_MLX_ROOT}/mlx_*.libs)
  install(DIRECTORY ${wheel_libs} DESTINATION ${engine_dir} USE_SOURCE_PERMISSIONS)
  if(MLXK_BACKEND STREQUAL cuda) # compiled at run time for the machine's GPU
    install(DIRECTORY ${MLXK_MLX_ROOT}/mlx/include DESTINATION ${engine_dir}/mlx)
  endif()
endif()

if(NOT APPLE)
  # Bundled: libraries that a machine without the build's packages lacks. Not bundled: the C and C++ runtimes, and OpenSSL,
  # whose security fixes come from there.
  install(RUNTIME_DEPENDENCY_SET mlxk_bundle
    PRE_EXCLUDE_REGEXES "^(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\\+\\+|libcrypto|libssl|ld-linux[^.]*)\\."
      "^libmlx" "^lib(cu|nv|nccl)"
    POST_INCLUDE_REGEXES "/lib(fmt|md4c|edit|bsd|md|tinfo|ncurses|jpeg)[^/]*$"
    POST_EXCLUDE_REGEXES ".*"
    LIBRARY DESTINATION ${engine_dir})
endif()

# Made while building, not while installing: root may install, without cargo and its sources.
set(share ${CMAKE_BINARY_DIR}/share)
file(MAKE_DIRECTORY ${share})
add_custom_command(OUTPUT ${share}/mlxk ${share}/_mlxk ${share}/mlxk.fish ${share}/mlxk.1
  COMMAND mlxk completions bash > ${share}/mlxk
  COMMAND mlxk completions zsh > ${share}/_mlxk
  COMMAND mlxk completions fish > ${share}/mlxk.fish
  COMMAND mlxk man > ${share}/mlxk.1
  DEPENDS mlxk VERBATIM COMMENT "Shell completions and man page")
add_custom_command(OUTPUT ${share}/NOTICE
  COMMAND ${CMAKE_SOURCE_DIR}/tools/make-notice ${MLXK_CARGO} "${MLXK_MLX_ROOT}" > ${share}/NOTICE
  DEPENDS mlxk_rust_build ${CMAKE_SOURCE_DIR}/rust/Cargo.lock ${CMAKE_SOURCE_DIR}/tools/make-notice
  VERBATIM COMMENT "NOTICE")
if(MLXK_ENGINE)
  add_custom_target(mlxk_share ALL DEPENDS ${share}/mlxk ${share}/NOTICE)
endif()

install(FILES ${share}/mlxk DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${share}/_mlxk DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${share}/mlxk.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${share}/mlxk.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${share}/NOTICE DESTINATION ${doc_dir})
