# A program outside this tree finds the installed package, or includes the source tree, and runs.
set(consumer_flags "${CMAKE_CXX_FLAGS}")
if(MICROTOME_SANITIZE)
  string(APPEND consumer_flags " -fsanitize=${MICROTOME_SANITIZE}")
endif()
if(NOT MICROTOME_SINGLE_ISA)
  foreach(how installed source)
    add_test(NAME install.${how} COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/consume.py ${how}
      ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/weights/nuclei-b16.safetensors
      ${CMAKE_CXX_COMPILER} "${consumer_flags}")
    set_tests_properties(install.${how} PROPERTIES TIMEOUT 900 PROCESSORS 2)
  endforeach()
endif()
