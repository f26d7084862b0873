// Turns SMIRKS and query SMARTS into compiled rules, and refuses what the kernel cannot honour.
#include "internal.h"

#include <GraphMol/ChemReactions/ReactionParser.h>
#include <GraphMol/QueryAtom.h>
#include <GraphMol/QueryOps.h>
#include <GraphMol/SmilesParse/SmilesParse.h>

#include <set>
#include <stdexcept>

namespace halocline {
namespace {

std::string with_log(const std::string &message) {
  const std::string log = take_log();
  return log.empty() ? message : message + ": " + log;
}

// The elements a query atom insists on: of its conjunctions only, since an `or` insists on nothing.
void collect_needs(const RDKit::QueryAtom::QUERYATOM_QUERY &query, std::vector<Needed> &needs) {
  if (query.getNegation()) {
    return;
  }
  const std::string &what = query.getDescription();
  if (what == "AtomAnd") {
    for (auto child = query.beginChildren(); child != query.endChildren(); ++child) {
      collect_needs(**child, needs);
    }
    return;
  }
  const auto *equality = dynamic_cast<const RDKit::ATOM_EQUALS_QUERY *>(&query);
  if (equality == nullptr) {
    return;
  }
  if (what == "AtomAtomicNum") {
    needs.push_back({equality->getVal(), -1});
  } else if (what == "AtomType") {
    needs.push_back({RDKit::getAtomTypeAtomicNum(equality->getVal()),
                     RDKit::getAtomTypeIsAromatic(equality->getVal()) ? 1 : 0});
  }
}

std::vector<Needed> needs_of(const RDKit::ROMol &pattern) {
  std::vector<Needed> needs;
  for (const auto *atom : pattern.atoms()) {
    const auto its = needs_of_atom(*atom);
    needs.insert(needs.end(), its.begin(), its.end());
  }
  return needs;
}

// Map numbers that no reactant atom has: RDKit makes such an atom anew in every product, and says so only in its log.
std::string product_only_maps(const RDKit::ChemicalReaction &reaction, const RDKit::ROMol &reactant) {
  std::set<int> known;
  for (const auto *atom : reactant.atoms()) {
    known.insert(atom->getAtomMapNum());
  }
  std::set<int> unknown;
  for (const auto &product : reaction.getProducts()) {
    for (const auto *atom : product->atoms()) {
      const int number = atom->getAtomMapNum();
      if (number != 0 && known.count(number) == 0) {
        unknown.insert(number);
      }
    }
  }
  std::string text;
  for (const int number : unknown) {
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  }
  return text;
}

std::string reactant_text(const std::string &smirks) { return smirks.substr(0, smirks.find(">>")); }

}  // namespace

std::vector<Needed> needs_of_atom(const RDKit::Atom &atom) {
  std::vector<Needed> needs;
  if (atom.hasQuery()) {
    collect_needs(*atom.getQuery(), needs);
  }
  return needs;
}

Rule compile_rule(const std::string &smirks, const std::string &query, int64_t max_sites, bool exclude_sugar_like) {
  take_log();
  Rule rule;
  try {
    rule.reaction.reset(RDKit::RxnSmartsToChemicalReaction(smirks));
  } catch (const std::exception &e) {
    throw std::runtime_error(with_log(e.what()));
  }
  if (!rule.reaction) {
    throw std::runtime_error(with_log("RDKit cannot read the SMIRKS"));
  }
  if (rule.reaction->getNumReactantTemplates() != 1) {
    throw std::runtime_error("a rule has one reactant template; this SMIRKS has " +
                             std::to_string(rule.reaction->getNumReactantTemplates()) +
                             " (group fragments of one molecule in parentheses: `([A:1].[B:2])>>...`)");
  }
  if (rule.reaction->getNumProductTemplates() == 0) {
    throw std::runtime_error("the SMIRKS has no product");
  }
  unsigned warnings = 0;
  unsigned errors = 0;
  rule.reaction->validate(warnings, errors, false);
  if (errors != 0) {
    throw std::runtime_error(with_log("RDKit finds " + std::to_string(errors) + " error(s) in the SMIRKS"));
  }
  // RDKit's warnings about the SMIRKS are not about the query.
  take_log();
  rule.reaction->initReactantMatchers(true);
  rule.reactant = *rule.reaction->beginReactantTemplates();
  rule.product_only_maps = product_only_maps(*rule.reaction, *rule.reactant);
  rule.max_sites = max_sites;
  rule.exclude_sugar_like = exclude_sugar_like;

  if (!query.empty() && query != reactant_text(smirks)) {
    std::unique_ptr<RDKit::ROMol> pattern;
    try {
      pattern.reset(RDKit::SmartsToMol(query));
    } catch (const std::exception &e) {
      throw std::runtime_error(with_log(std::string("query SMARTS: ") + e.what()));
    }
    if (!pattern) {
      throw std::runtime_error(with_log("RDKit cannot read the query SMARTS"));
    }
    std::set<int> named;
    for (const auto *q : pattern->atoms()) {
      if (q->getAtomMapNum() == 0) {
        continue;
      }
      // One site would have to be two atoms.
      if (!named.insert(q->getAtomMapNum()).second) {
        throw std::runtime_error("query SMARTS: map number " + std::to_string(q->getAtomMapNum()) + " occurs twice");
      }
      for (const auto *r : rule.reactant->atoms()) {
        if (r->getAtomMapNum() == q->getAtomMapNum()) {
          rule.shared_maps.emplace_back(q->getIdx(), r->getIdx());
        }
      }
    }
    rule.query = std::move(pattern);
  }
  rule.needs = needs_of(*rule.reactant);
  rule.looks_for = reactant_text(smirks) + ' ' + (rule.query ? query : "") + ' ' + std::to_string(max_sites) +
                   (exclude_sugar_like ? " masked" : "");
  take_log();
  return rule;
}

TextElements::TextElements(const std::string &smiles) {
  bool in_bracket = false;
  for (const char c : smiles) {
    if (c >= 'A' && c <= 'Z') {
      upper_[c - 'A'] = true;
    } else if (c >= 'a' && c <= 'z') {
      lower_[c - 'a'] = true;
    } else if (c == '[' || c == ']') {
      in_bracket = c == '[';
    } else if (c == '#' && in_bracket) {
      numbered_ = true;
    }
  }
}

bool TextElements::may_have(const std::vector<Needed> &needs, bool as_written) const {
  if (numbered_) {
    return true;
  }
  for (const auto &need : needs) {
    char letter = 0;
    char second = 0;
    switch (need.atomic_num) {
      case 6:
        letter = 'C';
        break;
      case 7:
        letter = 'N';
        break;
      case 8:
        letter = 'O';
        break;
      case 9:
        letter = 'F';
        break;
      case 15:
        letter = 'P';
        break;
      case 16:
        letter = 'S';
        break;
      case 17:
        letter = 'C';
        second = 'l';
        break;
      case 35:
        letter = 'B';
        second = 'r';
        break;
      case 53:
        letter = 'I';
        break;
      default:
        continue;
    }
    const bool upper = upper_[letter - 'A'];
    const bool lower = second == 0 && lower_[letter - 'A'];
    const bool there = (!as_written || need.aromatic < 0 ? upper || lower : (need.aromatic == 1 ? lower : upper)) &&
                       (second == 0 || lower_[second - 'a']);
    if (!there) {
      return false;
    }
  }
  return true;
}

}  // namespace halocline
