// How a memory budget is divided between networks at work and unfinished mask tiles.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "../core/error.hpp"
#include "../core/os.hpp"

namespace microtome {

/// What a run needs, in bytes and counts.
struct MemoryNeeds {
  std::uint64_t fixed = 0;        ///< held once: weights, tissue mask, tile index, the program itself
  std::uint64_t per_session = 0;  ///< network scratch, patch buffers and slide reader of one patch in work
  std::uint64_t inner_extra = 0;  ///< more for a session whose loops use all threads
  std::uint64_t per_block = 0;    ///< one mask tile's accumulator
  std::int64_t patches = 0;       ///< to run
  std::int64_t mask_tiles_across = 0, mask_tiles_down = 0;
  std::int64_t tile_rows_per_patch = 0;  ///< rows of mask tiles one row of patches touches
  int threads = 1;
};

/// The division.
struct MemoryPlan {
  std::uint64_t budget = 0;     ///< bytes asked for
  std::uint64_t planned = 0;    ///< bytes the plan amounts to
  int sessions = 1;             ///< patches in work at the same time
  bool inner_threads = false;   ///< one patch at a time, all threads inside the network
  std::int64_t blocks = 0;      ///< accumulators in memory; more are spilled to disk
  std::int64_t band_tiles = 0;  ///< width of a traversal band in mask tiles, so that `blocks` suffice
};

/// Bytes as "512 MiB", rounded up.
inline std::string mebibytes(std::uint64_t bytes) {
  return std::to_string((bytes + 1048575) / 1048576) + " MiB";
}

/// The default budget: a quarter of the physical memory, 1 GiB if that is unknown.
inline std::uint64_t default_memory_budget() {
  const std::uint64_t all = os::physical_memory();
  return all ? all / 4 : std::uint64_t{1} << 30;
}

/// As many patches at a time as threads, patches and budget allow; if that would leave half of the threads
/// idle, one patch at a time with all threads inside the network. What is left goes to accumulators. Throws
/// ResourceError naming the least budget that works.
inline MemoryPlan plan_memory(const MemoryNeeds& n, std::uint64_t budget) {
  constexpr std::uint64_t kSpareBlocks = 3;  // a patch usually lies on four tiles
  const auto total = [&](std::uint64_t sessions) {
    return n.fixed + sessions * n.per_session + (sessions + kSpareBlocks) * n.per_block;
  };
  MemoryPlan plan;
  plan.budget = budget ? budget : default_memory_budget();
  if (total(1) > plan.budget)
    throw ResourceError("", "--max-memory",
                        mebibytes(plan.budget) + " is too little for this model and patch size: " +
                            mebibytes(total(1)) + " is the least");
  std::int64_t sessions = std::max<std::int64_t>(1, std::min<std::int64_t>(n.threads, n.patches));
  while (total(static_cast<std::uint64_t>(sessions)) > plan.budget) --sessions;
  if (2 * sessions <= n.threads && total(1) + n.inner_extra <= plan.budget) {
    sessions = 1;
    plan.inner_threads = true;
  }
  plan.sessions = static_cast<int>(sessions);
  const std::uint64_t used = n.fixed + static_cast<std::uint64_t>(sessions) * n.per_session +
                             (plan.inner_threads ? n.inner_extra : 0);
  const std::int64_t all = n.mask_tiles_across * n.mask_tiles_down;
  plan.blocks = std::min(all, static_cast<std::int64_t>((plan.budget - used) / n.per_block));
  // A finished row of tiles leaves when the next row of patches has passed, hence one row more.
  const std::int64_t rows = std::min(n.mask_tiles_down, n.tile_rows_per_patch + 1);
  plan.band_tiles = std::clamp<std::int64_t>(plan.blocks / rows, 1, n.mask_tiles_across);
  plan.blocks = std::min(plan.blocks, (n.mask_tiles_across + 1) * rows + sessions);
  plan.planned = used + static_cast<std::uint64_t>(plan.blocks) * n.per_block;
  return plan;
}

}  // namespace microtome
