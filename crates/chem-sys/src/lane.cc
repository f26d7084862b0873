#include "lane.h"

#include <GraphMol/Canon.h>
#include <GraphMol/ChemReactions/ReactionRunner.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/PeriodicTable.h>
#include <GraphMol/RingInfo.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>
#include <GraphMol/StereoGroup.h>
#include <GraphMol/new_canon.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace halocline {
namespace {

using RDKit::Atom;
using RDKit::Bond;
namespace props = RDKit::common_properties;

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

}  // namespace

CompiledEdit compile_edit(const Rule &rule) {
  const auto no = [](const std::string &why) { return CompiledEdit{std::nullopt, why}; };
  const auto &reaction = *rule.reaction;
  if (reaction.getNumProductTemplates() != 1) {
    return no("more than one product");
  }
  const auto &reactant = *rule.reactant;
  const RDKit::ROMOL_SPTR product_template = *reaction.beginProductTemplates();
  // RDKit's own conversion, so that charges, hydrogens and bond orders are read as `runReactants` reads them.
  const RDKit::RWMOL_SPTR product = RDKit::ReactionRunnerUtils::convertTemplateToMol(product_template);

  std::map<int, unsigned> reactant_by_map;
  for (const auto *atom : reactant.atoms()) {
    const int map = atom->getAtomMapNum();
    if (map != 0 && !reactant_by_map.emplace(map, atom->getIdx()).second) {
      return no("a map number occurs twice in the reactant");
    }
    if (atom->getChiralTag() != Atom::CHI_UNSPECIFIED) {
      return no("the reactant template names a stereo centre");
    }
  }
  for (const auto *bond : reactant.bonds()) {
    if (is_stereo(*bond)) {
      return no("the reactant template names a stereo bond");
    }
  }

  Edit edit;
  std::map<unsigned, unsigned> mapped_of_reactant;  // reactant template atom -> index into edit.mapped
  std::vector<int> mapped_of_product(product->getNumAtoms(), -1);
  std::vector<int> added_of_product(product->getNumAtoms(), -1);
  for (const auto *templ : product_template->atoms()) {
    const unsigned idx = templ->getIdx();
    const auto &atom = *product->getAtomWithIdx(idx);
    // RDKit flags every unmapped atom as setting its stereo; only a mapped atom's flag says something.
    int inversion = 0;
    if (templ->getChiralTag() != Atom::CHI_UNSPECIFIED ||
        (templ->getAtomMapNum() != 0 && templ->getPropIfPresent(props::molInversionFlag, inversion) && inversion != 0)) {
      return no("the product template sets, inverts or removes a stereo centre");
    }
    const int map = templ->getAtomMapNum();
    if (map != 0) {
      const auto found = reactant_by_map.find(map);
      if (found == reactant_by_map.end()) {
        return no("the product maps an atom that the reactant does not have");
      }
      if (mapped_of_reactant.count(found->second) != 0) {
        return no("a map number occurs twice in the product");
      }
      if (atom.getAtomicNum() <= 0) {
        return no("a mapped product atom leaves its element open");
      }
      Edit::Mapped mapped{};
      mapped.reactant_atom = found->second;
      mapped.atomic_num = atom.getAtomicNum();
      mapped.aromatic = atom.getIsAromatic();
      mapped.sets_charge = atom.hasProp(props::_QueryFormalCharge);
      mapped.charge = atom.getFormalCharge();
      mapped.sets_isotope = atom.hasProp(props::_QueryIsotope);
      mapped.isotope = atom.getIsotope();
      mapped.sets_hydrogens = atom.hasProp(props::_ReactionDegreeChanged) || atom.hasProp(props::_QueryHCount);
      mapped.explicit_hydrogens = atom.getNumExplicitHs();
      mapped.no_implicit = atom.getNoImplicit();
      mapped_of_reactant[found->second] = static_cast<unsigned>(edit.mapped.size());
      mapped_of_product[idx] = static_cast<int>(edit.mapped.size());
      edit.mapped.push_back(mapped);
    } else {
      if (!is_plain_element(atom.getAtomicNum())) {
        return no("an added atom is hydrogen, a wildcard or an unusual element");
      }
      if (atom.getIsAromatic()) {
        return no("an aromatic atom is added");
      }
      added_of_product[idx] = static_cast<int>(edit.added.size());
      edit.added.push_back({atom.getAtomicNum(), atom.getFormalCharge(), atom.getIsotope(), atom.getNumExplicitHs(),
                            atom.getNoImplicit(), -1});
    }
  }
  if (edit.mapped.empty()) {
    return no("no atom of the reactant survives");
  }

  for (const auto *bond : product->bonds()) {
    const unsigned b = bond->getBeginAtomIdx();
    const unsigned e = bond->getEndAtomIdx();
    if (is_stereo(*bond) || is_stereo(*product_template->getBondWithIdx(bond->getIdx()))) {
      return no("the product template sets a stereo bond");
    }
    if (mapped_of_product[b] >= 0 && mapped_of_product[e] >= 0) {
      const unsigned rb = edit.mapped[mapped_of_product[b]].reactant_atom;
      const unsigned re = edit.mapped[mapped_of_product[e]].reactant_atom;
      if (reactant.getBondBetweenAtoms(rb, re) == nullptr) {
        return no("a bond between two atoms of the parent is made");
      }
      edit.kept.push_back({rb, re, bond->getBondType(), bond->hasProp(props::NullBond)});
      continue;
    }
    const auto type = bond->getBondType();
    if (bond->hasProp(props::NullBond) || (type != Bond::SINGLE && type != Bond::DOUBLE && type != Bond::TRIPLE)) {
      return no("an added bond has no definite order");
    }
    const bool joins = mapped_of_product[b] >= 0 || mapped_of_product[e] >= 0;
    if (joins && type != Bond::SINGLE) {
      return no("an added atom is bound to the parent by more than a single bond");
    }
    edit.bonds.push_back({static_cast<unsigned>(mapped_of_product[b] >= 0 ? mapped_of_product[b] : added_of_product[b]),
                          mapped_of_product[b] < 0,
                          static_cast<unsigned>(mapped_of_product[e] >= 0 ? mapped_of_product[e] : added_of_product[e]),
                          mapped_of_product[e] < 0, type, false});
  }
  for (const auto *bond : reactant.bonds()) {
    const auto b = mapped_of_reactant.find(bond->getBeginAtomIdx());
    const auto e = mapped_of_reactant.find(bond->getEndAtomIdx());
    if (b == mapped_of_reactant.end() || e == mapped_of_reactant.end()) {
      continue;
    }
    const bool kept = std::any_of(edit.kept.begin(), edit.kept.end(), [&](const Edit::KeptBond &k) {
      return (k.begin == bond->getBeginAtomIdx() && k.end == bond->getEndAtomIdx()) ||
             (k.end == bond->getBeginAtomIdx() && k.begin == bond->getEndAtomIdx());
    });
    if (!kept) {
      return no("a bond between two surviving atoms is broken");
    }
  }

  // Added atoms must hang as trees, each from exactly one mapped atom: as many bonds as atoms, all reached.
  if (edit.bonds.size() != edit.added.size()) {
    return no("the added atoms close a ring, bridge the parent or come apart");
  }
  std::vector<bool> reached(edit.added.size(), false);
  for (size_t round = 0; round < edit.added.size(); ++round) {
    for (const auto &bond : edit.bonds) {
      const bool b = !bond.begin_added || reached[bond.begin];
      const bool e = !bond.end_added || reached[bond.end];
      if (b && bond.end_added) {
        reached[bond.end] = true;
      }
      if (e && bond.begin_added) {
        reached[bond.begin] = true;
      }
    }
  }
  if (!std::all_of(reached.begin(), reached.end(), [](bool r) { return r; })) {
    return no("an added atom is not bound to the parent");
  }

  // Removed atoms: an added atom takes the slot of one bound to the same mapped atom, which saves renumbering.
  std::vector<bool> taken(edit.bonds.size(), false);
  for (const auto *atom : reactant.atoms()) {
    if (mapped_of_reactant.count(atom->getIdx()) != 0) {
      continue;
    }
    bool reused = false;
    for (const auto *bond : reactant.atomBonds(atom)) {
      const auto anchor = mapped_of_reactant.find(bond->getOtherAtomIdx(atom->getIdx()));
      if (anchor == mapped_of_reactant.end()) {
        continue;
      }
      for (size_t i = 0; i < edit.bonds.size() && !reused; ++i) {
        auto &fresh = edit.bonds[i];
        const bool from_anchor = !fresh.begin_added && fresh.begin == anchor->second && fresh.end_added;
        const bool to_anchor = !fresh.end_added && fresh.end == anchor->second && fresh.begin_added;
        const unsigned added = from_anchor ? fresh.end : fresh.begin;
        if (!taken[i] && (from_anchor || to_anchor) && edit.added[added].slot < 0) {
          taken[i] = true;
          fresh.exists = true;
          edit.added[added].slot = static_cast<int>(atom->getIdx());
          reused = true;
        }
      }
      if (reused) {
        break;
      }
    }
    (reused ? edit.replaced : edit.removed).push_back(atom->getIdx());
  }
  return {std::move(edit), ""};
}

