// The batch kernel's face to Rust. Results are columns, owned here and reused from batch to batch.
#pragma once
#include "halocline-chem-sys/src/trycatch.h"
#include "rust/cxx.h"

#include <cstdint>
#include <memory>

namespace halocline {
struct ReactionText;
struct KernelOptions;
class KernelState;

class Kernel {
 public:
  explicit Kernel(std::unique_ptr<KernelState> state);
  ~Kernel();

  rust::String explain_rule(size_t rule) const;
  rust::String product_only_maps(size_t rule) const;
  size_t num_rules() const;
  void set_max_product_bytes(uint64_t bytes);
  rust::Slice<const uint64_t> overrun() const;
  void set_first_row(uint64_t row);
  void run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth);

  rust::Slice<const uint8_t> product_text() const;
  rust::Slice<const uint64_t> product_ends() const;
  rust::Slice<const uint32_t> product_rows() const;
  rust::Slice<const uint16_t> product_paths() const;
  rust::Slice<const int32_t> product_sites() const;
  rust::Slice<const int32_t> site_atoms() const;
  rust::Slice<const uint64_t> site_atom_ends() const;

  rust::Slice<const uint32_t> failure_rows() const;
  rust::Slice<const int32_t> failure_rules() const;
  rust::Slice<const int32_t> failure_sites() const;
  rust::Slice<const uint8_t> failure_stages() const;
  rust::Slice<const uint8_t> failure_text() const;
  rust::Slice<const uint64_t> failure_ends() const;

  rust::Slice<const uint64_t> rule_counts() const;
  rust::Slice<const uint64_t> stage_nanos() const;

 private:
  std::unique_ptr<KernelState> state_;
};

void watch_rows(int32_t fd, size_t bytes);
std::unique_ptr<Kernel> new_kernel(rust::Slice<const ReactionText> rules, const KernelOptions &options);
rust::String rdkit_version();
rust::String boost_version();
void silence_rdkit();
}  // namespace halocline
