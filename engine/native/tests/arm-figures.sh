#!/bin/sh
# Figures of the Arm kernels' hot loops, as a Markdown table: multiply-accumulates an instruction, and cycles by llvm-mca's
# scheduling tables. No measurement: nothing runs. Needs clang, llvm-objdump, llvm-mca (the newest one found is used) and python3.
#
#   engine/native/tests/arm-figures.sh [--loops]     --loops prints the instructions of each loop too
#   LLVM_MCA=/path/llvm-mca engine/native/tests/arm-figures.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
newest() { # newest NAME: the command of the highest version
    for v in 23 22 21 20 19 18 17 16 15 14; do if command -v "$1-$v" > /dev/null; then echo "$1-$v"; return; fi; done
    command -v "$1" || { echo "arm-figures.sh: $1 is missing: apt-get install llvm clang" >&2; exit 1; }
}
exec python3 "$here/arm-figures/figures.py" "$(newest clang)" "$(newest llvm-objdump)" "${LLVM_MCA:-$(newest llvm-mca)}" "$@"
