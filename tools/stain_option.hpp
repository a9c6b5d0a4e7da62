// --stain-norm and --stain-target, which several verbs share.
#pragma once
#include <string>

#include "args.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/parallel.hpp"
#include "microtome/pipeline/stain_sample.hpp"
#include "microtome/slide/registry.hpp"

namespace microtome::tools {

/// The colours aimed at: the reference values, or those of the target slide at `mpp` um per pixel (0: at its
/// own scale). Throws UsageError and InputError.
inline StainProfile stain_target(const StainArgs& args, double mpp, int threads) {
  const StainMethod method = parse_stain_method(args.norm);
  if (args.target.empty()) return reference_stain(method);
  if (method == StainMethod::none)
    throw UsageError("--stain-target", "needs --stain-norm macenko or --stain-norm reinhard");
  DefaultExecutor executor(threads > 0 ? threads : os::cpu_count());
  return stain_of_slide(method, *open_slide(args.target), mpp, executor);
}

}  // namespace microtome::tools
