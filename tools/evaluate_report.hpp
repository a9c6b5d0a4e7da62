// The figures of `microtome evaluate` as a table, JSON and CSV: the same rows for masks and for images.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "microtome/core/os.hpp"
#include "microtome/core/text.hpp"
#include "microtome/pipeline/bootstrap.hpp"
#include "microtome/pipeline/stain_profile.hpp"

namespace microtome::tools {

/// One class of one image, or of all.
struct ClassRow {
  std::string name;
  int label = 0;
  ClassScore score;
  Interval ci95;  ///< of the Dice; pooled rows only
};

/// A profile as summary.json has it (write_stain()); null for none.
inline nlohmann::json json_stain(const StainProfile& p) {
  if (p.method == StainMethod::none) return nullptr;
  nlohmann::json j = {{p.first_name(), p.first}, {p.second_name(), p.second}};
  if (!p.origin.empty()) j["origin"] = p.origin;
  return j;
}

/// The name of a label in the report: its class, or its number where no mask names it or two share a name
/// ("label 7" if a class is called "7"). No two labels have the same.
inline std::string label_name(const std::vector<std::string>& names, int label) {
  const auto i = static_cast<std::size_t>(label);
  const auto count = [&](const std::string& n) { return std::count(names.begin(), names.end(), n); };
  if (i < names.size() && !names[i].empty() && count(names[i]) == 1) return names[i];
  std::string name = std::to_string(label);
  while (count(name) > 0) name = "label " + name;
  return name;
}

/// Rows of every label that has a name or occurs. `parts(label)`: its scores in the parts that the interval
/// resamples, which make up the whole.
template <class Parts>
std::vector<ClassRow> pooled_rows(const std::vector<std::string>& names, Parts&& parts) {
  std::vector<ClassRow> rows;
  for (int label = 0; label < 256; ++label) {
    const std::vector<ClassScore> list = parts(label);
    ClassRow row;
    for (const ClassScore& s : list) row.score += s;
    if (!row.score.present() && static_cast<std::size_t>(label) >= names.size()) continue;
    row.name = label_name(names, label);
    row.label = label;
    if (row.score.present()) row.ci95 = bootstrap_dice(list);
    rows.push_back(std::move(row));
  }
  return rows;
}

inline void print_table(const std::vector<ClassRow>& rows, bool with_interval) {
  const auto cell = [](double v) {
    char s[16];
    std::snprintf(s, sizeof s, "%8.4f", v);
    return std::isnan(v) ? std::string("       -") : std::string(s);
  };
  const auto range = [](const Interval& i) {
    char s[32];
    std::snprintf(s, sizeof s, "  %.4f - %.4f", i.low, i.high);
    return std::isnan(i.low) ? std::string(14, ' ') + "  -" : std::string(s);
  };
  std::printf("%-20s %8s%s %8s %9s %8s %14s %14s\n", "class", "Dice",
              with_interval ? "  95 % interval  " : "", "IoU", "precision", "recall", "predicted px",
              "truth px");
  for (const ClassRow& r : rows) {
    const ClassScore& s = r.score;
    std::printf("%-20s %s%s %s  %s %s %14llu %14llu%s\n", printable(r.name).c_str(), cell(s.dice()).c_str(),
                with_interval ? range(r.ci95).c_str() : "", cell(s.iou()).c_str(),
                cell(s.precision()).c_str(), cell(s.recall()).c_str(),
                static_cast<unsigned long long>(s.true_positive + s.false_positive),
                static_cast<unsigned long long>(s.true_positive + s.false_negative),
                r.label == 0 ? "  background" : "");
  }
}

inline nlohmann::json json_number(double v) {
  return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json(nullptr);
}

/// {"<class>": {"dice": ...}}; null for a class that neither occurs nor was predicted.
inline nlohmann::json json_rows(const std::vector<ClassRow>& rows, bool pooled) {
  nlohmann::json all = nlohmann::json::object();
  for (const ClassRow& r : rows) {
    nlohmann::json& one = all[r.name];
    const ClassScore& s = r.score;
    if (!s.present()) continue;
    one = {{"label", r.label},
           {"background", r.label == 0},
           {"dice", json_number(s.dice())},
           {"iou", json_number(s.iou())},
           {"precision", json_number(s.precision())},
           {"recall", json_number(s.recall())},
           {"predicted_pixels", s.true_positive + s.false_positive},
           {"truth_pixels", s.true_positive + s.false_negative},
           {"common_pixels", s.true_positive}};
    if (pooled) one["ci95"] = {json_number(r.ci95.low), json_number(r.ci95.high)};
  }
  return all;
}

/// What the intervals of a report resample.
inline void describe_interval(nlohmann::json& report, const char* unit, std::size_t units) {
  report["ci95_unit"] = unit;
  report["ci95_units"] = units;
  report["ci95_rounds"] = kBootstrapRounds;
}

inline void write_json(const std::string& path, const nlohmann::json& report) {
  const std::string text = report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  os::write_file_atomically(path, text.data(), text.size());
}

/// Comma-separated values as RFC 4180 has them.
class CsvReport {
 public:
  CsvReport() {
    line({"scope", "image", "class", "label", "dice", "ci95_low", "ci95_high", "iou", "precision", "recall",
          "predicted_pixels", "truth_pixels", "common_pixels"});
  }

  /// `image` is empty for pooled rows. A figure that does not exist is an empty field.
  void add(const std::string& image, const std::vector<ClassRow>& rows) {
    for (const ClassRow& r : rows) {
      const ClassScore& s = r.score;
      line({image.empty() ? "pooled" : "image", image, r.name, std::to_string(r.label), number(s.dice()),
            number(r.ci95.low), number(r.ci95.high), number(s.iou()), number(s.precision()),
            number(s.recall()), std::to_string(s.true_positive + s.false_positive),
            std::to_string(s.true_positive + s.false_negative), std::to_string(s.true_positive)});
    }
  }
  void write(const std::string& path) const { os::write_file_atomically(path, text_.data(), text_.size()); }

 private:
  static std::string number(double v) {
    char s[32];
    std::snprintf(s, sizeof s, "%.9g", v);
    return std::isfinite(v) ? s : "";
  }
  void line(const std::vector<std::string>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) text_ += ',';
      if (fields[i].find_first_of(",\"\r\n") == std::string::npos) {
        text_ += fields[i];
        continue;
      }
      text_ += '"';
      for (const char c : fields[i]) text_.append(c == '"' ? 2 : 1, c);
      text_ += '"';
    }
    text_ += "\r\n";
  }

  std::string text_;
};

}  // namespace microtome::tools
