// Tables of parents, and edits applied to them.
#include "flat.h"

#include <GraphMol/RingInfo.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>

#include <algorithm>

namespace halocline {
namespace {

using RDKit::Atom;
using RDKit::Bond;

constexpr unsigned kMostAtoms = 1000;
// Kinds of sites remembered per rule; there are a handful, isotopes apart.
constexpr size_t kMostOutcomes = 64;

// What ranking compares after the degree. RDKit compares charges as unsigned numbers.
bool invariant_of(const Atom &atom, uint64_t &invariant) {
  const int charge = atom.getFormalCharge();
  const unsigned hydrogens = atom.getTotalNumHs();
  if (atom.getIsotope() > 0xffff || charge < -100 || charge > 100 || hydrogens > 0xff) {
    return false;
  }
  invariant = static_cast<uint64_t>(atom.getAtomicNum()) << 32 | static_cast<uint64_t>(atom.getIsotope()) << 16 |
              static_cast<uint64_t>(hydrogens) << 8 | static_cast<uint8_t>(charge);
  return true;
}

constexpr unsigned kDegreeShift = 40;

void set_degree(FlatAtom &atom) {
  atom.invariant = (atom.invariant & ((uint64_t{1} << kDegreeShift) - 1)) | static_cast<uint64_t>(atom.degree)
                                                                                << kDegreeShift;
}

const std::string *plain_text(const char *symbol) {
  static const std::string symbols[] = {"C", "c", "N", "n", "O", "o", "S", "s", "F", "Cl", "Br", "I"};
  for (const auto &text : symbols) {
    if (text == symbol) {
      return &text;
    }
  }
  return nullptr;
}

}  // namespace

void FlatAtom::add_bond(int32_t other, uint8_t type, bool in_ring) {
  bond_type[degree] = type;
  bond_in_ring[degree] = in_ring;
  neighbour[degree] = other;
  ++degree;
}

void FlatAtom::drop_bond(int32_t other) {
  for (unsigned b = 0; b < degree; ++b) {
    if (neighbour[b] == other) {
      --degree;
      bond_type[b] = bond_type[degree];
      bond_in_ring[b] = bond_in_ring[degree];
      neighbour[b] = neighbour[degree];
      return;
    }
  }
}

bool FlatAtom::looks_like(const FlatAtom &other) const {
  return invariant == other.invariant && aromatic == other.aromatic && rings == other.rings &&
         written_hydrogens == other.written_hydrogens && *symbol == *other.symbol;
}

std::unique_ptr<FlatParent> FlatParent::of(const RDKit::ROMol &mol) {
  const unsigned n = mol.getNumAtoms();
  if (n > kMostAtoms) {
    return nullptr;
  }
  auto flat = std::make_unique<FlatParent>();
  flat->atoms_.resize(n);
  flat->brackets_.reserve(n);
  const auto *rings = mol.getRingInfo();
  for (const auto *atom : mol.atoms()) {
    const unsigned idx = atom->getIdx();
    FlatAtom &to = flat->atoms_[idx];
    // Room for what an edit may add.
    if (atom->getDegree() + 2 > FlatAtom::kMostBonds || !invariant_of(*atom, to.invariant)) {
      return nullptr;
    }
    to.aromatic = atom->getIsAromatic();
    to.written_hydrogens =
        static_cast<uint16_t>(atom->getNumExplicitHs() & 0xff) | static_cast<uint16_t>(atom->getNoImplicit() << 8);
    to.rings = static_cast<uint8_t>(std::min(rings->numAtomRings(idx), 2U));
    if (const char *symbol = plain_symbol(*atom)) {
      to.symbol = plain_text(symbol);
    } else {
      flat->brackets_.push_back(bracket_symbol(*atom));
      to.symbol = &flat->brackets_.back();
    }
  }
  for (const auto *bond : mol.bonds()) {
    if (bond->getIsAromatic() != (bond->getBondType() == Bond::AROMATIC)) {
      return nullptr;
    }
    const auto begin = static_cast<int32_t>(bond->getBeginAtomIdx());
    const auto end = static_cast<int32_t>(bond->getEndAtomIdx());
    const auto type = static_cast<uint8_t>(bond->getBondType());
    const bool in_ring = rings->numBondRings(bond->getIdx()) != 0;
    flat->atoms_[begin].add_bond(end, type, in_ring);
    flat->atoms_[end].add_bond(begin, type, in_ring);
  }
  std::for_each(flat->atoms_.begin(), flat->atoms_.end(), set_degree);
  return flat;
}

bool FlatLane::edit(size_t rule, const Edit &edit, const RDKit::ROMol &parent, const FlatParent &flat,
                    const Site &site, std::vector<int> *origins) {
  const auto n = static_cast<int>(flat.atoms().size());
  const bool in_place = origins == nullptr;
  atoms_ = flat.atoms();
  const auto mapped_at = [&](unsigned mapped) { return site.atoms[edit.mapped[mapped].reactant_atom]; };

  // What leaves is bound to mapped atoms and to other leaving atoms only.
  for (const auto *leaving : {&edit.removed, &edit.replaced}) {
    for (const unsigned templ : *leaving) {
      for (size_t m = 0; m < edit.mapped.size(); ++m) {
        atoms_[mapped_at(static_cast<unsigned>(m))].drop_bond(site.atoms[templ]);
      }
    }
  }
  // Places as `apply_edit` gives them: an added atom in the slot of the one it replaces, the others behind. Where another
  // step follows, all of them behind, by that place.
  added_at_.assign(edit.added.size(), -1);
  int end = n;
  for (size_t i = 0; i < edit.added.size(); ++i) {
    added_at_[i] = edit.added[i].slot >= 0 ? site.atoms[edit.added[i].slot] : end++;
  }
  const bool moves = !edit.removed.empty() || (!in_place && !edit.replaced.empty());
  if (moves) {
    place_.assign(static_cast<size_t>(end), 0);
    for (const unsigned templ : edit.removed) {
      place_[site.atoms[templ]] = -1;
    }
    if (!in_place) {
      for (const unsigned templ : edit.replaced) {
        place_[site.atoms[templ]] = -2;
      }
    }
    int next = 0;
    for (int &place : place_) {
      if (place == 0) {
        place = next++;
      }
    }
  }
  atoms_.resize(static_cast<size_t>(end));
  for (size_t i = 0; i < edit.added.size(); ++i) {
    atoms_[added_at_[i]] = FlatAtom();
  }
  for (const auto &bond : edit.bonds) {
    const int begin = bond.begin_added ? added_at_[bond.begin] : mapped_at(bond.begin);
    const int other = bond.end_added ? added_at_[bond.end] : mapped_at(bond.end);
    if (atoms_[begin].degree == FlatAtom::kMostBonds || atoms_[other].degree == FlatAtom::kMostBonds) {
      return false;
    }
    atoms_[begin].add_bond(other, static_cast<uint8_t>(bond.type), false);
    atoms_[other].add_bond(begin, static_cast<uint8_t>(bond.type), false);
  }

  const Outcome &outcome = outcome_of(rule, edit, parent, site);
  if (outcome.refused) {
    return false;
  }
  for (size_t i = 0; i < outcome.atoms.size(); ++i) {
    const auto &settled = outcome.atoms[i];
    FlatAtom &atom = i < edit.mapped.size() ? atoms_[mapped_at(static_cast<unsigned>(i))]
                                            : atoms_[added_at_[i - edit.mapped.size()]];
    atom.invariant = settled.invariant;
    atom.symbol = &settled.symbol;
    atom.aromatic = settled.aromatic;
    set_degree(atom);
  }

  if (!in_place) {
    origins->resize(static_cast<size_t>(end));
    for (int i = 0; i < end; ++i) {
      (*origins)[i] = i < n ? i : -1;
    }
    for (const int added : added_at_) {
      (*origins)[added] = -1;
    }
  }
  if (moves) {
    move_atoms(origins);
  }
  return true;
}

// Atoms to their places; those of place -1 go, those of -2 come last.
void FlatLane::move_atoms(std::vector<int> *origins) {
  int next = 0;
  for (const int place : place_) {
    next = std::max(next, place + 1);
  }
  for (int &place : place_) {
    if (place == -2) {
      place = next++;
    }
  }
  moved_.resize(static_cast<size_t>(next));
  std::vector<int> moved_origins(origins != nullptr ? static_cast<size_t>(next) : 0);
  for (size_t i = 0; i < place_.size(); ++i) {
    if (place_[i] < 0) {
      continue;
    }
    FlatAtom &to = moved_[place_[i]];
    to = atoms_[i];
    for (unsigned b = 0; b < to.degree; ++b) {
      to.neighbour[b] = place_[to.neighbour[b]];
    }
    if (origins != nullptr) {
      moved_origins[place_[i]] = (*origins)[i];
    }
  }
  atoms_.swap(moved_);
  if (origins != nullptr) {
    origins->swap(moved_origins);
  }
}

// What becomes of an edited atom is decided by the rule, by what the parent's atom carries and the rule leaves alone, by
// its bonds, and by whether it is in a ring.
const FlatLane::Outcome &FlatLane::outcome_of(size_t rule, const Edit &edit, const RDKit::ROMol &parent,
                                              const Site &site) {
  key_.clear();
  for (const auto &mapped : edit.mapped) {
    const int idx = site.atoms[mapped.reactant_atom];
    const Atom &before = *parent.getAtomWithIdx(idx);
    const FlatAtom &after = atoms_[idx];
    uint8_t bonds[4] = {};
    for (unsigned b = 0; b < after.degree; ++b) {
      const auto type = after.bond_type[b];
      bonds[type == Bond::AROMATIC ? 3 : type - 1] += 1;
    }
    for (const auto count : bonds) {
      key_ += static_cast<char>(count);
    }
    key_ += static_cast<char>(parent.getRingInfo()->numAtomRings(idx) != 0);
    key_ += static_cast<char>(before.getNumExplicitHs());
    key_ += static_cast<char>(before.getNoImplicit());
    key_ += static_cast<char>(before.getIsotope() & 0xff);
    key_ += static_cast<char>(before.getIsotope() >> 8);
  }
  auto &settled = settled_[rule];
  const auto known = settled.find(key_);
  if (known != settled.end()) {
    return *known->second;
  }
  if (settled.size() >= kMostOutcomes) {
    settled.clear();
  }
  auto outcome = std::make_unique<Outcome>();
  try {
    std::vector<Atom *> touched;
    const auto mol = apply_edit(edit, parent, site, nullptr, &touched);
    outcome->refused = mol == nullptr;
    for (const Atom *atom : touched) {
      if (outcome->refused) {
        break;
      }
      Settled done;
      outcome->refused = !invariant_of(*atom, done.invariant);
      const char *symbol = plain_symbol(*atom);
      done.symbol = symbol != nullptr ? symbol : bracket_symbol(*atom);
      done.aromatic = atom->getIsAromatic();
      outcome->atoms.push_back(std::move(done));
    }
  } catch (const std::exception &) {
    take_log();
    outcome->refused = true;
  }
  return *settled.emplace(key_, std::move(outcome)).first->second;
}

bool FlatLane::write(std::string &text, std::vector<unsigned> &order, bool *certain) {
  if (!ranker_.rank(atoms_, certain)) {
    return false;
  }
  writer_.write(atoms_, ranker_.ranks(), text, order);
  return true;
}

}  // namespace halocline
