// What the kernel's translation units share: compiled rules, one parent's state, the columns of a batch.
#pragma once
#include <GraphMol/ChemReactions/Reaction.h>
#include <GraphMol/GraphMol.h>
#include <GraphMol/Substruct/SubstructMatch.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace halocline {

enum class Stage : uint8_t { kParse, kMatch, kReact, kSanitise, kWrite, kLimit };

// An element that some atom of a match must be; `aromatic`: 1 yes, 0 no, -1 either.
struct Needed {
  int atomic_num;
  int aromatic;
};

std::vector<Needed> needs_of_atom(const RDKit::Atom &query_atom);

// A reaction compiled once per kernel. The reactant template decides the sites, the query (if any) filters them.
struct Rule {
  std::unique_ptr<RDKit::ChemicalReaction> reaction;
  RDKit::ROMOL_SPTR reactant;
  // Set only where the query's text differs from the reactant template's.
  std::unique_ptr<RDKit::ROMol> query;
  // (query atom, reactant-template atom) with the same map number.
  std::vector<std::pair<unsigned, unsigned>> shared_maps;
  int64_t max_sites = -1;
  bool exclude_sugar_like = false;
  // Equal for rules whose sites are the same on every parent.
  std::string looks_for;
  // What every molecule with a match contains.
  std::vector<Needed> needs;
  // Map numbers that only product atoms have, for people; mostly empty.
  std::string product_only_maps;
};

Rule compile_rule(const std::string &smirks, const std::string &query, int64_t max_sites, bool exclude_sugar_like);

// Which element symbols occur in a SMILES, found by reading its letters: never misses one that is there.
class TextElements {
 public:
  explicit TextElements(const std::string &smiles);
  // Can a molecule with this text satisfy all of `needs`? With `as_written` the letter case is taken for aromaticity,
  // which holds only for text that this RDKit wrote.
  bool may_have(const std::vector<Needed> &needs, bool as_written) const;

 private:
  bool upper_[26] = {};
  bool lower_[26] = {};
  bool numbered_ = false;  // `[#7]` and `[15#7]` name an element without its letters
};

// A match of the reactant template: parent atom index per template atom, and its place among the parent's matches.
struct Site {
  std::vector<int> atoms;
  int32_t index = 0;
};

struct SiteCounts {
  uint64_t matched = 0;
  uint64_t masked = 0;
  uint64_t capped = 0;
};

// What is derived from one molecule at most once, whatever the number of rules.
class Parent {
 public:
  Parent(RDKit::ROMOL_SPTR mol) : mol_(std::move(mol)) {}
  const RDKit::ROMOL_SPTR &mol() const { return mol_; }
  // true per atom that is in, or bonded to, a sugar ring.
  const std::vector<bool> &sugar_atoms();
  const std::vector<unsigned> &canonical_ranks();

 private:
  RDKit::ROMOL_SPTR mol_;
  std::optional<std::vector<bool>> sugar_atoms_;
  std::optional<std::vector<unsigned>> ranks_;
};

// The sites of `rule` on `parent` after query filter, sugar mask and cap, in match order.
std::vector<Site> find_sites(const Rule &rule, Parent &parent, SiteCounts &counts);

// Text of the molecules RDKit complained about on this thread since the last call.
std::string take_log();

// Nanoseconds per stage, and three counters, in the order of `stage_nanos`.
struct Profile {
  enum Slot { kParse, kMatch, kEdit, kFull, kWrite, kLightParsed, kEdited, kShared, kSlots };
  uint64_t slots[kSlots] = {};
};

class StageClock {
 public:
  StageClock(Profile &profile, Profile::Slot slot)
      : profile_(profile), slot_(slot), start_(std::chrono::steady_clock::now()) {}
  ~StageClock() {
    profile_.slots[slot_] += static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count());
  }

 private:
  Profile &profile_;
  Profile::Slot slot_;
  std::chrono::steady_clock::time_point start_;
};

// Columns of a batch; cleared, not freed, between batches.
struct Columns {
  std::vector<uint8_t> product_text;
  std::vector<uint64_t> product_ends;
  std::vector<uint32_t> product_rows;
  std::vector<uint16_t> product_paths;
  std::vector<int32_t> product_sites;
  std::vector<int32_t> site_atoms;
  std::vector<uint64_t> site_atom_ends;

  std::vector<uint32_t> failure_rows;
  std::vector<int32_t> failure_rules;
  std::vector<int32_t> failure_sites;
  std::vector<uint8_t> failure_stages;
  std::vector<uint8_t> failure_text;
  std::vector<uint64_t> failure_ends;

  void clear();
};

// One product of one parent before it is put into the columns.
struct Product {
  std::string smiles;
  std::vector<uint16_t> path;
  int32_t site = 0;
  std::vector<int32_t> atoms;
};

}  // namespace halocline
