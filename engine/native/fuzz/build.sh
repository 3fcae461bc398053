#!/bin/sh
# Builds the fuzz targets of the engine with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   engine/native/fuzz/build.sh [--replay] [--out DIR]
#
#   --replay   with a main that runs given files, by any compiler that has the sanitizers; else with libFuzzer (clang)
#
# Last line on stdout: the folder with one program a target (pack, plan, tokens, board). Everything else goes to stderr.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
native=$(dirname "$here")
replay=''
out=''
fail() { echo "fuzz/build.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case "$1" in
        --replay) replay=1; shift ;;
        --out) out=${2:?}; shift 2 ;;
        *) fail "unknown argument $1" ;;
    esac
done
[ "$(uname -m)" = x86_64 ] || fail "the fuzz targets are built on x86-64 machines"
[ -n "$out" ] || out=$native/build/fuzz${replay:+-replay}
mkdir -p "$out"

sanitize=address,undefined
links() { echo 'int LLVMFuzzerTestOneInput(const void *d, unsigned long n) { (void)d; return n > 9; }' > "$out/probe.c"
    "$1" "-fsanitize=$2" ${3:+"$3"} -o "$out/probe" "$out/probe.c" 2>/dev/null; }
cc=''
for c in clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang ${replay:+gcc cc}; do
    command -v "$c" >/dev/null 2>&1 || continue
    if [ -n "$replay" ]; then links "$c" $sanitize -c && cc=$c && break
    else links "$c" fuzzer,$sanitize "" && cc=$c && break; fi
done
rm -f "$out/probe" "$out/probe.c"
[ -n "$cc" ] || fail "no compiler with ${replay:+the sanitizers}${replay:-libFuzzer}: \`./bench setup\` offers clang and its libclang-rt package"

extra="-fsanitize=$sanitize -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -DAQ_SANITIZED"
[ -n "$replay" ] || extra="$extra -fsanitize=fuzzer-no-link"
link="-fsanitize=${replay:+$sanitize}"
[ -n "$replay" ] || link="-fsanitize=fuzzer,$sanitize"
make -s -C "$native" -j2 CC="$cc" OUT="$out" BUILD=fuzz LINK="$link" fuzz \
    EXTRA="$extra -Dmmap=aq_fuzz_mmap -Dmunmap=aq_fuzz_munmap -Dmadvise=aq_fuzz_madvise" \
    FUZZ_EXTRA="$extra" FUZZ_MAIN="${replay:+fuzz/replay.c}" >&2
echo "$out"
