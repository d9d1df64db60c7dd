// The command line: a command, then --NAME VALUE pairs, each of which must be one that it knows.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace sluice::perf {

class Options {
  public:
    // From the second argument on; ends the program if they are not pairs.
    Options(int count, char** words);
    // Ends the program if it is missing; a number must be a whole one.
    std::string text(const std::string& name);
    uint64_t number(const std::string& name);
    // To be called when all are read: ends the program if one is left that nobody asked for.
    void finish() const;

  private:
    std::map<std::string, std::string> values_;
};

// What the program can do; each prints one JSON object.
void flood(Options& options);
void round_trips(Options& options);
void print_public_keys(Options& options);
void handshakes(Options& options);

}  // namespace sluice::perf
