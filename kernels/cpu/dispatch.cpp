// Picks the kernel table for this CPU. Compiled with baseline flags only: it must run before anything is
// known.
#include <cstdlib>
#include <string>

#include "microtome/core/error.hpp"
#include "microtome/kernels/kernel_table.hpp"

// In order of preference, best last, each with the set that has the kernels its own table lacks (VNNI: all
// but a few). A new instruction set is one line here and one in cmake/isa.cmake.
#define MICROTOME_TABLES(row) \
  row(baseline, baseline) row(avx2, avx2) row(avxvnni, avx2) row(avx512bw, avx512bw) row(avx512vnni, avx512bw)

extern "C" {
#define MICROTOME_DECLARE(isa, rest) extern const microtome::KernelTable microtome_kernels_##isa;
MICROTOME_TABLES(MICROTOME_DECLARE)
#undef MICROTOME_DECLARE
}

namespace microtome {
namespace {

struct Entry {
  Isa isa;
  KernelTable table;
};

KernelTable completed(KernelTable table, const KernelTable& rest) {
#define MICROTOME_KERNEL(op, Args) \
  if (!table.op) table.op = rest.op;
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
  return table;
}

const auto& entries() {
  static const Entry entries[] = {
#define MICROTOME_ENTRY(isa, rest) {Isa::isa, completed(microtome_kernels_##isa, microtome_kernels_##rest)},
      MICROTOME_TABLES(MICROTOME_ENTRY)
#undef MICROTOME_ENTRY
  };
  return entries;
}

}  // namespace

const KernelTable& choose_kernels(const CpuFeatures& cpu, const char* wanted) {
  if (wanted && !*wanted) wanted = nullptr;
  const KernelTable* best = nullptr;
  std::string built;
  for (const Entry& e : entries()) {
    built += std::string(built.empty() ? "" : ", ") + to_string(e.isa);
    if (!wanted && cpu.runs(e.isa)) best = &e.table;
    if (wanted && std::strcmp(wanted, to_string(e.isa)) == 0) {
      if (!cpu.runs(e.isa)) throw UsageError("MICROTOME_ISA", std::string("this CPU cannot run ") + wanted);
      best = &e.table;
    }
  }
  if (!best)
    throw UsageError("MICROTOME_ISA", "'" + std::string(wanted) + "' is not built in; choose from " + built);
  return *best;
}

const KernelTable& kernels() {
  static const KernelTable& table = choose_kernels(decode(read_cpuid()), std::getenv("MICROTOME_ISA"));
  return table;
}

std::vector<const KernelTable*> runnable_tables() {
  const CpuFeatures cpu = decode(read_cpuid());
  std::vector<const KernelTable*> tables;
  for (const Entry& e : entries())
    if (cpu.runs(e.isa)) tables.push_back(&e.table);
  return tables;
}

std::vector<Isa> built_isas() {
  std::vector<Isa> isas;
  for (const Entry& e : entries()) isas.push_back(e.isa);
  return isas;
}

}  // namespace microtome
