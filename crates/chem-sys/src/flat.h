// Products of parents without stereo, written from tables: no RDKit molecule is made for them.
//
// What decides the canonical SMILES of such a molecule is small: per atom what ranking compares (degree, element, isotope,
// hydrogens, charge), its text, and its bonds with type and ring membership. A parent's table is made once; a product's is
// a copy with the edited atoms changed. Ranking refines and breaks ties in the order in which `rankMolAtoms`
// does, and the traversal follows the rules of `canonicalizeFragment`, so that the text is RDKit's. Valences and hydrogens are never computed here: the first product of each kind of site goes
// through RDKit (`apply_edit`), and what it made of the edited atoms is remembered.
#pragma once
#include "lane.h"

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace halocline {

struct FlatAtom {
  static constexpr unsigned kMostBonds = 7;

  // Degree, element, isotope, hydrogens and charge, in the order in which RDKit compares them, most significant first.
  uint64_t invariant = 0;
  const std::string *symbol = nullptr;
  uint8_t degree = 0;
  uint8_t rings = 0;  // 2 for two or more
  bool aromatic = false;
  uint16_t written_hydrogens = 0;  // explicit ones, and whether implicit ones are forbidden: what an edit may keep
  std::array<uint8_t, kMostBonds> bond_type{};  // RDKit::Bond::BondType
  std::array<bool, kMostBonds> bond_in_ring{};
  std::array<int32_t, kMostBonds> neighbour{};

  void add_bond(int32_t other, uint8_t type, bool in_ring);
  void drop_bond(int32_t other);
  // The same in all that is not bonds.
  bool looks_like(const FlatAtom &other) const;
};

// A parent as a table.
class FlatParent {
 public:
  // Null where the table cannot hold the molecule. `mol` is one for which `lane_of` said `kFlat`.
  static std::unique_ptr<FlatParent> of(const RDKit::ROMol &mol);
  const std::vector<FlatAtom> &atoms() const { return atoms_; }

 private:
  std::vector<FlatAtom> atoms_;
  std::vector<std::string> brackets_;
};

// `rankMolAtoms` with ties broken, for tables. Owns its scratch.
class FlatRanker {
 public:
  // False where RDKit would go on with its comparison for highly symmetric ring systems, which is not repeated here.
  // `certain`, if wanted: an isomorphic molecule gets the same text, whatever the order of its atoms.
  bool rank(const std::vector<FlatAtom> &atoms, bool *certain);
  // Leaves tied what refinement does not tell apart.
  void refine_all(const std::vector<FlatAtom> &atoms);
  // Rank of every atom, or its class.
  const std::vector<int> &ranks() const { return class_; }
  // Atoms class by class.
  const std::vector<int> &order() const { return order_; }

 private:
  template <bool kInvariants>
  struct Compare;
  // An atom's bonds as ranking compares them: type and class of the neighbour, highest first.
  struct Bonds {
    std::array<uint32_t, FlatAtom::kMostBonds> keys;
    uint8_t degree;
    bool sorted;
  };

  template <bool kInvariants>
  void refine(const Compare<kInvariants> &compare);
  template <bool kInvariants>
  void break_ties(const Compare<kInvariants> &compare);
  const Bonds &bonds_of(int atom);
  void set_class(int atom, int now);
  bool ties_are_symmetries() const;
  void activate_all();
  void activate_touched();
  void touch(int atom);
  bool tied() const;

  const FlatAtom *atoms_ = nullptr;
  size_t size_ = 0;
  std::vector<int> class_;    // of every atom: the place of the first of its class in `order_`
  std::vector<int> order_;    // atoms, class by class
  std::vector<int> count_;    // of the first atom of a class its size, of the others 0
  std::vector<int> next_;     // stack of classes to be sorted, by their first atoms; -2: not in it
  int active_ = -1;           // its top
  std::vector<int> changed_;  // a neighbour changed its class since this atom was last compared
  std::vector<uint64_t> touched_;  // classes with such atoms, a bit each
  std::vector<Bonds> bonds_;
  std::vector<int> scratch_;
};

// The text of a table in the order of its ranks. Owns its scratch.
class FlatWriter {
 public:
  // `order` receives the atoms in the order of the text. Throws where RDKit refuses (too many open rings).
  void write(const std::vector<FlatAtom> &atoms, const std::vector<int> &ranks, std::string &text,
             std::vector<unsigned> &order);

 private:
  struct Closure {
    int first;
    int second;
    uint8_t type;
    unsigned digit = 0;  // 0 until it is opened
    bool opened_here = false;
  };
  struct Step {
    int64_t key;
    int atom;
    uint8_t type;
  };
  enum Colour : uint8_t { kWhite, kGrey, kBlack };

  void find_cycles(int atom, int from);
  void build(int atom, int from);
  static void insert(std::array<Step, FlatAtom::kMostBonds> &steps, unsigned &num, const Step &step);
  bool closes(int atom, int other) const;
  void put_bond(int from, int to, uint8_t type);
  void put_digit(unsigned digit);

  const std::vector<FlatAtom> *atoms_ = nullptr;
  const int *ranks_ = nullptr;
  std::string *text_ = nullptr;
  std::vector<unsigned> *order_ = nullptr;
  std::vector<uint8_t> colours_;
  std::vector<Closure> closures_;
  std::vector<std::array<unsigned, FlatAtom::kMostBonds>> closures_at_;
  std::vector<uint8_t> num_closures_at_;
  std::vector<bool> digit_taken_;
};

// The symmetries of a parent that can be had cheaply: exchange of pairs of atoms that refinement leaves tied, checked
// bond by bond, and of ends alike on one atom. Sites that one of them turns into another have the same product.
class FlatSymmetry {
 public:
  FlatSymmetry(const std::vector<FlatAtom> &atoms, FlatRanker &ranker);

  // Per site the first one of the list that is alike.
  std::vector<size_t> first_alike(const std::vector<Site> &sites) const;

 private:
  bool is_symmetry(const std::vector<FlatAtom> &atoms, const std::vector<int> &members) const;

  struct Place {
    int partner = -1;  // the other atom of the pair
    int pairs = -1;    // which pairs are exchanged together
    int anchor = -1;   // of an end that has others alike
  };
  std::vector<Place> places_;
};

// Applies edits to tables and writes the products. One per kernel.
class FlatLane {
 public:
  explicit FlatLane(size_t num_rules) : settled_(num_rules) {}

  // The product's table, ready for `write`; false sends the site to `apply_edit`. `origins`, if wanted, receives the parent
  // atom of every product atom, -1 for added ones; the atoms then stand in the parent's order, added ones behind.
  bool edit(size_t rule, const Edit &edit, const RDKit::ROMol &parent, const FlatParent &flat, const Site &site,
            std::vector<int> *origins);
  // `certain`, if wanted, as for `FlatRanker::rank`.
  bool write(std::string &text, std::vector<unsigned> &order, bool *certain);
  FlatSymmetry symmetry_of(const FlatParent &flat) { return {flat.atoms(), ranker_}; }

 private:
  // What RDKit made of an edited atom.
  struct Settled {
    uint64_t invariant;  // without the degree
    std::string symbol;
    bool aromatic;
  };
  struct Outcome {
    bool refused = false;
    std::vector<Settled> atoms;  // mapped, then added
  };
  void move_atoms(std::vector<int> *origins);
  const Outcome &outcome_of(size_t rule, const Edit &edit, const RDKit::ROMol &parent, const Site &site);

  std::vector<std::unordered_map<std::string, std::unique_ptr<Outcome>>> settled_;
  std::vector<FlatAtom> atoms_;
  std::vector<FlatAtom> moved_;
  std::vector<int> place_;
  std::vector<int> added_at_;
  std::string key_;
  FlatRanker ranker_;
  FlatWriter writer_;
};

}  // namespace halocline
