// RDKit's own floor: how long MolToSmiles alone takes over a list of SMILES, and nothing else.
// Molecules are parsed before the clock starts, in blocks, so that they do not all lie in memory.
//
// usage: floor FILE    (one SMILES per line)     prints: molecules, CPU seconds in MolToSmiles
// build: g++ -O3 -I/usr/include/rdkit floor.cc -o floor -lRDKitSmilesParse -lRDKitGraphMol -lRDKitRDGeneral
#include <GraphMol/GraphMol.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>

#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

static double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    std::cerr << "usage: floor FILE\n";
    return 2;
  }
  std::ifstream lines(argv[1]);
  std::vector<std::unique_ptr<RDKit::RWMol>> block;
  std::string line;
  double seconds = 0;
  size_t molecules = 0, bytes = 0;
  bool more = true;
  while (more) {
    block.clear();
    while (block.size() < 1000 && (more = bool(std::getline(lines, line)))) {
      block.emplace_back(RDKit::SmilesToMol(line));
    }
    const double start = cpu_seconds();
    for (const auto &mol : block) {
      bytes += RDKit::MolToSmiles(*mol).size();
    }
    seconds += cpu_seconds() - start;
    molecules += block.size();
  }
  std::cout << "{\"molecules\": " << molecules << ", \"bytes\": " << bytes << ", \"cpu_seconds\": " << seconds << "}\n";
  return 0;
}
