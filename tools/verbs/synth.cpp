// microtome synth: a synthetic slide and its true mask.
#include <cstdio>
#include <string>

#include "args.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/synth_slide.hpp"
#include "progress.hpp"

namespace microtome::tools {

int run_synth(const SynthArgs& args) {
  if (args.output.empty()) throw UsageError("--output", "is empty: the name of a slide expected");
  for (const std::string& path : {args.output, truth_path(args.output)})
    if (!args.overwrite && os::exists(path))
      throw UsageError("--output", "'" + path + "' exists; --overwrite replaces it");
  SynthOptions o;
  o.width = args.width;
  o.height = args.height;
  o.tissue = args.tissue;
  o.mpp = args.mpp;
  o.seed = args.seed;
  DefaultExecutor executor(os::cpu_count());
  const double start = os::now();
  {
    ProgressBar bar(args.output, args.quiet);
    write_synthetic_slide(args.output, o, executor, [&](const Progress& p) {
      bar.update(p);
      return true;
    });
  }
  if (!args.quiet)
    std::printf("%s: %lld x %lld pixels, %g um/px, in %.1f s; truth: %s\n", printable(args.output).c_str(),
                static_cast<long long>(args.width), static_cast<long long>(args.height), args.mpp,
                os::now() - start, printable(truth_path(args.output)).c_str());
  return 0;
}

}  // namespace microtome::tools
