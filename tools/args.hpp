// The parsed command line: one struct per verb, one function per verb (tools/verbs/<verb>.cpp).
// No CLI11 here: it costs 10 s of compile time per file that sees it, so only microtome.cpp does.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend.hpp"

namespace microtome::tools {

/// Options that several verbs share.
struct CommonArgs {
  int threads = 0;  ///< 0: all CPUs this process may use
  bool quiet = false;
};

/// Models and how they are computed.
struct TuningArgs {
  bool no_tune = false;  ///< ignore what `microtome tune` found
};

/// Stain normalisation before the network (stain_option.hpp).
struct StainArgs {
  std::string norm = "none";  ///< none | macenko | reinhard
  std::string target;         ///< slide or image whose colours are aimed at; empty: reference values
};

struct SegmentArgs : CommonArgs, TuningArgs {
  std::vector<std::string> slides;
  std::string model;
  std::string output;
  double mpp = 0.0;              ///< run at this scale instead of the model's, um/px; 0: the model's
  int level = -1;                ///< run on this level as it is; -1: chosen by mpp
  double slide_mpp = 0.0;        ///< overrides the slide's own, um/px; 0: the slide's
  std::int64_t patch = 0;        ///< pixels at model scale; 0: the model's
  std::int64_t stride = 0;       ///< pixels at model scale; 0: the model's
  std::string tissue = "auto";   ///< auto | none
  std::uint64_t max_memory = 0;  ///< bytes; 0: a quarter of the physical memory
  BackendArgs backend;
  StainArgs stain;
  bool overwrite = false;
};

struct InfoArgs : TuningArgs {
  std::string path;
  std::int64_t size = 0;  ///< side of the image that a model is described for, pixels; 0: its patch
  bool json = false;
};

struct RegionArgs {
  std::string slide;
  int level = 0;
  std::vector<std::int64_t> rect;  ///< x, y (level-0 pixels), width, height (pixels of `level`); empty: all
  std::string output;
  bool hash = false;
};

struct DoctorArgs : CommonArgs, TuningArgs {
  std::string model;
  bool json = false;
};

/// Either a mask against the truth (`prediction`, `truth`) or a model against images (`model`, `images`,
/// `masks`).
struct EvaluateArgs : CommonArgs, TuningArgs {
  std::string prediction, truth;
  std::string model, images, masks;
  BackendArgs backend;
  std::optional<double> threshold;  ///< replaces the model's
  StainArgs stain;
  std::string json, csv;   ///< files to write; empty: none
  std::string save_masks;  ///< directory for predicted masks; empty: not saved
};

struct BenchArgs : CommonArgs, TuningArgs {
  std::string model;
  std::int64_t size = 512;  ///< side of the image, pixels
  int runs = 7;
  bool ablate = false;  ///< also without one part of the engine at a time
  std::string json;     ///< file to write; empty: none
};

struct TuneArgs : CommonArgs {
  std::string model;
  std::int64_t size = 0;  ///< side of the image, pixels; 0: the model's patch
  int runs = 7;
  bool clear = false;
};

struct QuantizeArgs : CommonArgs {
  std::string model;
  std::string calibrate;  ///< folder of images, image or slide
  std::string output;
  std::string method = "percentile";  ///< minmax | percentile | mse | kl
  double percentile = 99.99;          ///< per cent
  std::int64_t images = 64;           ///< patches to run
  double equalize = 1.0;
  bool no_bias_correction = false;
  bool overwrite = false;
};

struct SynthArgs {
  std::string output;
  std::int64_t width = 4096, height = 4096;
  double tissue = 0.6;  ///< share of the slide covered by tissue, 0..1
  std::uint64_t seed = 1;
  double mpp = 0.25;
  bool overwrite = false, quiet = false;
};

// Each returns the exit code; failures are thrown as microtome::Error and reported by main().
int run_segment(const SegmentArgs&);
int run_info(const InfoArgs&);
int run_region(const RegionArgs&);
int run_doctor(const DoctorArgs&);
int run_evaluate(const EvaluateArgs&);
int run_bench(const BenchArgs&);
int run_tune(const TuneArgs&);
int run_quantize(const QuantizeArgs&);
int run_synth(const SynthArgs&);

}  // namespace microtome::tools
