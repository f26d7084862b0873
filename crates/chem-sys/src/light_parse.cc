// Reading SMILES that this RDKit wrote, without sanitising them again.
#include "lane.h"

#include <GraphMol/MolOps.h>
#include <GraphMol/RingInfo.h>
#include <GraphMol/SmilesParse/SmilesParse.h>

namespace halocline {

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
    if (has_fragile_aromaticity(*mol)) {
      return {};
    }
  } catch (const std::exception &) {
    return {};
  }
  mol->setProp(RDKit::common_properties::_StereochemDone, 1, true);
  mol->clearAllAtomBookmarks();
  return RDKit::ROMOL_SPTR(mol.release());
}

}  // namespace halocline
