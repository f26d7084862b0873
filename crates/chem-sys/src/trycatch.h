// Every exception becomes a Rust `Result`: std ones with their words, RDKit's and anything else by kind.
// Included before the cxx bridge, which picks this template up.
#pragma once
#include <exception>
#include <string>

namespace rust {
namespace behavior {
template <typename Try, typename Fail>
static void trycatch(Try &&func, Fail &&fail) noexcept try {
  func();
} catch (const std::exception &e) {
  fail(e.what());
} catch (const std::string &e) {
  fail(e.c_str());
} catch (const char *e) {
  fail(e);
} catch (...) {
  fail("an exception that is not a std::exception was thrown in C++");
}
}  // namespace behavior
}  // namespace rust
