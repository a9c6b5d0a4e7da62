# The only place with -m flags: instruction set name -> compiler flags.
# The flags name exactly the features that core/cpu.hpp tests before it picks the table; never -march=<cpu>,
# which would enable more. `baseline` is the x86-64 ABI floor (SSE2).
set(MICROTOME_ISAS baseline avx2)
set(MICROTOME_FLAGS_baseline "")
set(MICROTOME_FLAGS_avx2 -mavx2 -mfma -mf16c)
