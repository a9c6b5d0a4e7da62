// A network against images whose truth is known: run, compare, count.
//
//   const std::vector<ImagePair> pairs = match_images("images", "masks");
//   DefaultExecutor executor(4);
//   ImagePredictor predictor(make_patch_network(load_model("nuclei.safetensors")), executor);
//   std::vector<ImageScore> scores;
//   for (const ImagePair& p : pairs) scores.push_back(evaluate_image(p, predictor));
//   finish_scores(scores);
//   const ClassScore nuclei = pooled_score(scores, 1);              // nuclei.dice(), nuclei.recall() ...
//   const Interval ci95 = bootstrap_dice(class_scores(scores, 1));
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../core/os.hpp"
#include "../slide/registry.hpp"
#include "bootstrap.hpp"
#include "evaluate.hpp"
#include "match_images.hpp"
#include "open_labels.hpp"
#include "predict_image.hpp"

namespace microtome {

/// One image compared with its mask.
struct ImageScore {
  ImagePair files;
  std::int64_t width = 0, height = 0;  ///< pixels of the image
  std::uint64_t mask_pixels = 0;       ///< pixels compared
  double mpp = 0.0;                    ///< um per pixel that the network saw; 0: unknown
  bool whole = false;                  ///< ran in one pass, not in patches
  double seconds = 0.0;
  StainProfile stain;                 ///< as in Prediction
  LabelCounts counts;                 ///< 255 not yet folded, see finish_scores()
  std::vector<std::string> warnings;  ///< one sentence each
};

/// Receives a predicted mask, e.g. to save it.
using PredictionSink = std::function<void(const ImagePair&, const LabelMemory&)>;

/// Runs an image and counts its pixels by predicted and true label. Where the network's scale is coarser than
/// the image by an integer, the mask is predicted, as segment_slide() does, on the image divided by that
/// integer, and the middle pixel of every block of the true mask counts. Throws InputError when the mask and
/// the image differ in size or the scale is out of range (before anything is run), and what
/// ImagePredictor::run(), open_slide() and open_labels() throw.
inline ImageScore evaluate_image(const ImagePair& files, ImagePredictor& predictor,
                                 const PredictionSink& sink = {}, const ProgressFn& progress = {}) {
  const double start = os::now();
  const std::unique_ptr<Slide> image = open_slide(files.image);
  const std::unique_ptr<LabelImage> truth = open_labels(files.mask);
  const auto size = [](std::int64_t w, std::int64_t h) {
    return std::to_string(w) + " x " + std::to_string(h) + " pixels";
  };
  if (truth->width() != image->width() || truth->height() != image->height())
    throw InputError(files.mask, "size",
                     size(truth->width(), truth->height()) + ", but its image " + files.image + " has " +
                         size(image->width(), image->height()));
  constexpr std::int64_t kMaxDownsample = 1024;  // as compare_masks(): a block of truth is held in memory
  if (predictor.plane(*image).mask_downsample > kMaxDownsample)
    throw InputError(files.image, "mpp", scale_text(image->pixel_size().mean()) + " um/px is out of range");
  Prediction p = predictor.run(*image, progress);
  if (sink) sink(files, p.mask);
  constexpr std::int64_t kWhole = std::int64_t{1} << 40;
  BlockCounts counts(kWhole);
  ImageScore score;
  score.mask_pixels = count_masks(p.mask, *truth, p.plane.mask_downsample, &counts).total();
  score.files = files;
  score.width = image->width();
  score.height = image->height();
  score.mpp = 0.5 * (p.plane.mpp_x + p.plane.mpp_y);
  score.whole = p.whole;
  score.counts = std::move(counts.parts().front());
  score.stain = std::move(p.stain);
  score.warnings = std::move(p.warnings);
  score.seconds = os::now() - start;
  return score;
}

/// After the last image: 0 and 255 count as 0 and 1, if no mask of the set holds another label.
inline void finish_scores(std::vector<ImageScore>& scores) {
  std::vector<LabelCounts> counts;
  for (ImageScore& s : scores) counts.push_back(std::move(s.counts));
  fold_binary(counts);
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i].counts = std::move(counts[i]);
}

/// One class in every image, in their order.
inline std::vector<ClassScore> class_scores(const std::vector<ImageScore>& scores, int label) {
  std::vector<ClassScore> list;
  for (const ImageScore& s : scores) list.push_back(s.counts.score(label));
  return list;
}

/// One class over all pixels of all images.
inline ClassScore pooled_score(const std::vector<ImageScore>& scores, int label) {
  ClassScore sum;
  for (const ImageScore& s : scores) sum += s.counts.score(label);
  return sum;
}

}  // namespace microtome