bool is_plain_text(const std::string &smiles) {
  for (size_t i = 0; i < smiles.size(); ++i) {
    switch (smiles[i]) {
      case '[':
        if (smiles.compare(i, 4, "[nH]") != 0) {
          return false;
        }
        i += 3;
        break;
      case 'B':
        if (i + 1 >= smiles.size() || smiles[i + 1] != 'r') {
          return false;
        }
        break;
      case 'C':
      case 'N':
      case 'O':
      case 'S':
      case 'F':
      case 'I':
      case 'c':
      case 'n':
      case 'o':
      case 's':
      case 'l':
      case 'r':
      case '=':
      case '#':
      case '-':
      case '(':
      case ')':
      case '%':
        break;
      default:
        if (smiles[i] < '0' || smiles[i] > '9') {
          return false;
        }
    }
  }
  return !smiles.empty();
}

RDKit::ROMOL_SPTR parse_light(const std::string &smiles) {
  if (!is_plain_text(smiles)) {
    return {};
  }
  RDKit::SmilesParserParams params;
  params.sanitize = false;
  params.removeHs = false;
  params.allowCXSMILES = false;
  params.parseName = false;
  std::unique_ptr<RDKit::RWMol> mol(RDKit::SmilesToMol(smiles, params));
  if (!mol) {
    return {};
  }
  try {
    mol->updatePropertyCache(true);
    RDKit::MolOps::symmetrizeSSSR(*mol);
    // An aromatic flag outside a ring, or a valence that is off, is for the full parse to judge.
    for (const auto *bond : mol->bonds()) {
      if (bond->getIsAromatic() && mol->getRingInfo()->numBondRings(bond->getIdx()) == 0) {
        return {};
      }
    }
    RDKit::MolOps::setConjugation(*mol);
    RDKit::MolOps::setHybridization(*mol);
  } catch (const std::exception &) {
    return {};
  }
  mol->setProp(props::_StereochemDone, 1, true);
  mol->clearAllAtomBookmarks();
  return RDKit::ROMOL_SPTR(mol.release());
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
  if (!mol.getStereoGroups().empty() || mol.getNumConformers() != 0) {
    return EditLane::kNone;
  }
  EditLane lane = EditLane::kFlat;
  for (const auto *atom : mol.atoms()) {
    if (!is_plain_element(atom->getAtomicNum()) || atom->getNumRadicalElectrons() != 0 ||
        atom->getAtomMapNum() != 0 || atom->hasQuery()) {
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
    if (rings->numAtomRings(idx) != 0 || atom.getIsAromatic()) {
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

}  // namespace

std::unique_ptr<RDKit::RWMol> apply_edit(const Edit &edit, const RDKit::ROMol &parent, const Site &site,
                                        std::vector<int> *origins) {
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
  for (Atom *atom : touched) {
    atom->updatePropertyCache(true);
    // Where the template fixes the hydrogens, a missing valence would become a radical: the full route's business.
    if (atom->getNoImplicit()) {
      const auto &valences = RDKit::PeriodicTable::getTable()->getValenceList(atom->getAtomicNum());
      if (std::find(valences.begin(), valences.end(), static_cast<int>(atom->getTotalValence())) == valences.end()) {
        return nullptr;
      }
    }
  }
  return mol;
}

namespace {

// The atoms that need no bracket: what `GetAtomSmiles` writes for them, without its property look-ups.
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

}  // namespace

std::string write_edited(RDKit::RWMol &mol, EditLane lane, std::vector<unsigned> &order) {
  // As `MolToSmiles` does: the writer looks at both.
  mol.setProp(props::_doIsoSmiles, 1);
  if (lane == EditLane::kStereo) {
    RDKit::MolOps::assignStereochemistry(mol, true, true);
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
