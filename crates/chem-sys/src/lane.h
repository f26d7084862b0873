// The local-edit lane: rules that only swap acyclic substituents are applied by editing a copy of the parent.
//
// Exact by construction or not at all: a rule is admitted from its SMIRKS alone (`compile_edit`), a parent by what it
// holds (`ParentTraits`), a site by what it touches (`site_allows`). Whatever is not admitted takes the full route.
#pragma once
#include "internal.h"

#include <string>
#include <vector>

namespace halocline {

// How a SMIRKS changes a molecule, when it is a local edit.
struct Edit {
  // A mapped atom as the product template wants it; unset flags keep the parent's value.
  struct Mapped {
    unsigned reactant_atom;  // index in the reactant template
    int atomic_num;
    bool aromatic;
    bool sets_charge;
    int charge;
    bool sets_isotope;
    unsigned isotope;
    bool sets_hydrogens;
    unsigned explicit_hydrogens;
    bool no_implicit;
  };
  struct Added {
    int atomic_num;
    int charge;
    unsigned isotope;
    unsigned explicit_hydrogens;
    bool no_implicit;
    // The removed template atom whose slot it takes over, or -1: it is appended.
    int slot;
  };
  // Ends: a mapped atom (index into `mapped`) or an added one (index into `added`, with `*_added` set).
  struct NewBond {
    unsigned begin;
    bool begin_added;
    unsigned end;
    bool end_added;
    RDKit::Bond::BondType type;
    bool exists;  // the slot's own single bond to its mapped atom: kept
  };
  struct KeptBond {
    unsigned begin;  // reactant template atoms
    unsigned end;
    RDKit::Bond::BondType type;
    bool from_parent;  // the template leaves the order to the parent
  };
  std::vector<Mapped> mapped;
  std::vector<Added> added;
  std::vector<NewBond> bonds;
  std::vector<KeptBond> kept;
  std::vector<unsigned> removed;  // reactant template atoms whose slot nobody takes over
  std::vector<unsigned> replaced; // reactant template atoms whose slot an added atom takes over
};

// Empty reason and an edit, or why the rule takes the full route.
struct CompiledEdit {
  std::optional<Edit> edit;
  std::string why_not;
};
CompiledEdit compile_edit(const Rule &rule);

// Elements whose valence model has no surprises at a site; everything else is left to the full route.
bool is_plain_element(int atomic_num);
bool is_stereo(const RDKit::Bond &bond);

// Stereo that nothing but a ring makes (`OC(=O)[C@H]1C2CC[C@H]1CC2`): it has no CIP code, and RDKit 2022.09 writes it as the
// order of atoms and bonds has it, so that only the product `runReactants` made gives the same text. Stereo must have been
// assigned.
bool is_stereo_of_rings(const RDKit::Atom &atom);

// What is aromatic, or whether a Kekule form is found at all, may depend on the order of atoms that sanitising happens upon,
// so that flags may not be kept. Rings here are those without an sp3 atom that has four neighbours (figures of 2026-11):
// - a ring of nine or more atoms (1,453 made-up macrocycles, each with such a ring; 1 of 17,000 of np_68k has one);
// - two rings that share more than one bond (`OCc1cc2c3cc1C=3N=C2`; with the macrocycles all 15 of 1,499 made-up sp2
//   polycycles whose flags depended on it);
// - two atoms of a ring of three, which can leave two sets of smallest rings to choose from (`C12=CC=CC3C1(OCN)C2=3`; 3 of
//   1,500 made-up polycycles beyond those above);
// - seven aromatic bonds that rings share, as eight fused rings have: the search for a Kekule form gives up after 100 steps
//   back (renumbered ten times: 4 of 46 made-up polycycles of twelve or more rings, none of 410 smaller ones).
// Rings and hybridisation must be known.
bool has_fragile_aromaticity(const RDKit::ROMol &mol);

// Cages as of prismanes (`C12C3(C4C1C1C3C3C5C(C4C12)C1C5C13)C(=O)O`) have atoms that ranking cannot tell apart although no
// symmetry exchanges them; which is taken first, and with it the text, is for the order of atoms to say, so that only the
// product `runReactants` made has it. Five alike atoms, each in three rings by three bonds (155 of np_68k have them; of
// 5,076 made-up cages 11 wrote another text than RDKit's, none does with this, 2026-11). Rings must be known.
bool is_cage(const RDKit::ROMol &mol);

// Organic subset, bonds, rings and branches; of the brackets only `[nH]`. No stereo, charges, isotopes, radicals, metals
// or fragments, which are what sanitising would have to look at.
bool is_plain_text(const std::string &smiles);

// Reads canonical SMILES that this RDKit wrote, without sanitising again; null where that could tell another molecule
// than the full parse. `is_plain_text` holds for the text.
RDKit::ROMOL_SPTR parse_light(const std::string &smiles);

// What decides, once per parent, whether edits are exact on it, and what they must look after.
enum class EditLane {
  kNone,    // every site takes the full route
  kFlat,    // no stereo anywhere: nothing to perceive again
  kStereo,  // stereo is perceived again on the product: an edit elsewhere can make two branches equal, or swap CIP codes
};
EditLane lane_of(const RDKit::ROMol &mol, const std::string &text);
bool site_allows(const Edit &edit, const RDKit::ROMol &mol, const Site &site);

// The product, ready to be written by `write_edited`; null, or an exception from RDKit's valence check, sends the site to
// the full route. `origins`, if wanted, receives the parent atom of every product atom, -1 for added ones; `touched` the
// mapped atoms and the added ones, in the order of the edit.
std::unique_ptr<RDKit::RWMol> apply_edit(const Edit &edit, const RDKit::ROMol &parent, const Site &site,
                                        std::vector<int> *origins, std::vector<RDKit::Atom *> *touched = nullptr);

// The text of an atom that needs no bracket, else null; and of one that may need one.
const char *plain_symbol(const RDKit::Atom &atom);
std::string bracket_symbol(const RDKit::Atom &atom);

// Canonical SMILES of a molecule of one fragment, equal to `MolToSmiles`, without its copy. `order` receives the atom order
// of the text. The molecule is used up.
std::string write_edited(RDKit::RWMol &mol, EditLane lane, std::vector<unsigned> &order);

}  // namespace halocline
