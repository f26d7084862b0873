// The three ways to a product: edit of a table, edit of a molecule, and RDKit's own reaction.
#include "state.h"

#include <GraphMol/ChemReactions/ReactionRunner.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>

#include <algorithm>
#include <numeric>

namespace halocline {
namespace {

bool has_hydrogen_atom(const RDKit::ROMol &mol) {
  for (const auto *atom : mol.atoms()) {
    if (atom->getAtomicNum() == 1) {
      return true;
    }
  }
  return false;
}

// The reactant atom of every product atom, -1 for added ones: `runReactants` notes it.
std::vector<int> origins_of(const RDKit::ROMol &product, unsigned reactant_atoms) {
  std::vector<int> origins;
  for (const auto *atom : product.atoms()) {
    unsigned origin = reactant_atoms;
    atom->getPropIfPresent(RDKit::common_properties::reactantAtomIdx, origin);
    origins.push_back(origin < reactant_atoms ? static_cast<int>(origin) : -1);
  }
  return origins;
}

bool has_chiral_tag(const RDKit::ROMol &mol) {
  for (const auto *atom : mol.atoms()) {
    if (atom->getChiralTag() != RDKit::Atom::CHI_UNSPECIFIED) {
      return true;
    }
  }
  return false;
}

// Of a product whose stereo has not been assigned.
bool has_stereo_of_rings(const RDKit::ROMol &mol) {
  if (!has_chiral_tag(mol)) {
    return false;
  }
  RDKit::ROMol assigned(mol);
  RDKit::MolOps::assignStereochemistry(assigned, true, true);
  for (const auto *atom : assigned.atoms()) {
    if (is_stereo_of_rings(*atom)) {
      return true;
    }
  }
  return false;
}

// Atoms of an intermediate in the order of the reactant's, added ones behind. Which of two equivalent atoms comes first
// in canonical SMILES is decided by their indices, so that only this makes the atom a site is said to lie at independent
// of the route. `origins` follows.
std::unique_ptr<RDKit::RWMol> in_parent_order(std::unique_ptr<RDKit::RWMol> mol, std::vector<int> &origins) {
  std::vector<unsigned> order(mol->getNumAtoms());
  std::iota(order.begin(), order.end(), 0);
  const auto place = [&](unsigned idx) { return static_cast<unsigned>(origins[idx]); };  // -1 comes last
  std::stable_sort(order.begin(), order.end(), [&](unsigned a, unsigned b) { return place(a) < place(b); });
  if (std::is_sorted(order.begin(), order.end())) {
    return mol;
  }
  const std::unique_ptr<RDKit::ROMol> ordered(RDKit::MolOps::renumberAtoms(*mol, order));
  std::vector<int> moved;
  for (const unsigned idx : order) {
    moved.push_back(origins[idx]);
  }
  origins = std::move(moved);
  return std::make_unique<RDKit::RWMol>(*ordered);
}

}  // namespace

// The local edit of a table; false when it cannot be had, and an edit of a molecule is to be tried.
bool KernelState::flat_route(uint16_t r, Parent &parent, const FlatParent &flat, const Site &site, bool last,
                             std::string *certain_text, const Sink &sink) {
  Written written;
  try {
    {
      StageClock clock(profile, Profile::kEdit);
      if (!flat_->edit(r, *edits_[r].edit, *parent.mol(), flat, site, last ? nullptr : &origins_)) {
        return false;
      }
    }
    StageClock clock(profile, Profile::kWrite);
    bool certain = false;
    if (!flat_->write(written.smiles, order_, certain_text != nullptr ? &certain : nullptr)) {
      return false;
    }
    if (certain) {
      *certain_text = written.smiles;
    }
  } catch (const std::exception &) {
    return false;
  }
  if (!last) {
    for (const unsigned idx : order_) {
      written.origins.push_back(origins_[idx]);
    }
  }
  profile.slots[Profile::kEdited] += 1;
  count(r, kProducts) += 1;
  sink(r, site, std::move(written));
  return true;
}

// The local edit; false when it cannot be had after all, and the full route has the word.
bool KernelState::edit_route(uint16_t r, Parent &parent, const Site &site, EditLane lane, bool last, const Sink &sink) {
  Written written;
  try {
    std::vector<int> origins;
    std::unique_ptr<RDKit::RWMol> mol;
    {
      StageClock clock(profile, Profile::kEdit);
      mol = apply_edit(*edits_[r].edit, *parent.mol(), site, last ? nullptr : &origins);
      if (mol && !last) {
        mol = in_parent_order(std::move(mol), origins);
      }
    }
    if (!mol) {
      return false;
    }
    StageClock clock(profile, Profile::kWrite);
    std::vector<unsigned> order;
    written.smiles = write_edited(*mol, lane, order);
    if (!last) {
      for (const unsigned idx : order) {
        written.origins.push_back(origins[idx]);
      }
    }
  } catch (const std::exception &) {
    take_log();
    return false;
  }
  profile.slots[Profile::kEdited] += 1;
  count(r, kProducts) += 1;
  sink(r, site, std::move(written));
  return true;
}

// The reference route: RDKit's own product, sanitised whole, hydrogens merged, written canonically.
void KernelState::full_route(uint32_t row, uint16_t r, Parent &parent, const Site &site, bool last, const Sink &sink) {
  const Rule &rule = rules_[r];
  RDKit::MOL_SPTR_VECT products;
  Stage stage = Stage::kReact;
  try {
    {
      StageClock clock(profile, Profile::kFull);
      RDKit::MatchVectType match;
      for (size_t i = 0; i < site.atoms.size(); ++i) {
        match.emplace_back(static_cast<int>(i), site.atoms[i]);
      }
      products = RDKit::ReactionRunnerUtils::generateOneProductSet(*rule.reaction, {parent.mol()}, {match});
    }
    for (auto &product : products) {
      stage = Stage::kSanitise;
      auto &mol = static_cast<RDKit::RWMol &>(*product);
      {
        StageClock clock(profile, Profile::kFull);
        RDKit::MolOps::sanitizeMol(mol);
        if (has_hydrogen_atom(mol)) {
          RDKit::MolOps::removeHs(mol);
        } else {
          // `RemoveHs` sanitises again, and that finds what had an impossible valence only when its aromatic bonds had
          // become single and double ones (`CN1C=CC=CC1(=O)F`).
          mol.updatePropertyCache(true);
        }
      }
      stage = Stage::kWrite;
      Written written;
      {
        StageClock clock(profile, Profile::kWrite);
        if (last) {
          written.smiles = RDKit::MolToSmiles(mol);
        } else {
          std::vector<int> origins = origins_of(mol, parent.mol()->getNumAtoms());
          auto ordered = std::make_unique<RDKit::RWMol>(mol);
          // Only this route leads to such a product, and its text is that of the order `runReactants` gave it.
          if (!has_stereo_of_rings(mol)) {
            ordered = in_parent_order(std::move(ordered), origins);
          }
          written.smiles = RDKit::MolToSmiles(*ordered);
          std::vector<unsigned> order;
          ordered->getPropIfPresent(RDKit::common_properties::_smilesAtomOutputOrder, order);
          for (const unsigned idx : order) {
            written.origins.push_back(origins[idx]);
          }
        }
      }
      count(r, kProducts) += 1;
      sink(r, site, std::move(written));
    }
  } catch (const BudgetSpent &) {
    throw;
  } catch (const std::exception &e) {
    count(r, kFailed) += 1;
    fail(row, r, site.index, stage, reason_of(e));
  }
}

}  // namespace halocline
