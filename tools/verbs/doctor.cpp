// microtome doctor: this machine as the program sees it, and what is wrong with it.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "args.hpp"
#include "layer_report.hpp"
#include "microtome/core/json_writer.hpp"
#include "microtome/core/os.hpp"
#include "microtome/kernels/kernel_table.hpp"
#include "microtome/models/model.hpp"
#include "microtome/pipeline/memory_plan.hpp"
#include "microtome/version.hpp"
#include "tuning.hpp"

namespace microtome::tools {
namespace {

constexpr const char* kOperators[] = {
#define MICROTOME_KERNEL(op, Args) #op,
#include "microtome/kernels/kernels.inc"
#undef MICROTOME_KERNEL
};

std::string joined(const std::vector<std::string>& items) {
  std::string s;
  for (const std::string& i : items) s += (s.empty() ? "" : ", ") + i;
  return s.empty() ? "none" : s;
}

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

struct Diagnosis {
  std::string cpu = cpu_name(), forced, chosen;
  std::vector<std::string> cpu_isas, runnable;
  int cpus = os::cpu_count(), threads = 0;
  std::uint64_t memory = os::physical_memory(), budget = default_memory_budget();
  std::shared_ptr<const Model> model;
  std::size_t session = 0;
  std::vector<std::string> problems;
};

Diagnosis examine(const DoctorArgs& args) {
  Diagnosis d;
  d.threads = args.threads > 0 ? args.threads : d.cpus;
  const CpuFeatures features = decode(read_cpuid());
  for (const Isa i : {Isa::baseline, Isa::avx2, Isa::avxvnni, Isa::avx512bw, Isa::avx512vnni})
    if (features.runs(i)) d.cpu_isas.emplace_back(to_string(i));
  d.runnable = available_isas();
  if (const char* forced = std::getenv("MICROTOME_ISA")) d.forced = forced;
  try {
    d.chosen = active_isa();
  } catch (const UsageError& e) {
    d.problems.push_back(std::string(e.what()) +
                         "; unset MICROTOME_ISA or choose one of: " + joined(d.runnable));
  }
  if (!features.avx2)
    d.problems.push_back(
        "this CPU (or its virtual machine) offers no AVX2 with FMA: expect a fraction of the speed");
  if (!d.forced.empty() && !d.runnable.empty() && !d.chosen.empty() && d.chosen != d.runnable.back())
    d.problems.push_back("MICROTOME_ISA forces " + d.chosen + " where " + d.runnable.back() +
                         " would run; unset it");
  if (d.threads > d.cpus)
    d.problems.push_back(std::to_string(d.threads) + " threads on " + std::to_string(d.cpus) +
                         " CPUs: more threads than CPUs slow each other down; lower --threads");
  if (d.memory == 0) d.problems.push_back("the size of the memory is unknown: give segment --max-memory");
  if (args.model.empty() || d.chosen.empty()) return d;
  d.model = load_tuned(args.model, 0, !args.no_tune).model;
  const ModelInfo& m = d.model->info();
  d.session = Session::planned_bytes(*d.model, m.patch_size, m.patch_size);
  if (d.session * static_cast<std::uint64_t>(d.threads) > d.budget)
    d.problems.push_back(
        "the default budget does not hold one patch per thread: give segment a larger --max-memory, "
        "or a smaller --patch");
  if (m.spacing_um_px <= 0.0)
    d.problems.push_back("the model does not state its scale: give segment --mpp or --level");
  if (m.final_layer == FinalLayer::none)
    d.problems.push_back("the model's final_layer is none: segment needs probabilities (sigmoid or softmax)");
  return d;
}

void print_json(const Diagnosis& d) {
  JsonWriter j;
  j.open_object();
  j.field("microtome", MICROTOME_VERSION);
  j.field("compiler", kCompiler);
  j.field("cpu", d.cpu);
  j.open_array("cpu_isas");
  for (const std::string& s : d.cpu_isas) j.item(s);
  j.close();
  j.open_array("available_isas");
  for (const std::string& s : d.runnable) j.item(s);
  j.close();
  j.field("isa", d.chosen);
  j.field("isa_forced", d.forced);
  j.open_object("kernels");
  for (const char* op : kOperators) j.field(op, d.chosen);
  j.close();
  j.field("cpus", d.cpus);
  j.field("threads", d.threads);
  j.field("memory_bytes", d.memory);
  j.field("memory_budget_bytes", d.budget);
  if (d.model) {
    const ModelInfo& m = d.model->info();
    j.open_object("model");
    j.field("file", m.path);
    j.field("patch_size_pixels", m.patch_size);
    j.field("weights_memory_bytes", d.model->weight_bytes());
    j.field("session_memory_bytes", d.session);
    j.open_array("layers");
    for (const LayerReport& l : d.model->layers(m.patch_size, m.patch_size)) {
      j.open_object();
      write_layer(j, l);
      j.close();
    }
    j.close();
    j.close();
  }
  j.open_array("problems");
  for (const std::string& p : d.problems) j.item(p);
  j.close();
  j.close();
  std::fputs(j.text().c_str(), stdout);
}

void print_text(const Diagnosis& d) {
  std::printf("microtome %s, compiled by %s\n", MICROTOME_VERSION, kCompiler);
  std::printf("CPU %s\n", d.cpu.empty() ? "of unknown name" : d.cpu.c_str());
  std::printf("  offers %s\n  built in and runnable: %s\n", joined(d.cpu_isas).c_str(),
              joined(d.runnable).c_str());
  std::printf("  chosen: %s%s\n", d.chosen.empty() ? "none" : d.chosen.c_str(),
              d.forced.empty() ? "" : " (MICROTOME_ISA is set)");
  std::printf("kernels\n");
  for (const char* op : kOperators)
    std::printf("  %-20s %s\n", op, d.chosen.empty() ? "none" : d.chosen.c_str());
  std::printf("threads %d of %d CPUs\n", d.threads, d.cpus);
  std::printf("memory %s, of which segment may use %s (--max-memory)\n", mebibytes(d.memory).c_str(),
              mebibytes(d.budget).c_str());
  if (d.model) {
    const ModelInfo& m = d.model->info();
    std::printf("model %s\n  %s weights, %s per patch of %lld px in work, %s for %d threads\n",
                m.path.c_str(), mebibytes(d.model->weight_bytes()).c_str(), mebibytes(d.session).c_str(),
                static_cast<long long>(m.patch_size),
                mebibytes(d.session * static_cast<std::uint64_t>(d.threads)).c_str(), d.threads);
    print_layers(d.model->layers(m.patch_size, m.patch_size));
  }
  for (const std::string& p : d.problems) std::printf("problem: %s\n", p.c_str());
  if (d.problems.empty()) std::printf("no problems found\n");
}

}  // namespace

int run_doctor(const DoctorArgs& args) {
  const Diagnosis d = examine(args);
  if (args.json)
    print_json(d);
  else
    print_text(d);
  return d.chosen.empty() ? static_cast<int>(ErrorKind::usage) : 0;
}

}  // namespace microtome::tools
