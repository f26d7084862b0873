// A local edit of a molecule, and writing the product without the copy that `MolToSmiles` makes.
#include "lane.h"

#include <GraphMol/Canon.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/PeriodicTable.h>
#include <GraphMol/RingInfo.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>
#include <GraphMol/new_canon.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace halocline {

using RDKit::Atom;
using RDKit::Bond;
namespace props = RDKit::common_properties;

namespace {

// `removeAtom` throws the rings away; they are the parent's, renumbered, because nothing removed was in one.
void remove_atoms(RDKit::RWMol &mol, std::vector<int> gone) {
  std::sort(gone.begin(), gone.end());
  const auto atom_rings = mol.getRingInfo()->atomRings();
  for (auto idx = gone.rbegin(); idx != gone.rend(); ++idx) {
    mol.removeAtom(static_cast<unsigned>(*idx));
  }
  auto *rings = mol.getRingInfo();
  if (rings->isInitialized()) {
    rings->reset();
  }
  rings->initialize();
  for (const auto &ring : atom_rings) {
    std::vector<int> atoms;
    std::vector<int> bonds;
    for (const int idx : ring) {
      const auto shift = std::lower_bound(gone.begin(), gone.end(), idx) - gone.begin();
      atoms.push_back(idx - static_cast<int>(shift));
    }
    for (size_t i = 0; i < atoms.size(); ++i) {
      bonds.push_back(static_cast<int>(mol.getBondBetweenAtoms(atoms[i], atoms[(i + 1) % atoms.size()])->getIdx()));
    }
    rings->addRing(atoms, bonds);
  }
}

// `MolOps::cleanUp` gives pentavalent phosphorus and polyvalent halogens charges; of nitrogen and the lighter halogens the
// valence check does not let such a form through.
bool sanitising_rewrites(const Atom &atom) {
  switch (atom.getAtomicNum()) {
    case 15:
      return atom.getDegree() == 3 && atom.getExplicitValence() == 5;
    case 53:
      return atom.getDegree() > 1;
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<RDKit::RWMol> apply_edit(const Edit &edit, const RDKit::ROMol &parent, const Site &site,
                                        std::vector<int> *origins, std::vector<Atom *> *touched_out) {
  auto mol = std::make_unique<RDKit::RWMol>(parent);
  std::vector<Atom *> touched;
  std::vector<unsigned> added_at(edit.added.size());

  if (origins != nullptr) {
    origins->resize(parent.getNumAtoms());
    std::iota(origins->begin(), origins->end(), 0);
  }
  for (const auto &mapped : edit.mapped) {
    Atom *atom = mol->getAtomWithIdx(site.atoms[mapped.reactant_atom]);
    if (mapped.sets_charge) {
      atom->setFormalCharge(mapped.charge);
    }
    if (mapped.sets_isotope) {
      atom->setIsotope(mapped.isotope);
    }
    if (mapped.sets_hydrogens) {
      atom->setNumExplicitHs(mapped.explicit_hydrogens);
      atom->setNoImplicit(mapped.no_implicit);
    }
    touched.push_back(atom);
  }
  for (size_t i = 0; i < edit.added.size(); ++i) {
    const auto &added = edit.added[i];
    Atom *atom;
    if (added.slot >= 0) {
      atom = mol->getAtomWithIdx(site.atoms[added.slot]);
      atom->setAtomicNum(added.atomic_num);
      atom->setHybridization(Atom::UNSPECIFIED);
    } else {
      auto *fresh = new Atom(added.atomic_num);
      mol->addAtom(fresh, false, true);
      atom = fresh;
    }
    atom->setFormalCharge(added.charge);
    atom->setIsotope(added.isotope);
    atom->setNumExplicitHs(added.explicit_hydrogens);
    atom->setNoImplicit(added.no_implicit);
    added_at[i] = atom->getIdx();
    if (origins != nullptr) {
      origins->resize(mol->getNumAtoms(), -1);
      (*origins)[added_at[i]] = -1;
    }
    touched.push_back(atom);
  }
  for (const auto &bond : edit.bonds) {
    if (!bond.exists) {
      mol->addBond(bond.begin_added ? added_at[bond.begin] : site.atoms[edit.mapped[bond.begin].reactant_atom],
                   bond.end_added ? added_at[bond.end] : site.atoms[edit.mapped[bond.end].reactant_atom], bond.type);
    }
  }
  if (!edit.removed.empty()) {
    std::vector<int> gone;
    for (const unsigned templ : edit.removed) {
      gone.push_back(site.atoms[templ]);
    }
    if (origins != nullptr) {
      origins->erase(std::remove_if(origins->begin(), origins->end(),
                                    [&](int o) { return std::find(gone.begin(), gone.end(), o) != gone.end(); }),
                     origins->end());
    }
    remove_atoms(*mol, std::move(gone));
  }
  for (size_t i = 0; i < touched.size(); ++i) {
    Atom *atom = touched[i];
    atom->updatePropertyCache(true);
    if (sanitising_rewrites(*atom)) {
      return nullptr;
    }
    // A ring atom with more or fewer neighbours may be aromatic no longer, or from now on, or fit into no ring at all.
    if (i < edit.mapped.size()) {
      const int idx = site.atoms[edit.mapped[i].reactant_atom];
      if (parent.getRingInfo()->numAtomRings(idx) != 0 &&
          atom->getTotalDegree() != parent.getAtomWithIdx(idx)->getTotalDegree()) {
        return nullptr;
      }
    }
    // Where the template fixes the hydrogens, a missing valence would become a radical: the full route's business.
    if (atom->getNoImplicit()) {
      const auto &valences = RDKit::PeriodicTable::getTable()->getValenceList(atom->getAtomicNum());
      if (std::find(valences.begin(), valences.end(), static_cast<int>(atom->getTotalValence())) == valences.end()) {
        return nullptr;
      }
    }
  }
  if (touched_out != nullptr) {
    *touched_out = std::move(touched);
  }
  return mol;
}

std::string bracket_symbol(const Atom &atom) {
  return RDKit::SmilesWrite::GetAtomSmiles(&atom, false, nullptr, false, true);
}

// What `GetAtomSmiles` writes, without its property look-ups.
const char *plain_symbol(const Atom &atom) {
  if (atom.getFormalCharge() != 0 || atom.getIsotope() != 0 || atom.getNumRadicalElectrons() != 0 ||
      atom.getChiralTag() != Atom::CHI_UNSPECIFIED) {
    return nullptr;
  }
  const bool aromatic = atom.getIsAromatic();
  const unsigned valence = static_cast<unsigned>(atom.getTotalValence());
  switch (atom.getAtomicNum()) {
    case 6:
      return valence == 4 ? (aromatic ? "c" : "C") : nullptr;
    case 7:
      return valence == 3 && !(aromatic && atom.getNumExplicitHs() != 0) ? (aromatic ? "n" : "N") : nullptr;
    case 8:
      return valence == 2 ? (aromatic ? "o" : "O") : nullptr;
    case 9:
      return valence == 1 ? "F" : nullptr;
    case 16:
      return valence == 2 ? (aromatic ? "s" : "S") : nullptr;
    case 17:
      return valence == 1 ? "Cl" : nullptr;
    case 35:
      return valence == 1 ? "Br" : nullptr;
    case 53:
      return valence == 1 ? "I" : nullptr;
    default:
      return nullptr;
  }
}

std::string write_edited(RDKit::RWMol &mol, EditLane lane, std::vector<unsigned> &order) {
  // As `MolToSmiles` does: the writer looks at both.
  mol.setProp(props::_doIsoSmiles, 1);
  if (lane == EditLane::kStereo) {
    RDKit::MolOps::assignStereochemistry(mol, true, true);
    for (const auto *atom : mol.atoms()) {
      if (is_stereo_of_rings(*atom)) {
        throw std::runtime_error("its stereo is written as the order of its atoms has it");
      }
    }
  } else {
    mol.setProp(props::_StereochemDone, 1, true);
  }
  std::vector<unsigned> ranks;
  RDKit::Canon::rankMolAtoms(mol, ranks, true, true, true);
  const auto first = static_cast<int>(std::min_element(ranks.begin(), ranks.end()) - ranks.begin());
  std::vector<RDKit::Canon::AtomColors> colors(mol.getNumAtoms(), RDKit::Canon::WHITE_NODE);
  RDKit::Canon::MolStack stack;
  stack.reserve(mol.getNumAtoms() + mol.getNumBonds());
  RDKit::Canon::canonicalizeFragment(mol, first, colors, ranks, stack, nullptr, nullptr, true);

  std::string text;
  text.reserve(mol.getNumAtoms() * 3);
  order.clear();
  order.reserve(mol.getNumAtoms());
  // Ring-closure digits: the lowest free one; a digit closed at an atom is free from the next atom on.
  std::map<int, int> open;
  std::vector<int> closed;
  for (const auto &element : stack) {
    switch (element.type) {
      case RDKit::Canon::MOL_STACK_ATOM: {
        for (const int ring : closed) {
          open.erase(ring);
        }
        closed.clear();
        const auto &atom = *element.obj.atom;
        if (const char *symbol = plain_symbol(atom)) {
          text += symbol;
        } else {
          text += RDKit::SmilesWrite::GetAtomSmiles(&atom);
        }
        order.push_back(atom.getIdx());
        break;
      }
      case RDKit::Canon::MOL_STACK_BOND: {
        const auto &bond = *element.obj.bond;
        const bool both_aromatic = bond.getBeginAtom()->getIsAromatic() && bond.getEndAtom()->getIsAromatic();
        if (bond.getBondType() == Bond::SINGLE && bond.getBondDir() == Bond::NONE) {
          if (both_aromatic && !bond.getIsAromatic()) {
            text += '-';
          }
        } else if (bond.getBondType() == Bond::AROMATIC && both_aromatic && bond.getBondDir() == Bond::NONE) {
          // nothing: two lower-case neighbours
        } else {
          text += RDKit::SmilesWrite::GetBondSmiles(&bond, element.number);
        }
        break;
      }
      case RDKit::Canon::MOL_STACK_RING: {
        const int ring = element.number;
        int digit = 1;
        const auto found = open.find(ring);
        if (found != open.end()) {
          digit = found->second;
          closed.push_back(ring);
        } else {
          while (std::any_of(open.begin(), open.end(), [digit](const auto &o) { return o.second == digit; })) {
            ++digit;
          }
          open[ring] = digit;
        }
        if (digit < 10) {
          text += static_cast<char>('0' + digit);
        } else if (digit < 100) {
          text += '%' + std::to_string(digit);
        } else {
          text += "%(" + std::to_string(digit) + ')';
        }
        break;
      }
      case RDKit::Canon::MOL_STACK_BRANCH_OPEN:
        text += '(';
        break;
      case RDKit::Canon::MOL_STACK_BRANCH_CLOSE:
        text += ')';
        break;
    }
  }
  return text;
}

}  // namespace halocline
