// Which row each kernel is at, for the process that watches this one.
#pragma once
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace halocline {

// Where a kernel notes the row it is at, for the process that watches this one: a slot of the file given to `watch_rows`.
// Two stores per row; the file outlives this process however it ends.
class RowNote {
 public:
  struct Slot {
    std::atomic<uint64_t> row_plus_one;
    std::atomic<uint64_t> started_ms;
  };
  static_assert(sizeof(Slot) == 16);

  static void map(int fd, size_t bytes) {
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
      throw std::runtime_error(std::string("cannot map the file of rows: ") + std::strerror(errno));
    }
    const std::lock_guard<std::mutex> lock(mutex());
    for (size_t i = bytes / sizeof(Slot); i > 0; --i) {
      free_slots().push_back(static_cast<Slot *>(at) + (i - 1));
    }
  }

  RowNote() = default;
  RowNote(const RowNote &) = delete;
  RowNote &operator=(const RowNote &) = delete;
  ~RowNote() {
    if (slot_ != nullptr) {
      const std::lock_guard<std::mutex> lock(mutex());
      free_slots().push_back(slot_);
    }
  }

  // Before the first row of a batch: kernels that never run need no slot.
  void ready() {
    if (slot_ == nullptr) {
      const std::lock_guard<std::mutex> lock(mutex());
      if (!free_slots().empty()) {
        slot_ = free_slots().back();
        free_slots().pop_back();
      }
    }
  }
  void at(uint64_t row, std::chrono::steady_clock::time_point start) {
    if (slot_ != nullptr) {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(start.time_since_epoch()).count();
      slot_->started_ms.store(static_cast<uint64_t>(ms), std::memory_order_relaxed);
      slot_->row_plus_one.store(row + 1, std::memory_order_release);
    }
  }
  void done() {
    if (slot_ != nullptr) {
      slot_->row_plus_one.store(0, std::memory_order_release);
    }
  }

 private:
  static std::mutex &mutex() {
    static std::mutex mutex;
    return mutex;
  }
  static std::vector<Slot *> &free_slots() {
    static std::vector<Slot *> slots;
    return slots;
  }
  Slot *slot_ = nullptr;
};

}  // namespace halocline
