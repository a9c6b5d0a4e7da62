// The mask's unfinished tiles: a fixed number of them in memory, the rest in a temporary file.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../core/os.hpp"

namespace microtome {

/// Blocks of memory by number, zero when first asked for, at most `capacity` of them in memory. The block
/// unused for longest moves to an unlinked temporary file when another needs its place, and comes back when
/// asked for: the content is the same, only slower. Safe to use from several threads.
class AccumulatorStore {
  struct Slot {
    std::int64_t key = -1;  // -1: free
    bool in_use = false;
    std::uint64_t last_use = 0;
    std::unique_ptr<std::uint8_t[]> data;
  };

 public:
  /// A block lent to one thread; others who want it wait. A thread may hold one at a time.
  class Loan {
   public:
    Loan(Loan&& o) noexcept : store_(std::exchange(o.store_, nullptr)), slot_(o.slot_) {}
    Loan& operator=(Loan&&) = delete;
    ~Loan() {
      if (store_) store_->give_back(*slot_, false);
    }
    std::uint8_t* data() const { return slot_->data.get(); }
    /// Gives the block back for good: asked for again, it would be zero.
    void discard() { std::exchange(store_, nullptr)->give_back(*slot_, true); }

   private:
    friend class AccumulatorStore;
    Loan(AccumulatorStore* store, Slot* slot) : store_(store), slot_(slot) {}
    AccumulatorStore* store_;
    Slot* slot_;
  };

  /// `spill_path`: the temporary file is made beside it, on first need.
  AccumulatorStore(std::size_t block_bytes, std::size_t capacity, std::string spill_path)
      : bytes_(block_bytes), slots_(capacity < 1 ? 1 : capacity), spill_path_(std::move(spill_path)) {}

  /// Throws ResourceError when the disk is full.
  Loan borrow(std::int64_t key) {
    std::unique_lock<std::mutex> lock(guard_);
    for (;;) {
      const auto live = live_.find(key);
      Slot* slot = live != live_.end() ? &slots_[live->second] : longest_unused();
      if (!slot || slot->in_use) {
        returned_.wait(lock);
        continue;
      }
      if (slot->key != key) replace(*slot, key);
      slot->in_use = true;
      slot->last_use = ++clock_;
      return Loan(this, slot);
    }
  }

  std::uint64_t spills() const { return spills_; }  ///< blocks written to disk so far

 private:
  Slot* longest_unused() {
    Slot* best = nullptr;
    for (Slot& s : slots_) {
      if (s.key < 0) return &s;
      if (!s.in_use && (!best || s.last_use < best->last_use)) best = &s;
    }
    return best;
  }

  void replace(Slot& slot, std::int64_t key) {
    if (slot.key >= 0) {
      if (!spill_.is_open()) spill_ = os::File(spill_path_, os::File::Mode::temporary);
      const std::uint64_t at = holes_.empty() ? spilled_.size() : holes_.back();
      spill_.write(at * bytes_, slot.data.get(), bytes_);
      if (!holes_.empty()) holes_.pop_back();
      spilled_.emplace(slot.key, at);
      ++spills_;
      live_.erase(slot.key);
      slot.key = -1;
    }
    if (!slot.data) slot.data.reset(new std::uint8_t[bytes_]);
    const auto stored = spilled_.find(key);
    if (stored == spilled_.end()) {
      std::memset(slot.data.get(), 0, bytes_);
    } else {
      spill_.read(stored->second * bytes_, slot.data.get(), bytes_);
      holes_.push_back(stored->second);
      spilled_.erase(stored);
    }
    slot.key = key;
    live_.emplace(key, static_cast<std::size_t>(&slot - slots_.data()));
  }

  void give_back(Slot& slot, bool discard) {
    {
      const std::lock_guard<std::mutex> lock(guard_);
      slot.in_use = false;
      if (discard) {
        live_.erase(slot.key);
        slot.key = -1;
      }
    }
    returned_.notify_all();
  }

  std::size_t bytes_;
  std::vector<Slot> slots_;
  std::string spill_path_;
  std::mutex guard_;
  std::condition_variable returned_;
  std::unordered_map<std::int64_t, std::size_t> live_;       // key -> slot
  std::unordered_map<std::int64_t, std::uint64_t> spilled_;  // key -> block of the file
  std::vector<std::uint64_t> holes_;                         // blocks of the file free again
  os::File spill_;
  std::uint64_t clock_ = 0, spills_ = 0;
};

}  // namespace microtome
