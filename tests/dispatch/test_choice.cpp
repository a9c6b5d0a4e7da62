// The choice of a kernel table for CPUs that this machine is not.
#include <doctest.h>

#include <string>

#include "microtome/core/error.hpp"
#include "microtome/core/kernel_table.hpp"

using namespace microtome;

#ifdef MICROTOME_DYNAMIC_DISPATCH

TEST_CASE("the best table that the CPU runs is taken") {
  const CpuFeatures oldest;
  CpuFeatures newest;
  newest.avx2 = newest.avxvnni = newest.avx512bw = newest.avx512vnni = true;
  CHECK(choose_kernels(oldest, nullptr).isa == std::string("baseline"));
  CHECK(choose_kernels(oldest, "").isa == std::string("baseline"));
  CHECK(choose_kernels(newest, nullptr).isa == std::string(to_string(built_isas().back())));
  CpuFeatures haswell;
  haswell.avx2 = true;
  CHECK(choose_kernels(haswell, nullptr).isa == std::string("avx2"));
  CHECK(choose_kernels(haswell, "baseline").isa == std::string("baseline"));
}

TEST_CASE("a table that the CPU cannot run is refused by name") {
  for (const Isa isa : built_isas()) {
    if (isa == Isa::baseline) continue;
    try {
      choose_kernels(CpuFeatures{}, to_string(isa));
      FAIL("no error");
    } catch (const UsageError& e) {
      CHECK(e.field() == "MICROTOME_ISA");
      CHECK(std::string(e.what()).find(to_string(isa)) != std::string::npos);
    }
  }
}

TEST_CASE("an unknown name is refused, whatever the CPU") {
  CHECK_THROWS_AS(choose_kernels(CpuFeatures{}, "avx9"), UsageError);
  CHECK_THROWS_AS(choose_kernels(CpuFeatures{}, "AVX2"), UsageError);
}

#endif

TEST_CASE("every table names its instruction set and has every kernel") {
  for (const KernelTable* table : runnable_tables()) {
    CHECK(table->isa != nullptr);
#define MICROTOME_KERNEL(op, Args) CHECK((table->op != nullptr));
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
  }
}
