// Which parents and which sites the local-edit lane takes.
#include "lane.h"

#include <GraphMol/RingInfo.h>
#include <GraphMol/StereoGroup.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace halocline {

using RDKit::Atom;
using RDKit::Bond;

// Elements whose valence model has no surprises at a site; everything else is left to the full route.
bool is_plain_element(int atomic_num) {
  switch (atomic_num) {
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 14:
    case 15:
    case 16:
    case 17:
    case 34:
    case 35:
    case 53:
      return true;
    default:
      return false;
  }
}

bool is_stereo(const Bond &bond) {
  return bond.getStereo() != Bond::STEREONONE || bond.getBondDir() != Bond::NONE;
}

bool is_stereo_of_rings(const Atom &atom) {
  return atom.getChiralTag() != Atom::CHI_UNSPECIFIED && !atom.hasProp(RDKit::common_properties::_CIPCode);
}

static constexpr size_t kMacrocycle = 9;
static constexpr size_t kManyFused = 7;
static constexpr size_t kManyAlike = 5;

bool has_fragile_aromaticity(const RDKit::ROMol &mol) {
  // An atom with four neighbours keeps a ring from being aromatic, whatever the others are. What RDKit calls sp3 may have a
  // lone pair to give.
  const auto is_flat = [&mol](int idx) {
    const auto &atom = *mol.getAtomWithIdx(idx);
    return atom.getHybridization() != Atom::SP3 || atom.getTotalDegree() < 4;
  };
  const auto &info = *mol.getRingInfo();
  std::vector<char> flat_rings;
  for (const auto &ring : info.atomRings()) {
    const auto flat = static_cast<size_t>(std::count_if(ring.begin(), ring.end(), is_flat));
    const bool whole = flat == ring.size();
    if ((ring.size() >= kMacrocycle && whole) || (ring.size() == 3 && flat >= 2)) {
      return true;
    }
    flat_rings.push_back(whole ? 1 : 0);
  }
  size_t aromatic = 0;
  std::vector<std::pair<int, int>> pairs;
  for (const auto *bond : mol.bonds()) {
    if (info.numBondRings(bond->getIdx()) < 2) {
      continue;
    }
    auto sharing = info.bondMembers(bond->getIdx());
    sharing.erase(std::remove_if(sharing.begin(), sharing.end(), [&](int ring) { return flat_rings[ring] == 0; }),
                  sharing.end());
    for (size_t i = 1; i < sharing.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        pairs.emplace_back(std::minmax(sharing[i], sharing[j]));
      }
    }
    aromatic += sharing.size() > 1 && bond->getIsAromatic() ? 1 : 0;
  }
  std::sort(pairs.begin(), pairs.end());
  return aromatic >= kManyFused || std::adjacent_find(pairs.begin(), pairs.end()) != pairs.end();
}

bool is_cage(const RDKit::ROMol &mol) {
  const auto &info = *mol.getRingInfo();
  std::map<std::pair<int, unsigned>, size_t> alike;
  for (const auto *atom : mol.atoms()) {
    if (atom->getIsAromatic() || info.numAtomRings(atom->getIdx()) < 3) {
      continue;
    }
    size_t of_rings = 0;
    for (const auto *bond : mol.atomBonds(atom)) {
      of_rings += info.numBondRings(bond->getIdx()) > 0 ? 1 : 0;
    }
    if (of_rings >= 3 && ++alike[{atom->getAtomicNum(), atom->getDegree()}] >= kManyAlike) {
      return true;
    }
  }
  return false;
}

namespace {

// A single bond between two double bonds that can have stereo carries one direction for both. Which of them `runReactants`
// lets have it, when it writes the directions anew, depends on the order of its bonds (28 of 218,892 halogenated
// products of np_68k differed, all polyenes, 2026-11), so that only the full route says the same.
bool shares_direction(const RDKit::ROMol &mol, const Bond &stereo) {
  for (const auto *end : {stereo.getBeginAtom(), stereo.getEndAtom()}) {
    for (const auto *bond : mol.atomBonds(end)) {
      if (bond == &stereo) {
        continue;
      }
      const auto *neighbour = bond->getOtherAtom(end);
      for (const auto *other : mol.atomBonds(neighbour)) {
        if (other != bond && other->getBondType() == Bond::DOUBLE && other->getOtherAtom(neighbour)->getDegree() > 1) {
          return true;
        }
      }
    }
  }
  return false;
}

}  // namespace

