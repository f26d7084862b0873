// Which rules are local edits: read from the SMIRKS alone.
#include "lane.h"

#include <GraphMol/ChemReactions/ReactionRunner.h>
#include <GraphMol/QueryBond.h>
#include <GraphMol/QueryOps.h>

#include <algorithm>
#include <map>

namespace halocline {

using RDKit::Atom;
using RDKit::Bond;
namespace props = RDKit::common_properties;

namespace {

// Can a bond that matches this template bond have that order? True where the template says nothing simple.
bool may_have_order(const Bond &templ, Bond::BondType type) {
  if (!templ.hasQuery()) {
    return true;
  }
  const auto &query = *templ.getQuery();
  if (query.getNegation()) {
    return true;
  }
  if (query.getDescription() == "SingleOrAromaticBond") {
    return type == Bond::SINGLE || type == Bond::AROMATIC;
  }
  const auto *order = dynamic_cast<const RDKit::BOND_EQUALS_QUERY *>(&query);
  return order == nullptr || query.getDescription() != "BondOrder" || order->getVal() == static_cast<int>(type);
}

// Why `site_allows` would refuse every site of every parent; empty when it need not.
std::string never_allowed(const Edit &edit, const RDKit::ROMol &reactant) {
  for (const auto &mapped : edit.mapped) {
    if (mapped.sets_charge && mapped.charge != 0) {
      return "an atom of the parent gets a charge";
    }
    if (mapped.aromatic && mapped.atomic_num != 6) {
      return "an aromatic heteroatom of the parent takes part";
    }
    for (const auto &need : needs_of_atom(*reactant.getAtomWithIdx(mapped.reactant_atom))) {
      if (need.atomic_num != mapped.atomic_num) {
        return "an atom of the parent becomes another element";
      }
      if (need.aromatic >= 0 && (need.aromatic == 1) != mapped.aromatic) {
        return "an atom of the parent becomes aromatic, or ceases to be";
      }
    }
  }
  for (const auto &kept : edit.kept) {
    const auto *bond = reactant.getBondBetweenAtoms(kept.begin, kept.end);
    if (!kept.from_parent && !may_have_order(*bond, kept.type)) {
      return "the order of a bond of the parent changes";
    }
  }
  return "";
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

  if (const std::string why = never_allowed(edit, reactant); !why.empty()) {
    return no(why);
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

}  // namespace halocline
