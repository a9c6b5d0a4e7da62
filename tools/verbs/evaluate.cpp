// microtome evaluate: how well a mask agrees with the truth.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "args.hpp"
#include "microtome/core/os.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/evaluate.hpp"
#include "microtome/pipeline/open_labels.hpp"

namespace microtome::tools {
namespace {

using nlohmann::json;

// Names of the labels from `{"class_names": [...]}` in a mask's description; empty when it holds none.
std::vector<std::string> class_names(const LabelImage& mask) {
  std::vector<std::string> names;
  const json d = json::parse(mask.description(), nullptr, false);
  if (!d.is_object() || !d.contains("class_names") || !d["class_names"].is_array()) return names;
  for (const json& n : d["class_names"])
    names.push_back(n.is_string() ? n.get<std::string>() : std::string());
  return names;
}

// The name of a label in the report: its class, or its number where no mask names it or two share a name.
std::string key(const std::vector<std::string>& names, int label) {
  const auto i = static_cast<std::size_t>(label);
  if (i >= names.size() || names[i].empty()) return std::to_string(label);
  for (std::size_t k = 0; k < names.size(); ++k)
    if (k != i && names[k] == names[i]) return std::to_string(label);
  return names[i];
}

json number(double v) {
  return std::isnan(v) ? json(nullptr) : json(v);
}

json figures(const ClassScore& s, int label) {
  if (!s.present()) return nullptr;
  return {{"label", label},
          {"background", label == 0},
          {"dice", number(s.dice())},
          {"iou", number(s.iou())},
          {"precision", number(s.precision())},
          {"recall", number(s.recall())},
          {"predicted_pixels", s.true_positive + s.false_positive},
          {"truth_pixels", s.true_positive + s.false_negative},
          {"common_pixels", s.true_positive}};
}

std::string cell(double v) {
  char s[16];
  std::snprintf(s, sizeof s, "%8.4f", v);
  return std::isnan(v) ? "       -" : s;
}

}  // namespace

int run_evaluate(const EvaluateArgs& args) {
  for (const std::string& mask : {args.prediction, args.truth})
    if (os::same_file(args.json, mask))
      throw UsageError("--json", "'" + args.json + "' is one of the masks to compare");
  const auto prediction = open_labels(args.prediction), truth = open_labels(args.truth);
  const Confusion c = compare_masks(*prediction, *truth);
  std::vector<std::string> names = class_names(*prediction);
  if (names.empty()) names = class_names(*truth);

  json pooled = json::object();
  std::printf("%-20s %8s %8s %9s %8s %14s %14s\n", "class", "Dice", "IoU", "precision", "recall",
              "predicted px", "truth px");
  for (int label = 0; label < 256; ++label) {
    const ClassScore s = score(c, label);
    if (!s.present() && static_cast<std::size_t>(label) >= names.size()) continue;
    const std::string name = key(names, label);
    pooled[name] = figures(s, label);
    std::printf("%-20s %s %s  %s %s %14llu %14llu%s\n", printable(name).c_str(), cell(s.dice()).c_str(),
                cell(s.iou()).c_str(), cell(s.precision()).c_str(), cell(s.recall()).c_str(),
                static_cast<unsigned long long>(s.true_positive + s.false_positive),
                static_cast<unsigned long long>(s.true_positive + s.false_negative),
                label == 0 ? "  background" : "");
  }
  if (!args.json.empty()) {
    const json all = {{"prediction", args.prediction},  {"truth", args.truth}, {"width", prediction->width()},
                      {"height", prediction->height()}, {"pixels", c.total()}, {"pooled", pooled}};
    const std::string text = all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
    os::write_file_atomically(args.json, text.data(), text.size());
  }
  return 0;
}

}  // namespace microtome::tools
