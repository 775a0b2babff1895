#!/bin/sh
# Turns the profiles of an instrumented test run into lcov on standard output. Needs any LLVM
# from 19 on (package llvm-19).
set -eu
# The newest installed version wins: an old one under the plain name cannot read the profiles.
tool() { { ls /usr/bin/"$1"-[0-9]* 2>/dev/null || command -v "$1"; } | sort -V | tail -n 1; }
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)
"$profdata" merge -sparse target/profiles/*.profraw -o target/profiles/all.profdata
set --
for file in target/debug/deps/hello-* target/debug/deps/routes-*; do
    if [ -x "$file" ] && [ ! -d "$file" ]; then set -- "$@" -object "$file"; fi
done
"$cov" export --format=lcov --instr-profile target/profiles/all.profdata "$@" --sources src 2>/dev/null
