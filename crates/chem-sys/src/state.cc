// A batch, row by row: read the molecule, expand it, and on a spent budget take back what the row wrote.
#include "state.h"

#include "halocline-chem-sys/src/lib.rs.h"

#include <GraphMol/SmilesParse/SmilesParse.h>
#include <RDGeneral/versions.h>

#include <algorithm>

namespace halocline {
namespace {

// The lane writes SMILES and skips perception as 2022.09 does (differential test over np_68k, 2026-11). Other releases
// canonicalise differently, and run the full route until the same test has been run with them.
bool lane_is_proved() { return std::string_view(RDKit::rdkitVersion).substr(0, 7) == "2022.09"; }

}  // namespace

std::string reason_of(const std::exception &e) {
  std::string reason = e.what();
  const std::string log = take_log();
  if (reason.empty()) {
    return log.empty() ? "RDKit gave no reason" : log;
  }
  return reason;
}

void Columns::clear() {
  product_text.clear();
  product_ends.clear();
  product_rows.clear();
  product_paths.clear();
  product_sites.clear();
  site_atoms.clear();
  site_atom_ends.clear();
  failure_rows.clear();
  failure_rules.clear();
  failure_sites.clear();
  failure_stages.clear();
  failure_text.clear();
  failure_ends.clear();
}

KernelState::KernelState(rust::Slice<const ReactionText> texts, const KernelOptions &options)
    : max_products_(options.max_products),
      max_smiles_bytes_(options.max_smiles_bytes),
      weighed_smiles_bytes_(options.weighed_smiles_bytes),
      row_timeout_ms_(options.row_timeout_ms),
      local_edits_(options.local_edits && lane_is_proved()),
      trusted_input_(options.trusted_input) {
  if (texts.size() > 0x7fff) {
    throw std::invalid_argument("more than 32,767 rules");
  }
  for (const auto &text : texts) {
    rules_.push_back(
        compile_rule(std::string(text.smirks), std::string(text.query), text.max_sites, text.exclude_sugar_like));
    edits_.push_back(compile_edit(rules_.back()));
    const auto alike = std::find_if(rules_.begin(), rules_.end(),
                                    [&](const Rule &rule) { return rule.looks_for == rules_.back().looks_for; });
    first_looking_.push_back(static_cast<size_t>(alike - rules_.begin()));
    num_looking_.push_back(0);
    num_looking_[first_looking_.back()] += 1;
  }
  flat_ = std::make_unique<FlatLane>(rules_.size());
  looked_.resize(rules_.size());
  counts_.resize(rules_.size() * kCounts);
}

std::string KernelState::why_not_local(size_t rule) const {
  return lane_is_proved() ? edits_.at(rule).why_not
                          : std::string("local edits are proved equal to runReactants for RDKit 2022.09, this is ") +
                                RDKit::rdkitVersion;
}

void KernelState::run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth) {
  if (depth == 0) {
    throw std::invalid_argument("depth is at least 1");
  }
  columns.clear();
  overrun.clear();
  std::fill(counts_.begin(), counts_.end(), 0);
  profile = Profile();
  note_.ready();
  uint64_t start = 0;
  for (size_t row = 0; row < ends.size(); ++row) {
    if (ends[row] < start || ends[row] > text.size()) {
      throw std::out_of_range("row ends are not increasing or pass the text");
    }
    const std::string smiles(reinterpret_cast<const char *>(text.data()) + start, ends[row] - start);
    start = ends[row];
    try {
      run_row(static_cast<uint32_t>(row), smiles, depth);
    } catch (const Outgrown &) {
      note_.done();
      throw std::length_error("the products of row " + std::to_string(row) + " of the batch outgrew their memory");
    }
  }
  note_.done();
}

void KernelState::fail(uint32_t row, int32_t rule, int32_t site, Stage stage, const std::string &reason) {
  columns.failure_rows.push_back(row);
  columns.failure_rules.push_back(rule);
  columns.failure_sites.push_back(site);
  columns.failure_stages.push_back(static_cast<uint8_t>(stage));
  columns.failure_text.insert(columns.failure_text.end(), reason.begin(), reason.end());
  columns.failure_ends.push_back(columns.failure_text.size());
}

// Everything a row wrote can be taken back: a rejected parent leaves one failure and no product.
KernelState::Mark KernelState::mark() const {
  return {columns.failure_rows.size(), columns.failure_text.size(), counts_};
}

