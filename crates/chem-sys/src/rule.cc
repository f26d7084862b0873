// Turns SMIRKS and query SMARTS into compiled rules, and refuses what the kernel cannot honour.
#include "internal.h"

#include <GraphMol/ChemReactions/ReactionParser.h>
#include <GraphMol/SmilesParse/SmartsWrite.h>
#include <GraphMol/SmilesParse/SmilesParse.h>

#include <stdexcept>

namespace halocline {
namespace {

std::string with_log(const std::string &message) {
  const std::string log = take_log();
  return log.empty() ? message : message + ": " + log;
}

std::string reactant_text(const std::string &smirks) { return smirks.substr(0, smirks.find(">>")); }

}  // namespace

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
  rule.reaction->initReactantMatchers(true);
  rule.reactant = *rule.reaction->beginReactantTemplates();
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
    for (const auto *q : pattern->atoms()) {
      if (q->getAtomMapNum() == 0) {
        continue;
      }
      for (const auto *r : rule.reactant->atoms()) {
        if (r->getAtomMapNum() == q->getAtomMapNum()) {
          rule.shared_maps.emplace_back(q->getIdx(), r->getIdx());
        }
      }
    }
    rule.query = std::move(pattern);
  }
  take_log();
  return rule;
}

}  // namespace halocline
