# microtome_kernel_library(<name> <objects> [DEFINITION...]): the kernels of kernels/kernels.inc, or of the list that
# MICROTOME_KERNEL_LIST among the definitions names, once per instruction set (object libraries <objects>_<isa>),
# and the choice between them when the program runs.
function(microtome_kernel_library name objects)
  if(MICROTOME_SINGLE_ISA)
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE microtome)
    target_compile_definitions(${name} INTERFACE ${ARGN})
    return()
  endif()
  add_library(${name} STATIC ${PROJECT_SOURCE_DIR}/kernels/cpu/dispatch.cpp)
  foreach(isa ${MICROTOME_ISAS})
    add_library(${objects}_${isa} OBJECT ${PROJECT_SOURCE_DIR}/kernels/cpu/kernels.cpp)
    target_link_libraries(${objects}_${isa} PRIVATE microtome microtome_warnings)
    # xsimd is renamed per ISA: even its -O0 weak symbols can then never meet those of another ISA.
    target_compile_definitions(${objects}_${isa} PRIVATE MICROTOME_ISA_NAME=${isa} xsimd=xsimd_${isa} ${ARGN})
    target_compile_options(${objects}_${isa} PRIVATE ${MICROTOME_FLAGS_${isa}} -fno-exceptions -fno-rtti
      -ffp-contract=off -fno-sanitize=all $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-uninitialized>
      $<$<OR:$<CONFIG:>,$<CONFIG:Debug>>:-O1>)  # at -O0 the C++ library's inline functions become shared symbols
    set_target_properties(${objects}_${isa} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF
                                                       POSITION_INDEPENDENT_CODE ON)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${objects}_${isa}>)
  endforeach()
  target_link_libraries(${name} PUBLIC microtome PRIVATE $<BUILD_INTERFACE:microtome_warnings>)
  target_compile_definitions(${name} PUBLIC MICROTOME_DYNAMIC_DISPATCH ${ARGN})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()
