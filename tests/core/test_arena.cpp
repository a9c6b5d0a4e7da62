// Planned tensors must never share memory while both are alive, and the plan must not waste it.
#include <doctest.h>
#include <microtome/core/arena.hpp>
#include <microtome/core/tensor.hpp>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

TEST_CASE("tensors that live at the same time do not overlap") {
  std::mt19937 rng(5);
  for (int round = 0; round < 200; ++round) {
    struct Item {
      std::size_t bytes;
      int first, last, id;
    };
    std::vector<Item> items;
    microtome::ArenaPlan plan;
    const int n = 1 + static_cast<int>(rng() % 40);
    for (int i = 0; i < n; ++i) {
      const int first = static_cast<int>(rng() % 30), last = first + static_cast<int>(rng() % 8);
      const std::size_t bytes = rng() % 5000;
      items.push_back({bytes, first, last, plan.add(bytes, first, last)});
    }
    plan.solve();
    std::size_t end = 0;
    for (const Item& a : items) {
      CHECK(plan.offset(a.id) % 64 == 0);
      end = std::max(end, plan.offset(a.id) + a.bytes);
      for (const Item& b : items) {
        if (a.id >= b.id || a.last < b.first || b.last < a.first || a.bytes == 0 || b.bytes == 0) continue;
        const bool apart = plan.offset(a.id) + a.bytes <= plan.offset(b.id) ||
                           plan.offset(b.id) + b.bytes <= plan.offset(a.id);
        CHECK(apart);
      }
    }
    CHECK(plan.total() >= end);
  }
}

TEST_CASE("a chain of equal tensors needs two places") {
  microtome::ArenaPlan plan;
  for (int i = 0; i < 10; ++i) plan.add(6400, i, i + 1);
  plan.solve();
  CHECK(plan.total() == 2 * 6400);
}

TEST_CASE("buffers are whole pages, and parts outlive the whole") {
  using microtome::AlignedBuffer, microtome::Pages;
  constexpr std::size_t kSmall = AlignedBuffer::kAlignment, kHuge = AlignedBuffer::kHugePage;
  CHECK(AlignedBuffer::allocated(0, Pages::huge) == 0);
  CHECK(AlignedBuffer::allocated(1) == kSmall);
  CHECK(AlignedBuffer::allocated(kSmall + 1, Pages::huge) == 2 * kSmall);  // too small for huge ones
  CHECK(AlignedBuffer::allocated(kHuge - 1, Pages::huge) == kHuge);
  CHECK(AlignedBuffer::allocated(kHuge + 1, Pages::huge) == 2 * kHuge);
  AlignedBuffer whole(3 * kSmall);
  const AlignedBuffer part = whole.part(kSmall, 2 * kSmall);
  CHECK(part.as<char>() == whole.as<char>(kSmall));
  CHECK(part.size() == 2 * kSmall);
  whole = AlignedBuffer();
  std::memset(part.data(), 1, part.size());
  CHECK(part.as<char>()[part.size() - 1] == 1);
}
