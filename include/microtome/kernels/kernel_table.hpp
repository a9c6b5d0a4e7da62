// The whole interface between ordinary code and instruction-set-specific code: a table of function pointers.
#pragma once
#include <string>
#include <vector>

#include "../core/cpu.hpp"
#include "table.hpp"

namespace microtome {

#ifdef MICROTOME_DYNAMIC_DISPATCH

/// The table for this CPU (kernels/cpu/dispatch.cpp), chosen once. The environment variable MICROTOME_ISA
/// names another; UsageError if it is unknown, not built in, or this CPU cannot run it.
const KernelTable& kernels();

/// How kernels() chooses: the best table that `cpu` can run, or the one named by `wanted` unless that is null
/// or empty. Throws UsageError as kernels() does.
const KernelTable& choose_kernels(const CpuFeatures& cpu, const char* wanted);

/// Every table built in that this CPU can run, best last. Tests and benchmarks walk it.
std::vector<const KernelTable*> runnable_tables();

/// Every instruction set built in, runnable here or not.
std::vector<Isa> built_isas();

#endif

}  // namespace microtome

#ifndef MICROTOME_DYNAMIC_DISPATCH
#include "native.hpp"
#endif

namespace microtome {

/// Name of the instruction set in use, e.g. "avx2".
inline const char* active_isa() {
  return kernels().isa;
}

/// Names of the instruction sets that can be chosen on this machine.
inline std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* t : runnable_tables()) names.emplace_back(t->isa);
  return names;
}

}  // namespace microtome
