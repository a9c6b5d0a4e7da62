# The only place with -m flags: instruction set name -> compiler flags.
# The flags name exactly the features that core/cpu.hpp tests before it picks the table; never -march=<cpu>,
# which would enable more. `baseline` is the x86-64 ABI floor (SSE2).
set(MICROTOME_ISAS baseline avx2 avxvnni avx512bw avx512vnni)
set(MICROTOME_FLAGS_baseline "")
set(MICROTOME_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(MICROTOME_FLAGS_avxvnni ${MICROTOME_FLAGS_avx2} -mavxvnni)
set(MICROTOME_FLAGS_avx512bw ${MICROTOME_FLAGS_avx2} -mavx512f -mavx512dq -mavx512bw -mavx512vl)
set(MICROTOME_FLAGS_avx512vnni ${MICROTOME_FLAGS_avx512bw} -mavx512vnni)

# MICROTOME_SINGLE_ISA: the builder's own flags (-march=native, a distribution's -march=x86-64-v3) already
# enable more than the floor. Then no object file can be baseline, a table of instruction sets would be a lie,
# and everything is compiled once, for what the flags allow.
include(CheckCXXSourceCompiles)
get_directory_property(isa_check_flags COMPILE_OPTIONS)
list(FILTER isa_check_flags INCLUDE REGEX "^-m")
string(TOUPPER "${CMAKE_BUILD_TYPE}" isa_check_config)
string(JOIN " " isa_check_flags ${isa_check_flags} ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${isa_check_config}})
string(MD5 isa_check_id "${CMAKE_CXX_COMPILER} ${isa_check_flags}")  # the answer is cached: one per set of flags
set(CMAKE_REQUIRED_FLAGS "${isa_check_flags}")
check_cxx_source_compiles("
#if defined(__SSE3__) || defined(__POPCNT__) || defined(__BMI__) || defined(__LZCNT__)
#error more than the x86-64 floor
#endif
int main() {}" MICROTOME_FLAGS_ARE_BASELINE_${isa_check_id})
unset(CMAKE_REQUIRED_FLAGS)
if(MICROTOME_FLAGS_ARE_BASELINE_${isa_check_id})
  set(MICROTOME_SINGLE_ISA OFF)
else()
  set(MICROTOME_SINGLE_ISA ON)
  message(STATUS "microtome: the compiler flags enable more than baseline x86-64: one instruction set is built, "
                 "without run-time dispatch. The result runs only on CPUs that have all of it.")
endif()
