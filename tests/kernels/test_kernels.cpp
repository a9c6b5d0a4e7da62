// Every kernel of every instruction set this CPU runs, against its scalar reference in double. The list
// kernels.inc drives it: a kernel without a check_<operator>.hpp does not compile.
#include <doctest.h>
#include <microtome/core/kernel_table.hpp>

#define MICROTOME_KERNEL_FILE(op) MICROTOME_STR(check_##op.hpp)
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL_FILE

TEST_CASE("every kernel of every runnable instruction set matches its scalar reference") {
  REQUIRE(!microtome::runnable_tables().empty());
  for (const microtome::KernelTable* table : microtome::runnable_tables()) {
#define MICROTOME_KERNEL(op, Args) microtome_test::check_##op(*table);
#include <microtome/kernels/kernels.inc>
#undef MICROTOME_KERNEL
  }
}
