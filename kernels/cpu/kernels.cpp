// Compiled once per instruction set with that set's flags (cmake/isa.cmake). Exports one symbol, the table;
// everything else has internal linkage.
#include "microtome/kernels/all.hpp"
#include "microtome/kernels/table.hpp"

extern "C" {
extern const microtome::KernelTable MICROTOME_CAT(microtome_kernels_, MICROTOME_ISA_NAME);
const microtome::KernelTable MICROTOME_CAT(microtome_kernels_, MICROTOME_ISA_NAME) = {
    MICROTOME_STR(MICROTOME_ISA_NAME),
#define MICROTOME_KERNEL(op, Args) &microtome::MICROTOME_ISA_NAME::op,
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
};
}
