// The kernel's face to Rust: what `kernel.h` promises, handed to `KernelState`.
#include "halocline-chem-sys/src/kernel.h"

#include "halocline-chem-sys/src/lib.rs.h"
#include "state.h"

#include <RDGeneral/versions.h>

namespace halocline {

Kernel::Kernel(std::unique_ptr<KernelState> state) : state_(std::move(state)) {}
Kernel::~Kernel() = default;

rust::String Kernel::explain_rule(size_t rule) const { return state_->why_not_local(rule); }
rust::String Kernel::product_only_maps(size_t rule) const { return state_->product_only_maps(rule); }
size_t Kernel::num_rules() const { return state_->num_rules(); }
void Kernel::set_first_row(uint64_t row) { state_->set_first_row(row); }
void Kernel::set_max_product_bytes(uint64_t bytes) { state_->set_max_product_bytes(bytes); }
rust::Slice<const uint64_t> Kernel::overrun() const { return {state_->overrun.data(), state_->overrun.size()}; }
void Kernel::run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth) {
  state_->run(text, ends, depth);
}

namespace {
template <typename T>
rust::Slice<const T> slice(const std::vector<T> &v) {
  return {v.data(), v.size()};
}
}  // namespace

rust::Slice<const uint8_t> Kernel::product_text() const { return slice(state_->columns.product_text); }
rust::Slice<const uint64_t> Kernel::product_ends() const { return slice(state_->columns.product_ends); }
rust::Slice<const uint32_t> Kernel::product_rows() const { return slice(state_->columns.product_rows); }
rust::Slice<const uint16_t> Kernel::product_paths() const { return slice(state_->columns.product_paths); }
rust::Slice<const int32_t> Kernel::product_sites() const { return slice(state_->columns.product_sites); }
rust::Slice<const int32_t> Kernel::site_atoms() const { return slice(state_->columns.site_atoms); }
rust::Slice<const uint64_t> Kernel::site_atom_ends() const { return slice(state_->columns.site_atom_ends); }
rust::Slice<const uint32_t> Kernel::failure_rows() const { return slice(state_->columns.failure_rows); }
rust::Slice<const int32_t> Kernel::failure_rules() const { return slice(state_->columns.failure_rules); }
rust::Slice<const int32_t> Kernel::failure_sites() const { return slice(state_->columns.failure_sites); }
rust::Slice<const uint8_t> Kernel::failure_stages() const { return slice(state_->columns.failure_stages); }
rust::Slice<const uint8_t> Kernel::failure_text() const { return slice(state_->columns.failure_text); }
rust::Slice<const uint64_t> Kernel::failure_ends() const { return slice(state_->columns.failure_ends); }
rust::Slice<const uint64_t> Kernel::rule_counts() const { return slice(state_->counts()); }
rust::Slice<const uint64_t> Kernel::stage_nanos() const { return {state_->profile.slots, Profile::kSlots}; }

std::unique_ptr<Kernel> new_kernel(rust::Slice<const ReactionText> rules, const KernelOptions &options) {
  return std::make_unique<Kernel>(std::make_unique<KernelState>(rules, options));
}

void watch_rows(int32_t fd, size_t bytes) { RowNote::map(fd, bytes); }

rust::String rdkit_version() { return RDKit::rdkitVersion; }
rust::String boost_version() { return RDKit::boostVersion; }

}  // namespace halocline
