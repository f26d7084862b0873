// Ranks of a table: what `rankMolAtoms` of RDKit 2022.09 gives for molecules without stereo.
//
// Ranks of tied atoms depend on the order in which classes are taken up and sorted, so that the order here is RDKit's
// throughout; its sort is called, not repeated.
#include "flat.h"

#include <RDGeneral/hanoiSort.h>

#include <algorithm>
#include <bit>
#include <numeric>

namespace halocline {

// What `AtomCompareFunctor` answers about two atoms of a class where no atom has a map number, a chiral tag or a chiral
// neighbour and no bond has stereo: the invariants, then the bonds, highest first, by type and class of the neighbour.
// Without the invariants it is `SpecialChiralityAtomCompareFunctor`, whose other comparisons are about chiral neighbours.
template <bool kInvariants>
struct FlatRanker::Compare {
  FlatRanker &ranker;

  int operator()(int i, int j) const {
    const uint64_t a = ranker.atoms_[i].invariant;
    const uint64_t b = ranker.atoms_[j].invariant;
    if (kInvariants && a != b) {
      return a < b ? -1 : 1;
    }
    const Bonds &x = ranker.bonds_of(i);
    const Bonds &y = ranker.bonds_of(j);
    for (unsigned k = 0; k < x.degree && k < y.degree; ++k) {
      if (x.keys[k] != y.keys[k]) {
        return x.keys[k] < y.keys[k] ? -1 : 1;
      }
    }
    return 0;
  }
};

// Sorted again only after a neighbour's class has changed.
const FlatRanker::Bonds &FlatRanker::bonds_of(int atom) {
  Bonds &bonds = bonds_[atom];
  if (!bonds.sorted) {
    const FlatAtom &of = atoms_[atom];
    bonds.sorted = true;
    bonds.degree = of.degree;
    for (unsigned k = 0; k < of.degree; ++k) {
      const auto key = static_cast<uint32_t>(of.bond_type[k]) << 24 | static_cast<uint32_t>(class_[of.neighbour[k]]);
      unsigned at = k;
      for (; at > 0 && bonds.keys[at - 1] < key; --at) {
        bonds.keys[at] = bonds.keys[at - 1];
      }
      bonds.keys[at] = key;
    }
  }
  return bonds;
}

void FlatRanker::set_class(int atom, int now) {
  class_[atom] = now;
  for (unsigned b = 0; b < atoms_[atom].degree; ++b) {
    const int neighbour = atoms_[atom].neighbour[b];
    changed_[neighbour] = 1;
    bonds_[neighbour].sorted = false;
  }
}

void FlatRanker::activate_all() {
  std::fill(next_.begin(), next_.end(), -2);
  std::fill(changed_.begin(), changed_.end(), 1);
  active_ = -1;
  for (size_t i = 0; i < size_;) {
    const int first = order_[i];
    if (count_[first] > 1) {
      next_[first] = active_;
      active_ = first;
      i += static_cast<size_t>(count_[first]);
    } else {
      ++i;
    }
  }
}

void FlatRanker::touch(int atom) {
  const auto at = static_cast<unsigned>(class_[atom]);
  touched_[at / 64] |= uint64_t{1} << (at % 64);
}

// In the order of the classes, each on top of the last.
void FlatRanker::activate_touched() {
  for (size_t word = 0; word < touched_.size(); ++word) {
    for (; touched_[word] != 0; touched_[word] &= touched_[word] - 1) {
      const int first = order_[word * 64 + static_cast<size_t>(std::countr_zero(touched_[word]))];
      if (count_[first] > 1 && next_[first] == -2) {
        next_[first] = active_;
        active_ = first;
      }
    }
  }
}

bool FlatRanker::tied() const { return std::find(count_.begin(), count_.end(), 0) != count_.end(); }

// Sorts active classes until none is left; those next to a class that came apart become active.
template <bool kInvariants>
void FlatRanker::refine(const Compare<kInvariants> &compare) {
  while (active_ != -1) {
    const int first = active_;
    active_ = next_[first];
    next_[first] = -2;
    const int length = count_[first];
    const int offset = class_[first];
    int *start = order_.data() + offset;
    if (RDKit::hanoi(start, length, scratch_.data(), count_.data(), changed_.data(), compare)) {
      std::copy_n(scratch_.begin(), length, start);
    }
    for (int k = 0; k < length; ++k) {
      changed_[start[k]] = 0;
    }
    const int kept = count_[start[0]];
    int now = offset;
    for (int k = kept; k < length; ++k) {
      const int atom = start[k];
      if (count_[atom] != 0) {
        now = offset + k;
      }
      set_class(atom, now);
    }
    for (int k = kept; k < length; ++k) {
      const FlatAtom &atom = atoms_[start[k]];
      for (unsigned b = 0; b < atom.degree; ++b) {
        touch(atom.neighbour[b]);
      }
    }
    activate_touched();
  }
}

// Takes the last atom out of the first class that has several, refines, and so on.
template <bool kInvariants>
void FlatRanker::break_ties(const Compare<kInvariants> &compare) {
  for (size_t i = 0; i < size_; ++i) {
    const int first = order_[i];
    const int before = class_[first];
    while (count_[first] > 1) {
      const int place = class_[first] + count_[first] - 1;
      const int last = order_[place];
      set_class(last, place);
      count_[first] -= 1;
      count_[last] = 1;
      const FlatAtom &atom = atoms_[last];
      if (atom.degree == 0) {
        continue;
      }
      for (unsigned b = 0; b < atom.degree; ++b) {
        touch(atom.neighbour[b]);
      }
      activate_touched();
      refine(compare);
    }
    if (class_[first] != before) {
      --i;
    }
  }
}

void FlatRanker::refine_all(const std::vector<FlatAtom> &atoms) {
  atoms_ = atoms.data();
  size_ = atoms.size();
  class_.assign(size_, 0);
  order_.resize(size_);
  std::iota(order_.begin(), order_.end(), 0);
  count_.assign(size_, 0);
  count_[0] = static_cast<int>(size_);
  next_.resize(size_);
  changed_.resize(size_);
  bonds_.resize(std::max(bonds_.size(), size_));
  for (size_t i = 0; i < size_; ++i) {
    bonds_[i].sorted = false;
  }
  touched_.assign(size_ / 64 + 1, 0);
  scratch_.resize(size_);
  activate_all();
  refine(Compare<true>{*this});
}

bool FlatRanker::rank(const std::vector<FlatAtom> &atoms, bool *certain) {
  refine_all(atoms);
  if (tied()) {
    activate_all();
    refine(Compare<false>{*this});
    unsigned ring_atoms = 0;
    unsigned symmetric = 0;
    bool branching = false;
    for (size_t i = 0; i < size_; ++i) {
      if (atoms_[i].rings != 0) {
        ++ring_atoms;
        symmetric += count_[i] > 2 ? static_cast<unsigned>(count_[i]) : 0;
        branching |= atoms_[i].rings > 1 && count_[i] > 1;
      }
    }
    if (tied() && branching && static_cast<float>(symmetric) / static_cast<float>(ring_atoms) > 0.5F) {
      return false;
    }
  }
  if (certain != nullptr) {
    *certain = ties_are_symmetries();
  }
  break_ties(Compare<true>{*this});
  return true;
}

// In an equitable partition whose classes are pairs, exchanging the pairs that hang together is an automorphism, and what
// is left of the ties after a choice is such a partition again; so are ends alike on one atom. Whichever atom a tie is
// broken for, the text is then the same. Nothing is claimed of other partitions: their ties may be no symmetries.
bool FlatRanker::ties_are_symmetries() const {
  for (size_t i = 0; i < size_;) {
    const int count = count_[order_[i]];
    if (count > 1) {
      const FlatAtom &first = atoms_[order_[i]];
      for (int k = 1; k < count; ++k) {
        const FlatAtom &other = atoms_[order_[i + static_cast<size_t>(k)]];
        const bool twins = first.degree == 1 && first.neighbour[0] == other.neighbour[0];
        if ((count > 2 && !twins) || !first.looks_like(other)) {
          return false;
        }
      }
    }
    i += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace halocline
