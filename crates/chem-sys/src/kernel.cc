// The batch loop: parse a row, find sites, make products, expand to the asked depth, fill the columns.
#include "halocline-chem-sys/src/kernel.h"

#include "halocline-chem-sys/src/lib.rs.h"
#include "internal.h"
#include "lane.h"

#include <GraphMol/ChemReactions/ReactionRunner.h>
#include <GraphMol/MolOps.h>
#include <GraphMol/PeriodicTable.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>
#include <RDGeneral/RDLog.h>
#include <RDGeneral/versions.h>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <ostream>
#include <stdexcept>
#include <streambuf>

namespace halocline {
namespace {

// RDKit's loggers are process-wide; this buffer sends what a thread logs to that thread's own string.
thread_local std::string thread_log;
constexpr size_t kMostLogBytes = 4096;

class ThreadLogBuffer : public std::streambuf {
 protected:
  int_type overflow(int_type c) override {
    if (c != traits_type::eof() && thread_log.size() < kMostLogBytes) {
      thread_log.push_back(static_cast<char>(c));
    }
    return c == traits_type::eof() ? 0 : c;
  }
  std::streamsize xsputn(const char *s, std::streamsize n) override {
    const size_t room = kMostLogBytes - std::min(kMostLogBytes, thread_log.size());
    thread_log.append(s, std::min(static_cast<size_t>(n), room));
    return n;
  }
};

// Ends the work on one parent: thrown for its budget of time or products, caught in `run_row`.
struct BudgetSpent : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The products of one parent take more memory than the caller has for them: no property of the molecule, and so no
// failure of its row but the end of the batch. Deliberately no `std::exception`, which would cost a site or the row.
struct Outgrown {};

// An intermediate of a multi-step expansion: its text, how it was made, and which parent atom each of its atoms was.
struct Intermediate {
  std::string smiles;
  std::vector<uint16_t> path;
  std::vector<int32_t> sites;
  std::vector<int32_t> site_atoms;
  std::vector<int32_t> parent_atoms;  // -1: added by a reaction
};

// A product written out. `origins`: the reactant atom of every atom in the order of the text, -1 for added ones; filled
// only when another step follows.
struct Written {
  std::string smiles;
  std::vector<int> origins;
};

bool has_hydrogen_atom(const RDKit::ROMol &mol) {
  for (const auto *atom : mol.atoms()) {
    if (atom->getAtomicNum() == 1) {
      return true;
    }
  }
  return false;
}

// The lane writes SMILES and skips perception as 2022.09 does (differential test over np_68k, 2026-11). Other releases
// canonicalise differently, and run the full route until the same test has been run with them.
bool lane_is_proved() { return std::string_view(RDKit::rdkitVersion).substr(0, 7) == "2022.09"; }

std::string reason_of(const std::exception &e) {
  std::string reason = e.what();
  const std::string log = take_log();
  if (reason.empty()) {
    return log.empty() ? "RDKit gave no reason" : log;
  }
  return reason;
}

}  // namespace

// `[07:00:01] ` in front of every log line, and the line breaks, are not part of RDKit's words.
std::string take_log() {
  std::string out;
  size_t start = 0;
  while (start < thread_log.size()) {
    size_t end = thread_log.find('\n', start);
    if (end == std::string::npos) {
      end = thread_log.size();
    }
    std::string line = thread_log.substr(start, end - start);
    if (line.size() > 11 && line[0] == '[' && line[3] == ':' && line[6] == ':' && line[9] == ']') {
      line.erase(0, 11);
    }
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) {
      line.pop_back();
    }
    if (!line.empty()) {
      out += out.empty() ? line : " | " + line;
    }
    start = end + 1;
  }
  thread_log.clear();
  return out;
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

// Where a kernel notes the row it is at, for the process that watches this one: a slot of the file given to `watch_rows`.
// Two stores per row; the file outlives this process however it ends.
class RowNote {
 public:
  struct Slot {
    std::atomic<uint64_t> row_plus_one;
    std::atomic<uint64_t> started_ms;
  };
  static_assert(sizeof(Slot) == 16);

