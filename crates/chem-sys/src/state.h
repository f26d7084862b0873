// One kernel: its compiled rules, the row at hand, the columns it fills.
#pragma once
#include "halocline-chem-sys/src/kernel.h"

#include "flat.h"
#include "row_note.h"

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>

namespace halocline {

// Ends the work on one parent: thrown for its budget of time or products, caught in `run_row`.
struct BudgetSpent : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The products of one parent take more memory than the caller has for them: no property of the molecule, and so no
// failure of its row but the end of the batch. Deliberately no `std::exception`, which would cost a site or the row.
struct Outgrown {};

// An intermediate of a multi-step expansion: its text, how it was made, and which parent atom each of its atoms was.
struct Intermediate {
  std::string smiles;
  std::vector<uint16_t> path;
  std::vector<int32_t> sites;
  std::vector<int32_t> site_atoms;
  std::vector<int32_t> parent_atoms;  // -1: added by a reaction
};

// A product written out. `origins`: the reactant atom of every atom in the order of the text, -1 for added ones; filled
// only when another step follows.
struct Written {
  std::string smiles;
  std::vector<int> origins;
};

// A SMILES and what is read from its letters, once.
struct Text {
  Text(const std::string &text, bool by_this_rdkit)
      : smiles(text), trusted(by_this_rdkit), plain(trusted && is_plain_text(text)), elements(text) {}

  const std::string &smiles;
  bool trusted;  // this RDKit wrote it
  bool plain;    // and the light parse may read it
  TextElements elements;
};

std::string reason_of(const std::exception &e);

class KernelState {
 public:
  KernelState(rust::Slice<const ReactionText> texts, const KernelOptions &options);

  void run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth);

  size_t num_rules() const { return rules_.size(); }
  void set_max_product_bytes(uint64_t bytes) { max_product_bytes_ = bytes; }
  void set_first_row(uint64_t row) { first_row_ = row; }
  std::string why_not_local(size_t rule) const;
  const std::string &product_only_maps(size_t rule) const { return rules_.at(rule).product_only_maps; }
  const std::vector<uint64_t> &counts() const { return counts_; }

  Columns columns;
  Profile profile;
  std::vector<uint64_t> overrun;

 private:
  enum Count { kMatched, kMasked, kCapped, kProducts, kFailed, kCounts };
  using Sink = std::function<void(uint16_t, const Site &, Written &&)>;
  struct Mark {
    size_t failures;
    size_t failure_text;
    std::vector<uint64_t> counts;
  };
  // The sites of all rules that look for the same thing, on the parent at hand.
  struct Found {
    bool looked = false;
    std::vector<Site> sites;
    SiteCounts counts;
    // Per site the first one that a symmetry of the parent turns into it; empty: not looked for.
    std::vector<size_t> first_alike;

    // Some later site is alike to this one.
    bool has_alike(size_t site) const {
      return std::find(first_alike.begin() + static_cast<long>(site) + 1, first_alike.end(), site) != first_alike.end();
    }
  };

  // state.cc: rows.
  uint64_t &count(size_t rule, Count which) { return counts_[rule * kCounts + which]; }
  void fail(uint32_t row, int32_t rule, int32_t site, Stage stage, const std::string &reason);
  Mark mark() const;
  void rewind(const Mark &mark);
  void run_row(uint32_t row, const std::string &smiles, uint32_t depth);
  bool skips_parse(const Text &text) const;
  RDKit::ROMOL_SPTR parse(const Text &text);
  void check_budget(uint32_t row, uint64_t products, double done);

  // expand.cc: steps.
  void expand(uint32_t row, const Text &text, const RDKit::ROMOL_SPTR &mol, uint32_t depth);
  RDKit::ROMOL_SPTR parse_intermediate(uint32_t row, const Intermediate &from, const Text &text);
  void react(uint32_t row, Parent parent, const Text &text, bool last, const Sink &sink);
  Found &look(size_t rule, Parent &parent);
  bool keep(const Intermediate &from, uint16_t rule, const Site &site, std::string &&smiles);
  void emit(uint32_t row);

  // routes.cc: one product each.
  bool flat_route(uint16_t r, Parent &parent, const FlatParent &flat, const Site &site, bool last,
                  std::string *certain_text, const Sink &sink);
  bool edit_route(uint16_t r, Parent &parent, const Site &site, EditLane lane, bool last, const Sink &sink);
  void full_route(uint32_t row, uint16_t r, Parent &parent, const Site &site, bool last, const Sink &sink);

  std::vector<Rule> rules_;
  std::vector<CompiledEdit> edits_;   // one per rule
  std::vector<size_t> first_looking_;  // per rule, the first one that looks for the same sites
  std::vector<size_t> num_looking_;    // and of that one, how many do
  std::vector<uint64_t> counts_;
  uint64_t max_products_;
  uint64_t max_smiles_bytes_;
  uint64_t weighed_smiles_bytes_;
  uint64_t row_timeout_ms_;
  uint64_t max_product_bytes_ = UINT64_MAX;
  uint64_t product_bytes_ = 0;   // of the row at hand
  uint64_t molecule_bytes_ = 0;  // and of RDKit's molecule, where that is much
  bool local_edits_;
  bool trusted_input_;
  std::chrono::steady_clock::time_point row_start_;
  uint64_t first_row_ = 0;
  RowNote note_;
  std::unique_ptr<FlatLane> flat_;
  // Scratch of the row at hand.
  std::vector<int> origins_;
  std::vector<unsigned> order_;
  std::vector<Found> looked_;  // by `first_looking_`
  std::vector<Product> found_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::vector<uint16_t>, int32_t> ordinals_;
};

}  // namespace halocline
