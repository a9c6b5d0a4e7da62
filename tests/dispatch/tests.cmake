# That every instruction set can be forced, that an unavailable one is an error, and that no instruction leaks.

add_test(NAME dispatch.leak_checker COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/leak_checker.py
  ${CMAKE_CXX_COMPILER} ${PROJECT_SOURCE_DIR}/scripts/check_isa_leaks.py)

if(NOT MICROTOME_SINGLE_ISA)
  set(checked_objects)
  foreach(isa ${MICROTOME_ISAS})
    # The kernels once more with the least inlining that the build allows: what is inlined away above would now
    # be a weak symbol.
    add_library(test_dispatch_O1_${isa} OBJECT ${PROJECT_SOURCE_DIR}/kernels/cpu/kernels.cpp)
    target_link_libraries(test_dispatch_O1_${isa} PRIVATE microtome)
    target_compile_definitions(test_dispatch_O1_${isa} PRIVATE
      $<TARGET_PROPERTY:microtome_kernels_${isa},COMPILE_DEFINITIONS>)
    target_compile_options(test_dispatch_O1_${isa} PRIVATE
      $<TARGET_PROPERTY:microtome_kernels_${isa},COMPILE_OPTIONS> -O1)
    list(APPEND checked_objects --object ${isa}=$<TARGET_OBJECTS:microtome_kernels_${isa}>
                                --object ${isa}=$<TARGET_OBJECTS:test_dispatch_O1_${isa}>)
  endforeach()
  set(checked_programs --program $<TARGET_FILE:test_dispatch_cpu>)
  if(TARGET microtome_program)
    list(APPEND checked_programs --program $<TARGET_FILE:microtome_program>)
  endif()
  add_test(NAME dispatch.leaks COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/scripts/check_isa_leaks.py
    ${checked_objects} ${checked_programs})

  add_executable(test_dispatch_print_isa ${CMAKE_CURRENT_LIST_DIR}/print_isa.cpp)
  target_link_libraries(test_dispatch_print_isa PRIVATE microtome::dispatch microtome_warnings)
  add_test(NAME dispatch.forced_isa COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/forced_isa.py
    $<TARGET_FILE:test_dispatch_print_isa>)
endif()

# Other CPUs under an emulator, and the table that each must pick. Sanitizers reserve more memory than it has.
if(NOT MICROTOME_SINGLE_ISA AND NOT MICROTOME_SANITIZE)
  foreach(row haswell:avx2 arrow-lake:avxvnni skylake-x:avx512bw icelake:avx512vnni sapphire-rapids:avx512vnni)
    string(REPLACE ":" ";" row ${row})
    list(GET row 0 cpu)
    add_test(NAME isa.${cpu} COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/on_cpu.py ${row}
      $<TARGET_FILE:test_dispatch_print_isa> $<TARGET_FILE:test_kernels_kernels>
      $<TARGET_FILE:test_models_int_resunet> $<TARGET_FILE:model_run>
      ${PROJECT_SOURCE_DIR}/weights/nuclei-b16.safetensors)
    set_tests_properties(isa.${cpu} PROPERTIES LABELS isa SKIP_RETURN_CODE 77 TIMEOUT 900)
  endforeach()
endif()