  static void map(int fd, size_t bytes) {
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
      throw std::runtime_error(std::string("cannot map the file of rows: ") + std::strerror(errno));
    }
    const std::lock_guard<std::mutex> lock(mutex());
    for (size_t i = bytes / sizeof(Slot); i > 0; --i) {
      free_slots().push_back(static_cast<Slot *>(at) + (i - 1));
    }
  }

  RowNote() = default;
  RowNote(const RowNote &) = delete;
  RowNote &operator=(const RowNote &) = delete;
  ~RowNote() {
    if (slot_ != nullptr) {
      const std::lock_guard<std::mutex> lock(mutex());
      free_slots().push_back(slot_);
    }
  }

  // Before the first row of a batch: kernels that never run need no slot.
  void ready() {
    if (slot_ == nullptr) {
      const std::lock_guard<std::mutex> lock(mutex());
      if (!free_slots().empty()) {
        slot_ = free_slots().back();
        free_slots().pop_back();
      }
    }
  }
  void at(uint64_t row, std::chrono::steady_clock::time_point start) {
    if (slot_ != nullptr) {
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(start.time_since_epoch()).count();
      slot_->started_ms.store(static_cast<uint64_t>(ms), std::memory_order_relaxed);
      slot_->row_plus_one.store(row + 1, std::memory_order_release);
    }
  }
  void done() {
    if (slot_ != nullptr) {
      slot_->row_plus_one.store(0, std::memory_order_release);
    }
  }

 private:
  static std::mutex &mutex() {
    static std::mutex mutex;
    return mutex;
  }
  static std::vector<Slot *> &free_slots() {
    static std::vector<Slot *> slots;
    return slots;
  }
  Slot *slot_ = nullptr;
};

