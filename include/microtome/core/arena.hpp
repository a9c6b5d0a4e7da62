// Places tensors of known lifetimes into one block of memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

namespace microtome {

/// Offline memory planning: tensors whose lifetimes do not overlap may share addresses. Largest first, each
/// at the lowest offset that is free during its whole life (the greedy-by-size strategy of Pisarchyk & Lee
/// 2020, "Efficient Memory Management for Deep Neural Net Inference").
class ArenaPlan {
 public:
  /// Registers `bytes` that must hold still from step `first` to step `last`, both included. Returns its id.
  int add(std::size_t bytes, int first, int last) {
    constexpr std::size_t line = 64;
    items_.push_back({(bytes + line - 1) / line * line, first, last, 0});
    return static_cast<int>(items_.size()) - 1;
  }

  void solve() {
    std::vector<int> order(items_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return at(a).bytes > at(b).bytes; });
    std::vector<int> placed;  // by rising offset
    total_ = 0;
    for (const int id : order) {
      Item& item = items_[static_cast<std::size_t>(id)];
      std::size_t offset = 0;
      for (const int other : placed) {
        const Item& o = at(other);
        if (o.last < item.first || item.last < o.first) continue;
        if (offset + item.bytes <= o.offset) break;
        offset = std::max(offset, o.offset + o.bytes);
      }
      item.offset = offset;
      total_ = std::max(total_, offset + item.bytes);
      placed.insert(std::upper_bound(placed.begin(), placed.end(), offset,
                                     [&](std::size_t v, int p) { return v < at(p).offset; }),
                    id);
    }
  }

  std::size_t offset(int id) const { return at(id).offset; }  ///< bytes, after solve()
  std::size_t total() const { return total_; }                ///< bytes, after solve()

 private:
  struct Item {
    std::size_t bytes;
    int first, last;
    std::size_t offset;
  };
  const Item& at(int id) const { return items_[static_cast<std::size_t>(id)]; }

  std::vector<Item> items_;
  std::size_t total_ = 0;
};

}  // namespace microtome
