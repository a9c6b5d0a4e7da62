// Compiled once per instruction set with that set's flags (cmake/isa.cmake). Exports one symbol, the table;
// everything else has internal linkage.
#include "microtome/kernels/all.hpp"
#include "microtome/kernels/table.hpp"

namespace {
// Only these are compiled again with VNNI; dispatch.cpp takes the others from the table without it.
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
constexpr bool compiled(const char* op) {
  return microtome::detail::same_text(op, "conv_row_i16") ||
         microtome::detail::same_text(op, "winograd_product_i16");
}
#else
constexpr bool compiled(const char*) {
  return true;
}
#endif
}  // namespace

extern "C" {
extern const microtome::KernelTable MICROTOME_CAT(microtome_kernels_, MICROTOME_ISA_NAME);
constexpr microtome::KernelTable MICROTOME_CAT(microtome_kernels_, MICROTOME_ISA_NAME) = {
    MICROTOME_STR(MICROTOME_ISA_NAME),
#define MICROTOME_KERNEL(op, Args) \
  compiled(#op) ? static_cast<void (*)(const microtome::Args&)>(&microtome::MICROTOME_ISA_NAME::op) : nullptr,
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
};
}