class KernelState {
 public:
  KernelState(rust::Slice<const ReactionText> texts, const KernelOptions &options)
      : max_products_(options.max_products),
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
    }
    counts_.resize(rules_.size() * kCounts);
  }

  void run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth) {
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

  size_t num_rules() const { return rules_.size(); }
  void set_max_product_bytes(uint64_t bytes) { max_product_bytes_ = bytes; }
  void set_first_row(uint64_t row) { first_row_ = row; }
  std::string why_not_local(size_t rule) const {
    return lane_is_proved() ? edits_.at(rule).why_not
                            : std::string("local edits are proved equal to runReactants for RDKit 2022.09, this is ") +
                                  RDKit::rdkitVersion;
  }
  const std::vector<uint64_t> &counts() const { return counts_; }

  Columns columns;
  Profile profile;
  std::vector<uint64_t> overrun;

 private:
  enum Count { kMatched, kMasked, kCapped, kProducts, kFailed, kCounts };

  uint64_t &count(size_t rule, Count which) { return counts_[rule * kCounts + which]; }

  void fail(uint32_t row, int32_t rule, int32_t site, Stage stage, const std::string &reason) {
    columns.failure_rows.push_back(row);
    columns.failure_rules.push_back(rule);
    columns.failure_sites.push_back(site);
    columns.failure_stages.push_back(static_cast<uint8_t>(stage));
    columns.failure_text.insert(columns.failure_text.end(), reason.begin(), reason.end());
    columns.failure_ends.push_back(columns.failure_text.size());
  }

  // Takes back everything a row wrote: a rejected parent leaves one failure and no product.
  struct Mark {
    size_t failures;
    size_t failure_text;
    std::vector<uint64_t> counts;
  };
  Mark mark() const { return {columns.failure_rows.size(), columns.failure_text.size(), counts_}; }
  void rewind(const Mark &mark) {
    columns.failure_rows.resize(mark.failures);
    columns.failure_rules.resize(mark.failures);
    columns.failure_sites.resize(mark.failures);
    columns.failure_stages.resize(mark.failures);
    columns.failure_ends.resize(mark.failures);
    columns.failure_text.resize(mark.failure_text);
    counts_ = mark.counts;
  }

  void run_row(uint32_t row, const std::string &smiles, uint32_t depth) {
    take_log();
    row_start_ = std::chrono::steady_clock::now();
    product_bytes_ = 0;
    note_.at(first_row_ + row, row_start_);
    found_.clear();
    index_.clear();
    ordinals_.clear();
    const Mark before = mark();
    Stage stage = Stage::kParse;
    try {
      if (skips_parse(smiles, trusted_input_)) {
        return;
      }
      RDKit::ROMOL_SPTR mol = parse(smiles, trusted_input_);
      stage = Stage::kReact;
      expand(row, smiles, mol, depth);
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

  // Text that this RDKit wrote, that the light parse would take, and in which no rule has anything to look for.
  bool skips_parse(const std::string &smiles, bool trusted) const {
    if (!trusted || !local_edits_ || !is_plain_text(smiles)) {
      return false;
    }
    const TextElements elements(smiles);
    return std::none_of(rules_.begin(), rules_.end(),
                        [&](const Rule &rule) { return elements.may_have(rule.needs, true); });
  }

  // `trusted`: the text was written by this RDKit.
  RDKit::ROMOL_SPTR parse(const std::string &smiles, bool trusted) {
    StageClock clock(profile, Profile::kParse);
    if (trusted && local_edits_) {
      if (auto light = parse_light(smiles)) {
        profile.slots[Profile::kLightParsed] += 1;
        return light;
      }
      take_log();
    }
    RDKit::SmilesParserParams params;
    RDKit::ROMOL_SPTR mol(RDKit::SmilesToMol(smiles, params));
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

  // What a product costs at its dearest: its text here, in the index, in the columns and in the caller's copy, each of the
  // last two in a buffer that may have just doubled; four small vectors and the nodes of the index.
  static uint64_t bytes_of(const Written &written) {
    return 4 * written.smiles.size() + 4 * written.origins.size() + 400;
  }

  // `done`: the share of the work on this parent after which it is checked.
  void check_budget(uint32_t row, uint64_t products, double done) {
    if (products > max_products_) {
      throw BudgetSpent("more than " + std::to_string(max_products_) + " products of one parent (--max-products)");
    }
    if (product_bytes_ > max_product_bytes_) {
      const auto in_all = [done](uint64_t so_far) { return static_cast<uint64_t>(static_cast<double>(so_far) / done); };
      overrun = {row, in_all(products), in_all(product_bytes_)};
      throw Outgrown();
    }
    if (row_timeout_ms_ != 0 && std::chrono::steady_clock::now() - row_start_ > std::chrono::milliseconds(row_timeout_ms_)) {
      throw BudgetSpent("the parent took longer than " + std::to_string(row_timeout_ms_) + " ms (--row-timeout)");
    }
  }

  void expand(uint32_t row, const std::string &smiles, const RDKit::ROMOL_SPTR &mol, uint32_t depth) {
    std::vector<Intermediate> frontier(1);
    frontier[0].smiles = smiles;
    for (uint32_t step = 1; step <= depth; ++step) {
      const bool last = step == depth;
      std::vector<Intermediate> next;
      std::unordered_map<std::string, size_t> seen;
      double reactants = 0;
      for (auto &from : frontier) {
        reactants += 1;
        if (step > 1 && skips_parse(from.smiles, true)) {
          continue;
        }
        RDKit::ROMOL_SPTR reactant = step == 1 ? mol : parse_intermediate(row, from);
        if (!reactant) {
          continue;
        }
        react(row, Parent(reactant), from, last, [&](uint16_t rule, const Site &site, Written &&written) {
          product_bytes_ += bytes_of(written);
          if (last) {
            keep(from, rule, site, std::move(written.smiles));
          } else if (seen.emplace(written.smiles, next.size()).second) {
            next.push_back(follow(from, rule, site, std::move(written)));
          }
          check_budget(row, last ? found_.size() : next.size(), reactants / static_cast<double>(frontier.size()));
        });
      }
      frontier = std::move(next);
    }
  }

  // An intermediate is its canonical SMILES, read again: depth 2 equals depth 1 applied to depth 1's table.
  RDKit::ROMOL_SPTR parse_intermediate(uint32_t row, const Intermediate &from) {
    try {
      return parse(from.smiles, true);
    } catch (const std::exception &e) {
      count(from.path.back(), kFailed) += 1;
      fail(row, from.path.back(), from.sites.back(), Stage::kParse, reason_of(e));
      return {};
    }
  }

  template <typename Sink>
  void react(uint32_t row, Parent parent, const Intermediate &from, bool last, Sink &&sink) {
    const EditLane lane = local_edits_ ? lane_of(*parent.mol(), from.smiles) : EditLane::kNone;
    const TextElements elements(from.smiles);
    for (size_t r = 0; r < rules_.size(); ++r) {
      if (local_edits_ && !elements.may_have(rules_[r].needs, false)) {
        continue;
      }
      const auto rule = static_cast<uint16_t>(r);
      std::vector<Site> sites;
      {
        StageClock clock(profile, Profile::kMatch);
        SiteCounts site_counts;
        try {
          sites = find_sites(rules_[r], parent, site_counts);
        } catch (const std::exception &e) {
          throw BudgetSpent(reason_of(e));
        }
        count(r, kMatched) += site_counts.matched;
        count(r, kMasked) += site_counts.masked;
        count(r, kCapped) += site_counts.capped;
      }
      for (const auto &site : sites) {
        if (lane != EditLane::kNone && edits_[r].edit && site_allows(*edits_[r].edit, *parent.mol(), site) &&
            edit_route(rule, parent, site, lane, last, sink)) {
          continue;
        }
        full_route(row, rule, parent, site, last, sink);
      }
    }
  }

  // The local edit; false when it cannot be had after all, and the full route has the word.
  template <typename Sink>
  bool edit_route(uint16_t r, Parent &parent, const Site &site, EditLane lane, bool last, Sink &&sink) {
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
  template <typename Sink>
  void full_route(uint32_t row, uint16_t r, Parent &parent, const Site &site, bool last, Sink &&sink) {
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
            const auto ordered = in_parent_order(std::make_unique<RDKit::RWMol>(mol), origins);
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

  // The reactant atom of every product atom, -1 for added ones: `runReactants` notes it.
  static std::vector<int> origins_of(const RDKit::ROMol &product, unsigned reactant_atoms) {
    std::vector<int> origins;
    for (const auto *atom : product.atoms()) {
      unsigned origin = reactant_atoms;
      atom->getPropIfPresent(RDKit::common_properties::reactantAtomIdx, origin);
      origins.push_back(origin < reactant_atoms ? static_cast<int>(origin) : -1);
    }
    return origins;
  }

  // Atoms of an intermediate in the order of the reactant's, added ones behind. Which of two equivalent atoms comes first
  // in canonical SMILES is decided by their indices, so that only this makes the atom a site is said to lie at independent
  // of the route. `origins` follows.
  static std::unique_ptr<RDKit::RWMol> in_parent_order(std::unique_ptr<RDKit::RWMol> mol, std::vector<int> &origins) {
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

  static Intermediate follow(const Intermediate &from, uint16_t rule, const Site &site, Written &&written) {
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

  static int32_t parent_atom(const Intermediate &from, int32_t atom) {
    if (from.path.empty()) {
      return atom;
    }
    return static_cast<size_t>(atom) < from.parent_atoms.size() ? from.parent_atoms[atom] : -1;
  }

  static void append_parent_atoms(const Intermediate &from, const Site &site, std::vector<int32_t> &out) {
    for (const int atom : site.atoms) {
      out.push_back(parent_atom(from, atom));
    }
  }

  // At depth 1 every site is a row. Deeper, each distinct product is kept once per parent, the first in row order: by
  // rule path, then by the order in which the path's products come up.
  void keep(const Intermediate &from, uint16_t rule, const Site &site, std::string &&smiles) {
    Product product;
    product.path = from.path;
    product.path.push_back(rule);
    product.atoms = from.site_atoms;
    append_parent_atoms(from, site, product.atoms);
    if (from.path.empty()) {
      product.site = site.index;
      product.smiles = std::move(smiles);
      found_.push_back(std::move(product));
      return;
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
  }

  void emit(uint32_t row) {
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

  std::vector<Rule> rules_;
  std::vector<CompiledEdit> edits_;  // one per rule
  std::vector<uint64_t> counts_;
  uint64_t max_products_;
  uint64_t row_timeout_ms_;
  uint64_t max_product_bytes_ = UINT64_MAX;
  uint64_t product_bytes_ = 0;  // of the row at hand
  bool local_edits_;
  bool trusted_input_;
  std::chrono::steady_clock::time_point row_start_;
  uint64_t first_row_ = 0;
  RowNote note_;
  // Scratch of the row at hand.
  std::vector<Product> found_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::vector<uint16_t>, int32_t> ordinals_;
};

Kernel::Kernel(std::unique_ptr<KernelState> state) : state_(std::move(state)) {}
Kernel::~Kernel() = default;

rust::String Kernel::explain_rule(size_t rule) const { return state_->why_not_local(rule); }
size_t Kernel::num_rules() const { return state_->num_rules(); }
void Kernel::set_first_row(uint64_t row) { state_->set_first_row(row); }
void Kernel::set_max_product_bytes(uint64_t bytes) { state_->set_max_product_bytes(bytes); }
rust::Slice<const uint64_t> Kernel::overrun() const { return {state_->overrun.data(), state_->overrun.size()}; }
void Kernel::run(rust::Slice<const uint8_t> text, rust::Slice<const uint64_t> ends, uint32_t depth) {
  state_->run(text, ends, depth);
}

namespace {
template <typename T>
rust::Slice<const T> slice(const std::vector<T> &v) {
  return {v.data(), v.size()};
}
}  // namespace

rust::Slice<const uint8_t> Kernel::product_text() const { return slice(state_->columns.product_text); }
rust::Slice<const uint64_t> Kernel::product_ends() const { return slice(state_->columns.product_ends); }
rust::Slice<const uint32_t> Kernel::product_rows() const { return slice(state_->columns.product_rows); }
rust::Slice<const uint16_t> Kernel::product_paths() const { return slice(state_->columns.product_paths); }
rust::Slice<const int32_t> Kernel::product_sites() const { return slice(state_->columns.product_sites); }
rust::Slice<const int32_t> Kernel::site_atoms() const { return slice(state_->columns.site_atoms); }
rust::Slice<const uint64_t> Kernel::site_atom_ends() const { return slice(state_->columns.site_atom_ends); }
rust::Slice<const uint32_t> Kernel::failure_rows() const { return slice(state_->columns.failure_rows); }
rust::Slice<const int32_t> Kernel::failure_rules() const { return slice(state_->columns.failure_rules); }
rust::Slice<const int32_t> Kernel::failure_sites() const { return slice(state_->columns.failure_sites); }
rust::Slice<const uint8_t> Kernel::failure_stages() const { return slice(state_->columns.failure_stages); }
rust::Slice<const uint8_t> Kernel::failure_text() const { return slice(state_->columns.failure_text); }
rust::Slice<const uint64_t> Kernel::failure_ends() const { return slice(state_->columns.failure_ends); }
rust::Slice<const uint64_t> Kernel::rule_counts() const { return slice(state_->counts()); }
rust::Slice<const uint64_t> Kernel::stage_nanos() const { return {state_->profile.slots, Profile::kSlots}; }

std::unique_ptr<Kernel> new_kernel(rust::Slice<const ReactionText> rules, const KernelOptions &options) {
  return std::make_unique<Kernel>(std::make_unique<KernelState>(rules, options));
}

void watch_rows(int32_t fd, size_t bytes) { RowNote::map(fd, bytes); }

rust::String rdkit_version() { return RDKit::rdkitVersion; }
rust::String boost_version() { return RDKit::boostVersion; }

void silence_rdkit() {
  static std::once_flag once;
  std::call_once(once, [] {
    static ThreadLogBuffer buffer;
    static std::ostream stream(&buffer);
    RDLog::InitLogs();
    for (const auto &log : {rdErrorLog, rdWarningLog}) {
      log->dp_dest = &stream;
      log->df_owner = false;
      log->df_enabled = true;
    }
    for (const auto &log : {rdInfoLog, rdDebugLog, rdAppLog, rdStatusLog}) {
      if (log) {
        log->df_enabled = false;
      }
    }
    RDKit::PeriodicTable::getTable();
  });
}

}  // namespace halocline
