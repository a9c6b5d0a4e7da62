# Every header compiles alone, and all of them can meet in one program: each is compiled in a file of its own, and
# most reach several of these files, so a missing `inline` is a duplicate symbol here.
set(header_sources)
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
     ${PROJECT_SOURCE_DIR}/include/microtome/*.hpp)
foreach(header ${headers})
  string(MAKE_C_IDENTIFIER ${header} name)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n#include \"${header}\"  // guarded\n")
  list(APPEND header_sources ${source})
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp CONTENT "int main() { return 0; }\n")
add_executable(test_headers ${header_sources} ${CMAKE_CURRENT_BINARY_DIR}/headers/main.cpp)
target_link_libraries(test_headers PRIVATE microtome::dispatch microtome::slide microtome_warnings)
target_compile_options(test_headers PRIVATE -O0)  # nothing is inlined away, and it compiles fast
add_test(NAME headers.link_together COMMAND test_headers)
add_test(NAME headers.rules COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/scripts/check_headers.py)
