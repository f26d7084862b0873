// Sites of a parent that are alike by symmetry.
#include "flat.h"

#include <algorithm>
#include <map>

namespace halocline {
namespace {

// Type and ring membership of the bond between two atoms, 0 for none.
unsigned bond_between(const std::vector<FlatAtom> &atoms, int a, int b) {
  const FlatAtom &atom = atoms[a];
  for (unsigned k = 0; k < atom.degree; ++k) {
    if (atom.neighbour[k] == b) {
      return atom.bond_type[k] * 2U + atom.bond_in_ring[k];
    }
  }
  return 0;
}

}  // namespace

FlatSymmetry::FlatSymmetry(const std::vector<FlatAtom> &atoms, FlatRanker &ranker) : places_(atoms.size()) {
  ranker.refine_all(atoms);
  const auto &classes = ranker.ranks();
  const auto &order = ranker.order();
  const auto n = static_cast<int>(atoms.size());
  for (int i = 0; i < n;) {
    int end = i + 1;
    while (end < n && classes[order[end]] == classes[order[i]]) {
      ++end;
    }
    const FlatAtom &first = atoms[order[i]];
    const auto alike = [&](int k, bool twins) {
      const FlatAtom &other = atoms[order[k]];
      return first.looks_like(other) &&
             (!twins || (first.degree == 1 && other.degree == 1 && first.neighbour[0] == other.neighbour[0] &&
                         first.bond_type[0] == other.bond_type[0]));
    };
    bool twins = end - i > 1;
    for (int k = i + 1; k < end && twins; ++k) {
      twins = alike(k, true);
    }
    if (twins) {
      for (int k = i; k < end; ++k) {
        places_[order[k]].anchor = first.neighbour[0];
      }
    } else if (end - i == 2 && alike(i + 1, false)) {
      places_[order[i]].partner = order[i + 1];
      places_[order[i + 1]].partner = order[i];
    }
    i = end;
  }

  // Pairs hang together where a bond of one atom is not also there for its partner.
  for (int start = 0; start < n; ++start) {
    if (places_[start].partner < 0 || places_[start].pairs >= 0) {
      continue;
    }
    std::vector<int> members{start, places_[start].partner};
    places_[members[0]].pairs = places_[members[1]].pairs = start;
    for (size_t m = 0; m < members.size(); ++m) {
      const int atom = members[m];
      for (unsigned k = 0; k < atoms[atom].degree; ++k) {
        const int other = atoms[atom].neighbour[k];
        const int partner = places_[other].partner;
        if (partner < 0 || places_[other].pairs >= 0 ||
            bond_between(atoms, atom, other) == bond_between(atoms, atom, partner)) {
          continue;
        }
        places_[other].pairs = places_[partner].pairs = start;
        members.push_back(other);
        members.push_back(partner);
      }
    }
    if (!is_symmetry(atoms, members)) {
      for (const int atom : members) {
        places_[atom].partner = -1;
      }
    }
  }
}

bool FlatSymmetry::is_symmetry(const std::vector<FlatAtom> &atoms, const std::vector<int> &members) const {
  const int pairs = places_[members[0]].pairs;
  const auto image = [&](int atom) { return places_[atom].pairs == pairs ? places_[atom].partner : atom; };
  return std::all_of(members.begin(), members.end(), [&](int atom) {
    for (unsigned k = 0; k < atoms[atom].degree; ++k) {
      const int other = atoms[atom].neighbour[k];
      if (bond_between(atoms, atom, other) != bond_between(atoms, image(atom), image(other))) {
        return false;
      }
    }
    return true;
  });
}

// A site's atoms under all exchanges at once: of pairs that are exchanged together the first atom met is taken for the one
// with the lower index; of ends alike, the first met for the first, and so on.
std::vector<size_t> FlatSymmetry::first_alike(const std::vector<Site> &sites) const {
  std::vector<size_t> first(sites.size());
  std::map<std::vector<int>, size_t> known;
  std::vector<int> form;
  for (size_t s = 0; s < sites.size(); ++s) {
    form.clear();
    const auto &atoms = sites[s].atoms;
    for (size_t i = 0; i < atoms.size(); ++i) {
      const Place &place = places_[atoms[i]];
      if (place.anchor >= 0) {
        const auto earlier = std::count_if(atoms.begin(), atoms.begin() + static_cast<long>(i),
                                           [&](int other) { return places_[other].anchor == place.anchor; });
        form.push_back(-1);
        form.push_back(place.anchor);
        form.push_back(static_cast<int>(earlier));
      } else if (place.partner >= 0) {
        const auto met = std::find_if(atoms.begin(), atoms.end(), [&](int other) {
          return places_[other].partner >= 0 && places_[other].pairs == place.pairs;
        });
        const bool exchanged = *met > places_[*met].partner;
        form.push_back(exchanged ? place.partner : atoms[i]);
      } else {
        form.push_back(atoms[i]);
      }
    }
    first[s] = known.emplace(form, s).first->second;
  }
  return first;
}

}  // namespace halocline
