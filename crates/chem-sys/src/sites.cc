// Where a rule may act: matches of its reactant template, less the sugar mask, less what the cap cuts.
#include "internal.h"

#include <GraphMol/RingInfo.h>
#include <GraphMol/new_canon.h>

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>

namespace halocline {
namespace {

// Matches of one rule on one molecule past which the molecule is refused, never silently cut (RDKit's own default is
// 1,000 with only a log line).
constexpr unsigned kMostMatches = 1'000'000;

std::vector<RDKit::MatchVectType> all_matches(const RDKit::ROMol &mol, const RDKit::ROMol &pattern) {
  RDKit::SubstructMatchParameters params;
  params.uniquify = false;  // one product per match, symmetric ones included
  params.maxMatches = kMostMatches;
  auto matches = RDKit::SubstructMatch(mol, pattern, params);
  if (matches.size() >= kMostMatches) {
    throw std::length_error("more than " + std::to_string(kMostMatches - 1) + " matches of one rule");
  }
  return matches;
}

bool is_sp3_carbon(const RDKit::Atom &atom) {
  return atom.getAtomicNum() == 6 && atom.getHybridization() == RDKit::Atom::SP3;
}

// The definition of issue 1: 5 or 6 members, not aromatic, exactly one ring oxygen, no carbonyl in the ring, sp3 carbons
// at least 40 % (5) or 50 % (6) of the members, at least two exocyclic single-bonded oxygens.
bool is_sugar_ring(const RDKit::ROMol &mol, const std::vector<int> &ring) {
  const size_t size = ring.size();
  if (size != 5 && size != 6) {
    return false;
  }
  const std::set<unsigned> members(ring.begin(), ring.end());
  unsigned ring_oxygens = 0;
  unsigned sp3_carbons = 0;
  // Atoms, not bonds: one that bridges the ring is one.
  std::set<unsigned> exocyclic_oxygens;
  for (const unsigned idx : members) {
    const auto &atom = *mol.getAtomWithIdx(idx);
    if (atom.getIsAromatic()) {
      return false;
    }
    ring_oxygens += atom.getAtomicNum() == 8;
    sp3_carbons += is_sp3_carbon(atom);
    for (const auto *bond : mol.atomBonds(&atom)) {
      const auto &other = *bond->getOtherAtom(&atom);
      if (other.getAtomicNum() != 8 || members.count(other.getIdx()) != 0) {
        continue;
      }
      if (bond->getBondType() == RDKit::Bond::DOUBLE && atom.getAtomicNum() == 6) {
        return false;
      }
      if (bond->getBondType() == RDKit::Bond::SINGLE) {
        exocyclic_oxygens.insert(other.getIdx());
      }
    }
  }
  // 40 % of 5 members is 2, 50 % of 6 is 3.
  const unsigned least_sp3 = size == 5 ? 2 : 3;
  return ring_oxygens == 1 && sp3_carbons >= least_sp3 && exocyclic_oxygens.size() >= 2;
}

// Keeps the sites whose mapped atoms agree with some match of the query; with no shared map numbers the query decides
// for the molecule as a whole.
void filter_by_query(const Rule &rule, const RDKit::ROMol &mol, std::vector<Site> &sites) {
  const auto matches = all_matches(mol, *rule.query);
  if (rule.shared_maps.empty()) {
    if (matches.empty()) {
      sites.clear();
    }
    return;
  }
  std::set<std::vector<int>> allowed;
  for (const auto &match : matches) {
    std::vector<int> key;
    for (const auto &[query_atom, template_atom] : rule.shared_maps) {
      (void)template_atom;
      for (const auto &[pattern_idx, mol_idx] : match) {
        if (static_cast<unsigned>(pattern_idx) == query_atom) {
          key.push_back(mol_idx);
        }
      }
    }
    allowed.insert(std::move(key));
  }
  sites.erase(std::remove_if(sites.begin(), sites.end(),
                             [&](const Site &site) {
                               std::vector<int> key;
                               for (const auto &[query_atom, template_atom] : rule.shared_maps) {
                                 (void)query_atom;
                                 key.push_back(site.atoms[template_atom]);
                               }
                               return allowed.count(key) == 0;
                             }),
              sites.end());
}

}  // namespace

const std::vector<bool> &Parent::sugar_atoms() {
  if (!sugar_atoms_) {
    std::vector<bool> marked(mol_->getNumAtoms(), false);
    for (const auto &ring : mol_->getRingInfo()->atomRings()) {
      if (!is_sugar_ring(*mol_, ring)) {
        continue;
      }
      for (const int idx : ring) {
        marked[idx] = true;
        for (const auto *neighbour : mol_->atomNeighbors(mol_->getAtomWithIdx(idx))) {
          marked[neighbour->getIdx()] = true;
        }
      }
    }
    sugar_atoms_ = std::move(marked);
  }
  return *sugar_atoms_;
}

const std::vector<unsigned> &Parent::canonical_ranks() {
  if (!ranks_) {
    std::vector<unsigned> ranks;
    RDKit::Canon::rankMolAtoms(*mol_, ranks, true);
    ranks_ = std::move(ranks);
  }
  return *ranks_;
}

std::vector<Site> find_sites(const Rule &rule, Parent &parent, SiteCounts &counts) {
  const auto &mol = *parent.mol();
  const auto matches = all_matches(mol, *rule.reactant);
  std::vector<Site> sites;
  sites.reserve(matches.size());
  for (const auto &match : matches) {
    Site site;
    site.index = static_cast<int32_t>(sites.size());
    site.atoms.resize(match.size());
    for (const auto &[template_idx, mol_idx] : match) {
      site.atoms[template_idx] = mol_idx;
    }
    sites.push_back(std::move(site));
  }
  if (rule.query && !sites.empty()) {
    filter_by_query(rule, mol, sites);
  }
  counts.matched += sites.size();

  if (rule.exclude_sugar_like && !sites.empty()) {
    const auto &sugar = parent.sugar_atoms();
    const auto before = sites.size();
    sites.erase(std::remove_if(sites.begin(), sites.end(),
                               [&](const Site &site) {
                                 return std::any_of(site.atoms.begin(), site.atoms.end(),
                                                    [&](int atom) { return sugar[atom]; });
                               }),
                sites.end());
    counts.masked += before - sites.size();
  }

  if (rule.max_sites >= 0 && sites.size() > static_cast<size_t>(rule.max_sites)) {
    // Canonical rank, not text order, so that the choice does not depend on how the SMILES was written.
    const auto &ranks = parent.canonical_ranks();
    std::vector<std::pair<std::vector<unsigned>, size_t>> order;
    for (size_t i = 0; i < sites.size(); ++i) {
      std::vector<unsigned> key;
      for (const int atom : sites[i].atoms) {
        key.push_back(ranks[atom]);
      }
      order.emplace_back(std::move(key), i);
    }
    std::sort(order.begin(), order.end());
    counts.capped += sites.size() - rule.max_sites;
    order.resize(rule.max_sites);
    std::vector<size_t> kept;
    for (const auto &[key, i] : order) {
      kept.push_back(i);
    }
    std::sort(kept.begin(), kept.end());
    std::vector<Site> chosen;
    for (const size_t i : kept) {
      chosen.push_back(std::move(sites[i]));
    }
    sites = std::move(chosen);
  }
  return sites;
}

}  // namespace halocline
