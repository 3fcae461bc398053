#!/bin/sh
# shellcheck source-path=SCRIPTDIR
# Tests of the engine that need no .NET: one line a check, `ok NAME`, `FAIL NAME` or `skip NAME: reason`; exit 1 if any
# failed. Needs python3 and a C compiler; qemu-user-static and an arm64 cross compiler for the Arm checks.
#
#   engine/native/tests/run.sh [--data FOLDER]     FOLDER holds stories260K/ (default: $BENCH_SHARED/data)
set -u # no -e: a failed check is counted, and the next one runs
here=$(cd "$(dirname "$0")" && pwd)
native=$(dirname "$here")
data=${BENCH_SHARED:+$BENCH_SHARED/data}
while [ $# -gt 0 ]; do
    case "$1" in
        --data) data=$2; shift 2 ;;
        *) echo "unknown argument $1"; exit 64 ;;
    esac
done

work=$(mktemp -d "${TMPDIR:-/tmp}/aqengine-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0 passed=0
ok() { echo "ok $1"; passed=$((passed + 1)); }
bad() { echo "FAIL $1${2:+: $2}"; failed=$((failed + 1)); }
skip() { echo "skip $1: $2"; }
check() { # check NAME COMMAND...: exit 0 expected; its output is shown when it fails
    name=$1; shift
    if "$@" > "$work/out" 2>&1; then ok "$name"; else bad "$name" "exit $?"; tail -n 15 "$work/out" | sed 's/^/    /'; fi
}
exits() { # exits NAME CODE COMMAND...: its output stays in $work/stdout
    name=$1 want=$2; shift 2
    "$@" > "$work/stdout" 2> "$work/err"; got=$?
    if [ $got = "$want" ]; then ok "$name"; else bad "$name" "exit $got, expected $want"; sed 's/^/    /' "$work/err"; fi
}
pack() { python3 "$here/pack.py" "$@"; }
sha() { sha256sum "$1" | cut -d' ' -f1; }
# Two engines that crash leave two files without a byte, or none: that is not the same result.
same() { [ -s "$1" ] && cmp -s "$1" "$2"; }

# ---- builds ----
x64= arm= san=
if [ "$(uname -m)" = x86_64 ]; then
    x64=$("$native/build.sh" --target linux-x64 2> "$work/build") && ok "build linux-x64" || { bad "build linux-x64"; cat "$work/build"; }
    san=$("$native/build.sh" --sanitize address,undefined 2> "$work/build") && ok "build sanitized" || { bad "build sanitized"; cat "$work/build"; }
fi
arm=$("$native/build.sh" --target linux-arm64 2> "$work/build") && ok "build linux-arm64" ||
    { arm=; skip "build linux-arm64" "$(tail -n 1 "$work/build")"; }
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
[ -n "$x64" ] || x64=$arm # on an Arm machine everything runs with the native build
[ -n "$x64" ] || { echo "nothing was built"; exit 1; }
check "static" sh -c "! readelf -d '$x64' 2>/dev/null | grep -q NEEDED"

. "$here/checks/kernels.sh"
. "$here/checks/forward.sh"
. "$here/checks/damage.sh"
. "$here/checks/jobs.sh"
. "$here/checks/boards.sh"

# ---- a real model ----
if [ -n "$data" ] && [ -f "$data/stories260K/stories260K-f16.gguf" ]; then
    pack tokens "$data/stories260K/tinystories-sample.ids.i32" "$work/s.aqtk" --vocab 512 --bos 1 --adds-bos
    for f in "$data/stories260K/stories260K-f16.gguf" "$work/s.aqtk"; do cp "$f" "$store/$(sha "$f")"; done
    mkdir -p "$root/jobs/stories"
    printf 'agilequant-plan 1\nattempt stories\nkind perplexity\nthreads 2\ncontext 512\npack fp16 %s\ntokens %s\nconvention llama.cpp 512\nwindows 0 196\nblock 0 fp16 perplexity 1 1\n' \
        "$(sha "$data/stories260K/stories260K-f16.gguf")" "$(sha "$work/s.aqtk")" > "$root/jobs/stories/plan"
    exits "stories260K runs" 0 "$x64" run --root "$root" --job stories
    check "stories260K: perplexity 6.3030 within 0.1%" python3 - "$root/jobs/stories/nll-0.f32" <<'P'
import array, math, sys
a = array.array("f")
a.frombytes(open(sys.argv[1], "rb").read())
ppl = math.exp(sum(a) / len(a))
print(ppl, len(a))
assert len(a) == 49980 and abs(ppl / 6.302990 - 1) < 0.001
P
else
    skip "stories260K" "no stories260K/stories260K-f16.gguf (give --data)"
fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
