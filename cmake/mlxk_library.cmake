# mlxk_library(NAME room DEPS rooms… LIBS third-party… [TEST_DEPS rooms…] [SEPARATE])
#
# A room is a folder: every *.cpp in it is the library mlxk_<room>, every *_test.cpp in it the test program
# <room>_test (label: fast). DEPS are the room's arrows; tests/layering holds the #includes to them. With
# MLXK_UNITY the sources of a folder are compiled as one unit, except those of a SEPARATE room.
function(mlxk_library)
  cmake_parse_arguments(arg "SEPARATE" "NAME;TEST_LABEL" "DEPS;LIBS;TEST_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  set(name mlxk_${arg_NAME})
  set(deps ${arg_DEPS})
  list(TRANSFORM deps PREPEND mlxk_)
  if(sources)
    add_library(${name} STATIC ${sources})
    if(MLXK_UNITY AND NOT arg_SEPARATE)
      mlxk_unity(${name} ${sources})
    endif()
    target_link_libraries(${name} PUBLIC mlxk_options ${deps} ${arg_LIBS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE mlxk_options ${deps} ${arg_LIBS})
  endif()
  if(MLXK_TESTS AND tests)
    set(test_deps ${arg_TEST_DEPS})
    list(TRANSFORM test_deps PREPEND mlxk_)
    mlxk_test(${arg_NAME}_test SOURCES ${tests} LIBS ${name} ${test_deps} LABEL ${arg_TEST_LABEL})
  endif()
endfunction()

# mlxk_unity(target files…): the files of a folder are one unit. A folder and not a number of files, so that a new file
# never changes which names meet in one unit.
function(mlxk_unity target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # An unnamed namespace in an included file is harmless, because there is only one unit.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  foreach(file IN LISTS ARGN)
    get_filename_component(folder ${file} DIRECTORY)
    file(RELATIVE_PATH group ${CMAKE_SOURCE_DIR} ${folder})
    string(REPLACE "/" "_" group ${group})
    set_source_files_properties(${file} PROPERTIES UNITY_GROUP ${group})
  endforeach()
endfunction()

if(MLXK_TESTS) # base/testing/test_paths.h
  configure_file(${CMAKE_SOURCE_DIR}/cmake/test_paths.cpp.in ${CMAKE_BINARY_DIR}/test_paths.cpp @ONLY)
  add_library(mlxk_test_paths OBJECT ${CMAKE_BINARY_DIR}/test_paths.cpp)
  target_include_directories(mlxk_test_paths PRIVATE ${CMAKE_SOURCE_DIR}/src)
endif()

# mlxk_test(name SOURCES files… LIBS targets… [LABEL fast|slow]): one GoogleTest program, its cases known to ctest.
function(mlxk_test name)
  cmake_parse_arguments(arg "" "LABEL" "SOURCES;LIBS" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL fast)
  endif()
  add_executable(${name} ${arg_SOURCES})
  # Compiling a test takes longer than running it.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${name} PRIVATE ${arg_LIBS} mlxk_test_paths GTest::gtest_main GTest::gmock)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ${arg_LABEL} TIMEOUT 1200)
endfunction()
