// Recently decoded tiles of one reader, so that a region that straddles tiles, or the next patch beside it,
// does not decode them twice.
#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

namespace microtome {

/// Least recently used first out, bounded in bytes; the newest tile always stays, however large.
class TileCache {
 public:
  using Pixels = std::vector<std::uint8_t>;

  explicit TileCache(std::size_t bytes) : limit_(bytes) {}

  /// The tile, now the most recently used, or nullptr. Valid until the next insert().
  const Pixels* find(std::uint64_t key) {
    const auto hit = places_.find(key);
    if (hit == places_.end()) return nullptr;
    order_.splice(order_.begin(), order_, hit->second);
    return &hit->second->second;
  }

  /// Stores a tile that is not in the cache.
  const Pixels& insert(std::uint64_t key, Pixels pixels) {
    bytes_ += pixels.size();
    order_.emplace_front(key, std::move(pixels));
    places_[key] = order_.begin();
    while (bytes_ > limit_ && order_.size() > 1) {
      bytes_ -= order_.back().second.size();
      places_.erase(order_.back().first);
      order_.pop_back();
    }
    return order_.front().second;
  }

 private:
  using Order = std::list<std::pair<std::uint64_t, Pixels>>;
  std::size_t limit_, bytes_ = 0;
  Order order_;
  std::unordered_map<std::uint64_t, Order::iterator> places_;
};

}  // namespace microtome
