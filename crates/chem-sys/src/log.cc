// RDKit's log, sent to whoever caused it: a buffer per thread, emptied row by row.
#include "halocline-chem-sys/src/kernel.h"

#include "internal.h"

#include <GraphMol/PeriodicTable.h>
#include <RDGeneral/RDLog.h>

#include <mutex>
#include <ostream>
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
