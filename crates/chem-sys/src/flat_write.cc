// Text of a table in the order of its ranks: what `canonicalizeFragment` and the SMILES writer of RDKit 2022.09 give for
// molecules of one fragment without stereo.
#include "flat.h"

#include <GraphMol/Canon.h>

#include <algorithm>
#include <stdexcept>

namespace halocline {
namespace {

using RDKit::Bond;

constexpr int64_t kAtoms = RDKit::Canon::MAX_NATOMS;
constexpr int64_t kTypes = RDKit::Canon::MAX_BONDTYPE;

}  // namespace

// At each atom: first back to atoms on the way (closing rings), then out of rings, then along them; higher bond orders
// first, and lower ranks.
void FlatWriter::find_cycles(int atom, int from) {
  colours_[atom] = kGrey;
  const FlatAtom &at = (*atoms_)[atom];
  std::array<Step, FlatAtom::kMostBonds> steps;
  unsigned num = 0;
  for (unsigned b = 0; b < at.degree; ++b) {
    const int other = at.neighbour[b];
    if (other == from) {
      continue;
    }
    int64_t key = ranks_[other];
    const auto order = kTypes - at.bond_type[b];
    if (colours_[other] == kGrey) {
      key += order * kAtoms - (kTypes + 1) * kAtoms * kAtoms;
    } else if (at.bond_in_ring[b]) {
      key += order * kAtoms * kAtoms;
    }
    insert(steps, num, {key, other, at.bond_type[b]});
  }
  for (unsigned s = 0; s < num; ++s) {
    const int other = steps[s].atom;
    if (colours_[other] == kWhite) {
      find_cycles(other, atom);
    } else if (colours_[other] == kGrey) {
      const auto closure = static_cast<unsigned>(closures_.size());
      closures_.push_back({other, atom, steps[s].type, 0});
      closures_at_[other][num_closures_at_[other]++] = closure;
      closures_at_[atom][num_closures_at_[atom]++] = closure;
    }
  }
  colours_[atom] = kBlack;
}

void FlatWriter::build(int atom, int from) {
  colours_[atom] = kGrey;
  const FlatAtom &at = (*atoms_)[atom];
  *text_ += *at.symbol;
  order_->push_back(static_cast<unsigned>(atom));

  // The digit of a ring that closes here is free again from the next atom on.
  for (unsigned c = 0; c < num_closures_at_[atom]; ++c) {
    auto &closure = closures_[closures_at_[atom][c]];
    if (closure.digit != 0) {
      put_bond(atom, closure.first == atom ? closure.second : closure.first, closure.type);
    } else {
      const auto free = std::find(digit_taken_.begin() + 1, digit_taken_.end(), false);
      closure.digit = static_cast<unsigned>(free - digit_taken_.begin());
      if (closure.digit > RDKit::Canon::MAX_CYCLES) {
        throw std::length_error("too many rings open at once");
      }
      digit_taken_[closure.digit] = true;
      closure.opened_here = true;
      put_digit(closure.digit);
      continue;
    }
    put_digit(closure.digit);
  }
  for (unsigned c = 0; c < num_closures_at_[atom]; ++c) {
    auto &closure = closures_[closures_at_[atom][c]];
    if (closure.opened_here) {
      closure.opened_here = false;
    } else {
      digit_taken_[closure.digit] = false;
    }
  }

  std::array<Step, FlatAtom::kMostBonds> steps;
  unsigned num = 0;
  for (unsigned b = 0; b < at.degree; ++b) {
    const int other = at.neighbour[b];
    if (other == from || colours_[other] != kWhite || closes(atom, other)) {
      continue;
    }
    int64_t key = ranks_[other];
    if (at.bond_in_ring[b]) {
      key += (kTypes - at.bond_type[b]) * kAtoms * kAtoms;
    }
    insert(steps, num, {key, other, at.bond_type[b]});
  }
  for (unsigned s = 0; s < num; ++s) {
    const int other = steps[s].atom;
    if (colours_[other] != kWhite) {
      continue;
    }
    const bool branch = s + 1 < num;
    if (branch) {
      *text_ += '(';
    }
    put_bond(atom, other, steps[s].type);
    build(other, atom);
    if (branch) {
      *text_ += ')';
    }
  }
  colours_[atom] = kBlack;
}

void FlatWriter::insert(std::array<Step, FlatAtom::kMostBonds> &steps, unsigned &num, const Step &step) {
  unsigned at = num++;
  for (; at > 0 && steps[at - 1].key > step.key; --at) {
    steps[at] = steps[at - 1];
  }
  steps[at] = step;
}

bool FlatWriter::closes(int atom, int other) const {
  for (unsigned c = 0; c < num_closures_at_[atom]; ++c) {
    const auto &closure = closures_[closures_at_[atom][c]];
    if (closure.first == other || closure.second == other) {
      return true;
    }
  }
  return false;
}

void FlatWriter::put_bond(int from, int to, uint8_t type) {
  const bool both_aromatic = (*atoms_)[from].aromatic && (*atoms_)[to].aromatic;
  switch (type) {
    case Bond::SINGLE:
      if (both_aromatic) {
        *text_ += '-';
      }
      break;
    case Bond::DOUBLE:
      *text_ += '=';
      break;
    case Bond::TRIPLE:
      *text_ += '#';
      break;
    default:
      if (!both_aromatic) {
        *text_ += ':';
      }
  }
}

void FlatWriter::put_digit(unsigned digit) {
  if (digit < 10) {
    *text_ += static_cast<char>('0' + digit);
  } else if (digit < 100) {
    *text_ += '%';
    *text_ += static_cast<char>('0' + digit / 10);
    *text_ += static_cast<char>('0' + digit % 10);
  } else {
    *text_ += "%(" + std::to_string(digit) + ')';
  }
}

void FlatWriter::write(const std::vector<FlatAtom> &atoms, const std::vector<int> &ranks, std::string &text,
                       std::vector<unsigned> &order) {
  atoms_ = &atoms;
  ranks_ = ranks.data();
  text_ = &text;
  order_ = &order;
  text.clear();
  order.clear();
  closures_.clear();
  closures_at_.resize(atoms.size());
  num_closures_at_.assign(atoms.size(), 0);
  digit_taken_.assign(RDKit::Canon::MAX_CYCLES + 2, false);
  const auto first = static_cast<int>(std::min_element(ranks.begin(), ranks.end()) - ranks.begin());
  colours_.assign(atoms.size(), kWhite);
  find_cycles(first, -1);
  colours_.assign(atoms.size(), kWhite);
  build(first, -1);
}

}  // namespace halocline
