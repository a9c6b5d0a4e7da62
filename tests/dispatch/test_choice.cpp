// The choice of a kernel table for CPUs that this machine is not.
#include <doctest.h>

#include <string>
#include <utility>

#include "microtome/core/error.hpp"
#include "microtome/kernels/kernel_table.hpp"

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
  CpuFeatures alder_lake = haswell, skylake_x = haswell;
  alder_lake.avxvnni = true;
  CHECK(choose_kernels(alder_lake, nullptr).isa == std::string("avxvnni"));
  skylake_x.avx512bw = true;
  CHECK(choose_kernels(skylake_x, nullptr).isa == std::string("avx512bw"));
  CHECK(choose_kernels(newest, "avxvnni").isa == std::string("avxvnni"));
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

TEST_CASE("every table has every kernel; those with VNNI share what VNNI does not change") {
  CpuFeatures every;
  every.avx2 = every.avxvnni = every.avx512bw = every.avx512vnni = true;
  for (const Isa isa : built_isas()) {
    const KernelTable& table = choose_kernels(every, to_string(isa));
    CHECK(table.isa == std::string(to_string(isa)));
#define MICROTOME_KERNEL(op, Args) CHECK((table.op != nullptr));
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
  }
  for (const auto& [name, rest] : {std::pair("avxvnni", "avx2"), std::pair("avx512vnni", "avx512bw")}) {
    const KernelTable &with = choose_kernels(every, name), &without = choose_kernels(every, rest);
    CHECK((with.conv_row_i16 != without.conv_row_i16));
    CHECK((with.winograd_product_i16 != without.winograd_product_i16));
    CHECK((with.conv_row_f32 == without.conv_row_f32));
  }
}

TEST_CASE("an unknown name is refused, whatever the CPU") {
  CHECK_THROWS_AS(choose_kernels(CpuFeatures{}, "avx9"), UsageError);
  CHECK_THROWS_AS(choose_kernels(CpuFeatures{}, "AVX2"), UsageError);
}

#endif

TEST_CASE("every runnable table names its instruction set and has every kernel") {
  for (const KernelTable* table : runnable_tables()) {
    CHECK(table->isa != nullptr);
#define MICROTOME_KERNEL(op, Args) CHECK((table->op != nullptr));
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
  }
}