void KernelState::rewind(const Mark &mark) {
  columns.failure_rows.resize(mark.failures);
  columns.failure_rules.resize(mark.failures);
  columns.failure_sites.resize(mark.failures);
  columns.failure_stages.resize(mark.failures);
  columns.failure_ends.resize(mark.failures);
  columns.failure_text.resize(mark.failure_text);
  counts_ = mark.counts;
}

// What RDKit holds while it ranks and writes a long molecule grows with the square of its text: 8 and 25 MB for chains of 2,000
// and 3,000 carbons, 52 MB for 8,000 bytes of phenols (2026-11), which takes 10 to 30 s. Texts longer than `kPlainText`, to
// which every thread's memory is cut, are weighed before they are read; those that only `--max-smiles-bytes` lets pass are not:
// a weight of gigabytes would end every run.
static constexpr size_t kPlainText = 1500;
static constexpr uint64_t kBytesPerSquare = 3;

void KernelState::run_row(uint32_t row, const std::string &smiles, uint32_t depth) {
  take_log();
  row_start_ = std::chrono::steady_clock::now();
  product_bytes_ = 0;
  const uint64_t size = smiles.size();
  molecule_bytes_ = size > kPlainText && size <= weighed_smiles_bytes_ ? kBytesPerSquare * size * size : 0;
  note_.at(first_row_ + row, row_start_);
  found_.clear();
  index_.clear();
  ordinals_.clear();
  const Mark before = mark();
  Stage stage = Stage::kParse;
  try {
    if (size > max_smiles_bytes_) {
      throw BudgetSpent("more than " + std::to_string(max_smiles_bytes_) + " bytes of SMILES (--max-smiles-bytes)");
    }
    check_budget(row, 0, 1);
    const Text text(smiles, trusted_input_);
    if (skips_parse(text)) {
      return;
    }
    const RDKit::ROMOL_SPTR mol = parse(text);
    stage = Stage::kReact;
    expand(row, text, mol, depth);
  } catch (const BudgetSpent &e) {
    rewind(before);
    fail(row, -1, -1, Stage::kLimit, e.what());
    return;
  } catch (const std::exception &e) {
    rewind(before);
    fail(row, -1, -1, stage, reason_of(e));
    return;
  }
  emit(row);
}

// Text that the light parse would take, and in which no rule has anything to look for.
bool KernelState::skips_parse(const Text &text) const {
  return text.plain && local_edits_ && std::none_of(rules_.begin(), rules_.end(), [&](const Rule &rule) {
           return text.elements.may_have(rule.needs, true);
         });
}

RDKit::ROMOL_SPTR KernelState::parse(const Text &text) {
  StageClock clock(profile, Profile::kParse);
  if (text.plain && local_edits_) {
    if (auto light = parse_light(text.smiles)) {
      profile.slots[Profile::kLightParsed] += 1;
      return light;
    }
    take_log();
  }
  // RDKit's scanner ends at a NUL and takes what stands before it for the whole.
  if (text.smiles.find('\0') != std::string::npos) {
    throw std::runtime_error("the SMILES has a NUL character");
  }
  RDKit::SmilesParserParams params;
  RDKit::ROMOL_SPTR mol(RDKit::SmilesToMol(text.smiles, params));
  if (!mol) {
    const std::string log = take_log();
    throw std::runtime_error(log.empty() ? "RDKit cannot read the SMILES" : log);
  }
  if (mol->getNumAtoms() == 0) {
    throw std::runtime_error("the SMILES has no atoms");
  }
  mol->clearAllAtomBookmarks();
  return mol;
}

// `done`: the share of the work on this parent after which it is checked.
void KernelState::check_budget(uint32_t row, uint64_t products, double done) {
  if (products > max_products_) {
    throw BudgetSpent("more than " + std::to_string(max_products_) + " products of one parent (--max-products)");
  }
  if (product_bytes_ + molecule_bytes_ > max_product_bytes_) {
    const auto in_all = [done](uint64_t so_far) { return static_cast<uint64_t>(static_cast<double>(so_far) / done); };
    overrun = {row, in_all(products), in_all(product_bytes_) + molecule_bytes_};
    throw Outgrown();
  }
  if (row_timeout_ms_ != 0 && std::chrono::steady_clock::now() - row_start_ > std::chrono::milliseconds(row_timeout_ms_)) {
    throw BudgetSpent("the parent took longer than " + std::to_string(row_timeout_ms_) + " ms (--row-timeout)");
  }
}

}  // namespace halocline
