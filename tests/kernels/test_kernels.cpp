// Every kernel of every instruction set this CPU runs, against its scalar reference in double. The list
// kernels.inc drives it: a kernel without a check_<operator>.hpp does not compile.
#include <doctest.h>
#include <microtome/kernels/kernel_table.hpp>

#define MICROTOME_KERNEL_FILE(op) MICROTOME_STR(check_##op.hpp)
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL_FILE

namespace {

void check_every_kernel(const microtome::KernelTable& table) {
#define MICROTOME_KERNEL(op, Args) microtome_test::check_##op(table);
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL
}

}  // namespace

// tests/dispatch/on_cpu.py asks for it by name.
TEST_CASE("every kernel in use matches its scalar reference") {
  check_every_kernel(microtome::kernels());
}

TEST_CASE("so does every kernel of the other runnable instruction sets") {
  for (const microtome::KernelTable* table : microtome::runnable_tables())
    if (table != &microtome::kernels()) check_every_kernel(*table);
}
