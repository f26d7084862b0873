// One parent, step by step: its sites, their products, and the rows they become.
#include "state.h"

#include <algorithm>
#include <optional>

namespace halocline {
namespace {

// What a product costs at its dearest: its text here, in the index, in the columns and in the caller's copy, each of the
// last two in a buffer that may have just doubled; four small vectors and the nodes of the index.
uint64_t bytes_of(const Written &written) {
  return 4 * written.smiles.size() + 4 * written.origins.size() + 400;
}

int32_t parent_atom(const Intermediate &from, int32_t atom) {
  if (from.path.empty()) {
    return atom;
  }
  return static_cast<size_t>(atom) < from.parent_atoms.size() ? from.parent_atoms[atom] : -1;
}

void append_parent_atoms(const Intermediate &from, const Site &site, std::vector<int32_t> &out) {
  for (const int atom : site.atoms) {
    out.push_back(parent_atom(from, atom));
  }
}

Intermediate follow(const Intermediate &from, uint16_t rule, const Site &site, Written &&written) {
  Intermediate to;
  to.path = from.path;
  to.path.push_back(rule);
  to.sites = from.sites;
  to.sites.push_back(site.index);
  to.site_atoms = from.site_atoms;
  append_parent_atoms(from, site, to.site_atoms);
  for (const int origin : written.origins) {
    to.parent_atoms.push_back(origin >= 0 ? parent_atom(from, origin) : -1);
  }
  to.smiles = std::move(written.smiles);
  return to;
}

// Products of one pattern on one parent from which on finding those that are alike costs less than writing them.
constexpr size_t kWorthSymmetry = 8;

}  // namespace

void KernelState::expand(uint32_t row, const Text &text, const RDKit::ROMOL_SPTR &mol, uint32_t depth) {
  std::vector<Intermediate> frontier(1);
  for (uint32_t step = 1; step <= depth; ++step) {
    const bool last = step == depth;
    std::vector<Intermediate> next;
    std::unordered_map<std::string, size_t> seen;
    double reactants = 0;
    for (auto &from : frontier) {
      reactants += 1;
      std::optional<Text> own;
      RDKit::ROMOL_SPTR reactant = mol;
      if (step > 1) {
        own.emplace(from.smiles, true);
        if (skips_parse(*own)) {
          continue;
        }
        reactant = parse_intermediate(row, from, *own);
        if (!reactant) {
          continue;
        }
      }
      react(row, Parent(reactant), own ? *own : text, last, [&](uint16_t rule, const Site &site, Written &&written) {
        const uint64_t bytes = bytes_of(written);
        bool fresh = true;
        if (last) {
          fresh = keep(from, rule, site, std::move(written.smiles));
        } else if ((fresh = seen.emplace(written.smiles, next.size()).second)) {
          next.push_back(follow(from, rule, site, std::move(written)));
        }
        // One that is there already takes no more room.
        product_bytes_ += fresh ? bytes : 0;
        check_budget(row, last ? found_.size() : next.size(), reactants / static_cast<double>(frontier.size()));
      });
    }
    frontier = std::move(next);
  }
}

// An intermediate is its canonical SMILES, read again: depth 2 equals depth 1 applied to depth 1's table.
RDKit::ROMOL_SPTR KernelState::parse_intermediate(uint32_t row, const Intermediate &from, const Text &text) {
  try {
    return parse(text);
  } catch (const std::exception &e) {
    count(from.path.back(), kFailed) += 1;
    fail(row, from.path.back(), from.sites.back(), Stage::kParse, reason_of(e));
    return {};
  }
}

// Rules that look for the same thing share what one of them finds.
KernelState::Found &KernelState::look(size_t rule, Parent &parent) {
  Found &found = looked_[first_looking_[rule]];
  if (!found.looked) {
    StageClock clock(profile, Profile::kMatch);
    found.counts = SiteCounts();
    try {
      found.sites = find_sites(rules_[rule], parent, found.counts);
    } catch (const std::exception &e) {
      throw BudgetSpent(reason_of(e));
    }
    found.first_alike.clear();
    found.looked = true;
  }
  return found;
}

void KernelState::react(uint32_t row, Parent parent, const Text &text, bool last, const Sink &sink) {
  const EditLane lane = local_edits_ ? lane_of(*parent.mol(), text.smiles) : EditLane::kNone;
  std::unique_ptr<FlatParent> flat;
  bool flat_made = lane != EditLane::kFlat;
  std::optional<FlatSymmetry> symmetry;
  for (auto &found : looked_) {
    found.looked = false;
  }
  for (size_t r = 0; r < rules_.size(); ++r) {
    if (local_edits_ && !text.elements.may_have(rules_[r].needs, false)) {
      continue;
    }
    const auto rule = static_cast<uint16_t>(r);
    Found &found = look(r, parent);
    count(r, kMatched) += found.counts.matched;
    count(r, kMasked) += found.counts.masked;
    count(r, kCapped) += found.counts.capped;
    // Texts of products that others are alike to, by site; worth looking for symmetry only where it serves several.
    const bool shares = last && lane == EditLane::kFlat && edits_[r].edit && found.sites.size() > 1 &&
                        found.sites.size() * num_looking_[first_looking_[r]] >= kWorthSymmetry;
    std::unordered_map<size_t, std::string> texts;
    for (size_t s = 0; s < found.sites.size(); ++s) {
      const Site &site = found.sites[s];
      if (lane != EditLane::kNone && edits_[r].edit && site_allows(*edits_[r].edit, *parent.mol(), site)) {
        if (!flat_made) {
          flat = FlatParent::of(*parent.mol());
          flat_made = true;
        }
        std::string *text_to_share = nullptr;
        if (shares && flat) {
          if (!symmetry) {
            StageClock clock(profile, Profile::kMatch);
            symmetry.emplace(flat_->symmetry_of(*flat));
          }
          if (found.first_alike.empty()) {
            StageClock clock(profile, Profile::kMatch);
            found.first_alike = symmetry->first_alike(found.sites);
          }
          const size_t first = found.first_alike[s];
          const auto known = texts.find(first);
          if (first != s && known != texts.end() && !known->second.empty()) {
            profile.slots[Profile::kEdited] += 1;
            profile.slots[Profile::kShared] += 1;
            count(r, kProducts) += 1;
            sink(rule, site, Written{known->second, {}});
            continue;
          }
          if (found.has_alike(s)) {
            text_to_share = &texts[s];
          }
        }
        if (flat && flat_route(rule, parent, *flat, site, last, text_to_share, sink)) {
          continue;
        }
        if (edit_route(rule, parent, site, lane, last, sink)) {
          continue;
        }
      }
      full_route(row, rule, parent, site, last, sink);
    }
  }
}

// At depth 1 every site is a row. Deeper, each distinct product is kept once per parent, the first in row order: by
// rule path, then by the order in which the path's products come up. True when it was not there before.
bool KernelState::keep(const Intermediate &from, uint16_t rule, const Site &site, std::string &&smiles) {
  Product product;
  product.path = from.path;
  product.path.push_back(rule);
  product.atoms = from.site_atoms;
  append_parent_atoms(from, site, product.atoms);
  if (from.path.empty()) {
    product.site = site.index;
    product.smiles = std::move(smiles);
    found_.push_back(std::move(product));
    return true;
  }
  product.site = ordinals_[product.path]++;
  const auto [entry, fresh] = index_.emplace(std::move(smiles), found_.size());
  if (fresh) {
    product.smiles = entry->first;
    found_.push_back(std::move(product));
  } else if (auto &held = found_[entry->second]; product.path < held.path) {
    product.smiles = std::move(held.smiles);
    held = std::move(product);
  }
  return fresh;
}

void KernelState::emit(uint32_t row) {
  std::stable_sort(found_.begin(), found_.end(), [](const Product &a, const Product &b) {
    return a.path != b.path ? a.path < b.path : a.site < b.site;
  });
  for (const auto &product : found_) {
    columns.product_text.insert(columns.product_text.end(), product.smiles.begin(), product.smiles.end());
    columns.product_ends.push_back(columns.product_text.size());
    columns.product_rows.push_back(row);
    columns.product_paths.insert(columns.product_paths.end(), product.path.begin(), product.path.end());
    columns.product_sites.push_back(product.site);
    columns.site_atoms.insert(columns.site_atoms.end(), product.atoms.begin(), product.atoms.end());
    columns.site_atom_ends.push_back(columns.site_atoms.size());
  }
  found_.clear();
  index_.clear();
  ordinals_.clear();
}

}  // namespace halocline