EditLane lane_of(const RDKit::ROMol &mol, const std::string &text) {
  // A CXSMILES extension or a name behind white space may carry anything; a second fragment is left behind by
  // `runReactants`.
  if (text.find_first_of(" \t.") != std::string::npos) {
    return EditLane::kNone;
  }
  if (!mol.getStereoGroups().empty() || mol.getNumConformers() != 0 || has_fragile_aromaticity(mol) || is_cage(mol)) {
    return EditLane::kNone;
  }
  EditLane lane = EditLane::kFlat;
  for (const auto *atom : mol.atoms()) {
    if (!is_plain_element(atom->getAtomicNum()) || atom->getNumRadicalElectrons() != 0 ||
        atom->getAtomMapNum() != 0 || atom->hasQuery()) {
      return EditLane::kNone;
    }
    if (is_stereo_of_rings(*atom)) {
      return EditLane::kNone;
    }
    switch (atom->getChiralTag()) {
      case Atom::CHI_UNSPECIFIED:
        break;
      case Atom::CHI_TETRAHEDRAL_CW:
      case Atom::CHI_TETRAHEDRAL_CCW:
        lane = EditLane::kStereo;
        break;
      default:
        return EditLane::kNone;
    }
  }
  for (const auto *bond : mol.bonds()) {
    const auto type = bond->getBondType();
    if (bond->hasQuery() ||
        (type != Bond::SINGLE && type != Bond::DOUBLE && type != Bond::TRIPLE && type != Bond::AROMATIC)) {
      return EditLane::kNone;
    }
    if (is_stereo(*bond)) {
      if (bond->getStereo() == Bond::STEREOANY) {
        return EditLane::kNone;
      }
      if (bond->getBondType() == Bond::DOUBLE && shares_direction(mol, *bond)) {
        return EditLane::kNone;
      }
      lane = EditLane::kStereo;
    }
  }
  return lane;
}

bool site_allows(const Edit &edit, const RDKit::ROMol &mol, const Site &site) {
  const auto *rings = mol.getRingInfo();
  for (const auto &mapped : edit.mapped) {
    const auto &atom = *mol.getAtomWithIdx(site.atoms[mapped.reactant_atom]);
    if (atom.getAtomicNum() != mapped.atomic_num || atom.getIsAromatic() != mapped.aromatic ||
        atom.getFormalCharge() != 0 || (mapped.sets_charge && mapped.charge != 0) ||
        atom.getChiralTag() != Atom::CHI_UNSPECIFIED) {
      return false;
    }
    for (const auto *bond : mol.atomBonds(&atom)) {
      if (is_stereo(*bond)) {
        return false;
      }
    }
    // The hydrogen of an aromatic heteroatom decides how many electrons it gives.
    if (atom.getIsAromatic() && atom.getAtomicNum() != 6) {
      return false;
    }
  }
  for (const auto &kept : edit.kept) {
    const auto *bond = mol.getBondBetweenAtoms(site.atoms[kept.begin], site.atoms[kept.end]);
    if (bond == nullptr || (!kept.from_parent && bond->getBondType() != kept.type)) {
      return false;
    }
  }
  // What leaves must hang as trees, each by one single bond from one surviving atom, and nothing may hang behind it.
  enum Fate : char { kStays, kReplaced, kRemoved };
  std::vector<Fate> fate(site.atoms.size(), kStays);
  for (const unsigned templ : edit.removed) {
    fate[templ] = kRemoved;
  }
  for (const unsigned templ : edit.replaced) {
    fate[templ] = kReplaced;
  }
  size_t leaving = 0;
  size_t inner_ends = 0;
  size_t cuts = 0;
  for (size_t templ = 0; templ < fate.size(); ++templ) {
    if (fate[templ] == kStays) {
      continue;
    }
    ++leaving;
    const int idx = site.atoms[templ];
    const auto &atom = *mol.getAtomWithIdx(idx);
    // A stereo centre may not leave its stereo to what takes its place.
    if (rings->numAtomRings(idx) != 0 || atom.getIsAromatic() || atom.getChiralTag() != Atom::CHI_UNSPECIFIED) {
      return false;
    }
    for (const auto *bond : mol.atomBonds(&atom)) {
      const int other = static_cast<int>(bond->getOtherAtomIdx(idx));
      const auto place = std::find(site.atoms.begin(), site.atoms.end(), other);
      if (place == site.atoms.end()) {
        return false;
      }
      const Fate other_fate = fate[place - site.atoms.begin()];
      if (other_fate == kStays) {
        if (bond->getBondType() != Bond::SINGLE) {
          return false;
        }
        ++cuts;
      } else {
        if (fate[templ] == kReplaced && other_fate == kReplaced) {
          return false;
        }
        ++inner_ends;
      }
    }
  }
  return cuts == leaving - inner_ends / 2;
}

}  // namespace halocline
