#!/bin/sh
# Builds aqengine as one static file.
#
#   engine/native/build.sh --target linux-x64|linux-arm64 [--sanitize address,undefined] [--out DIR]
#
# Compilers, in order of preference (measured on the products of src/kernels, see docs/engine-native.md):
#   linux-x64     clang, then gcc; with musl's headers and libraries if they are there (musl-gcc), else static glibc
#   linux-arm64   clang, then aarch64-linux-gnu-gcc, against a musl sysroot; else static glibc of the cross packages
# The musl sysroot for Arm is Debian's musl-dev:arm64, unpacked into a cache folder without touching the system:
#   $BENCH_CACHE or ~/.cache/agilequant-bench, folder sysroot-arm64
# Last line on stdout: the path of the binary. Everything else goes to stderr.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target= sanitize= out=
say() { echo "build.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

while [ $# -gt 0 ]; do
    case "$1" in
        --target) target=${2:?}; shift 2 ;;
        --sanitize) sanitize=${2:?}; shift 2 ;;
        --out) out=${2:?}; shift 2 ;;
        -h|--help) sed -n '2,12p' "$0"; exit 0 ;;
        *) fail "unknown argument $1 (see --help)" ;;
    esac
done
[ -n "$target" ] || case $(uname -m) in
    x86_64) target=linux-x64 ;;
    aarch64) target=linux-arm64 ;;
    *) fail "no target for $(uname -m); give --target linux-x64 or linux-arm64" ;;
esac
case "$target" in linux-x64|linux-arm64) ;; *) fail "unknown target $target; there are linux-x64 and linux-arm64" ;; esac
[ -n "$out" ] || out=$here/build/$target${sanitize:+-sanitize}
have make || fail "make is missing: apt-get install make"

# The newest clang that is installed under any of Debian's names.
find_clang() {
    for c in clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang; do
        if have $c; then echo $c; return 0; fi
    done
    return 1
}

try_link() { # try_link CC FLAGS...: can it make a program with these flags?
    probe=$(mktemp -d)
    echo 'int main(void) { return 0; }' > "$probe/a.c"
    "$@" -o "$probe/a" "$probe/a.c" -lm -lpthread >/dev/null 2>&1
    code=$?
    rm -rf "$probe"
    return $code
}

# Debian's musl for arm64 in $1: fetched by apt with an architecture and lists of its own, so root is not needed.
fetch_musl_arm64() {
    root=$1
    [ -f "$root/ok" ] && return 0
    have apt-get && have dpkg-deb || return 1
    state=$(mktemp -d)
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/deb" "$root"
    : > "$state/status"
    o="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists=$state/lists"
    o="$o -o Dir::State::Status=$state/status -o Dir::Cache=$state -o Dir::Cache::Archives=$state/archives"
    o="$o -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=2"
    say "fetching musl for arm64 into $root (once)"
    if apt-get $o -qq update >&2 && (cd "$state/deb" && apt-get $o -qq download musl-dev musl >&2); then
        for deb in "$state"/deb/*.deb; do dpkg-deb -x "$deb" "$root"; done
        [ -f "$root/usr/lib/aarch64-linux-musl/libc.a" ] && touch "$root/ok"
    fi
    rm -rf "$state"
    [ -f "$root/ok" ]
}

libgcc_arm64() { # folder with libgcc.a for arm64
    if [ "$(uname -m)" = aarch64 ] && have gcc; then dirname "$(gcc -print-libgcc-file-name)"; return; fi
    for dir in /usr/lib/gcc-cross/aarch64-linux-gnu/*; do [ -f "$dir/libgcc.a" ] && { echo "$dir"; return 0; }; done
    return 1
}

cc= link=-static extra= libc=
case "$target" in
linux-x64)
    if [ "$(uname -m)" != x86_64 ]; then fail "linux-x64 is built on x86-64 machines"; fi
    clang=$(find_clang || true)
    if [ -n "$sanitize" ]; then # the sanitizers' runtimes need the usual dynamic libc
        for c in $clang gcc cc; do
            if have "$c" && try_link "$c" "-fsanitize=$sanitize"; then cc=$c; break; fi
        done
        [ -n "$cc" ] || fail "no compiler with the sanitizers' runtimes: apt-get install gcc (or clang and libclang-rt-dev)"
        link="-fsanitize=$sanitize" libc=glibc
        extra="-fsanitize=$sanitize -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -DAQ_SANITIZED"
    else
        musl=/usr/lib/x86_64-linux-musl
        if have musl-gcc && [ -f $musl/libc.a ]; then
            libc=musl
            specs=-specs=$musl/musl-gcc.specs
            gccdir=$(dirname "$(gcc -print-libgcc-file-name 2>/dev/null || echo /none)")
            if [ -n "$clang" ] && [ -f "$gccdir/libgcc.a" ]; then
                # clang has no specs files: the same by hand
                extra="-nostdinc -isystem $($clang -print-resource-dir)/include -isystem /usr/include/x86_64-linux-musl"
                link="-static -nostdlib -nostartfiles $musl/crt1.o $musl/crti.o -L$musl -L$gccdir"
                cc=$clang
            elif have gcc; then
                cc="gcc $specs"
            fi
        fi
        if [ -z "$cc" ]; then
            libc=glibc
            for c in $clang gcc cc; do
                if have "$c" && try_link "$c" -static; then cc=$c; break; fi
            done
        fi
        [ -n "$cc" ] || fail "no compiler that links static programs: apt-get install gcc libc6-dev musl-tools (or clang)"
    fi ;;
linux-arm64)
    [ -z "$sanitize" ] || fail "--sanitize is for linux-x64"
    cache=${BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/agilequant-bench}
    root=$cache/sysroot-arm64
    gccdir=$(libgcc_arm64 || true)
    clang=$(find_clang || true)
    lld=
    for l in ld.lld ld.lld-20 ld.lld-19 ld.lld-18 ld.lld-17 ld.lld-16 ld.lld-15 ld.lld-14 aarch64-linux-gnu-ld; do
        if have $l; then lld=$(command -v $l); break; fi
    done
    gcc=aarch64-linux-gnu-gcc
    [ "$(uname -m)" = aarch64 ] && gcc=gcc
    if [ -n "$gccdir" ] && fetch_musl_arm64 "$root"; then
        libc=musl
        inc=$root/usr/include/aarch64-linux-musl lib=$root/usr/lib/aarch64-linux-musl
        link="-static -nostdlib -nostartfiles $lib/crt1.o $lib/crti.o -L$lib -L$gccdir"
        if [ -n "$clang" ] && [ -n "$lld" ]; then
            cc="$clang --target=aarch64-linux-musl"
            link="$link --ld-path=$lld"
            extra="-nostdinc -isystem $($clang -print-resource-dir)/include -isystem $inc"
        elif have $gcc; then
            cc=$gcc
            extra="-nostdinc -isystem $($gcc -print-file-name=include) -isystem $inc"
        fi
        # 16 KiB pages exist on newer phones and boards
        link="$link -Wl,-z,max-page-size=65536"
    fi
    if [ -z "$cc" ]; then
        say "no musl for arm64; using static glibc, which may not start on Termux"
        libc=glibc link=-static
        have $gcc || fail "no arm64 compiler: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross (and clang lld)"
        cc=$gcc
    fi
    extra="$extra -march=armv8-a" ;;
esac

libs="-lm -lpthread"
case "$link" in *-nostdlib*)
    libdir=$(echo "$link" | sed 's/.* -L\([^ ]*musl\) .*/\1/')
    libs="-Wl,--start-group -lm -lpthread -lc -lgcc -lgcc_eh -Wl,--end-group $libdir/crtn.o" ;;
esac

# The build id is a hash of what goes in: sources, compiler, flags.
build=$( (cd "$here" && find src Makefile -type f | LC_ALL=C sort | xargs cat; $cc --version | head -n 1; echo "$target $sanitize $libc") \
    | sha256sum | cut -c1-12)
say "$target with $cc ($($cc --version | head -n 1)), $libc${sanitize:+, sanitizers $sanitize}"
make -s -C "$here" -j2 CC="$cc" TARGET="$target" OUT="$out" BUILD="$build" EXTRA="$extra" LINK="$link" LIBS="$libs" >&2
if [ -z "$sanitize" ]; then # strip keeps the store small; the symbols stay beside it in obj/
    for s in llvm-strip llvm-strip-20 llvm-strip-19 llvm-strip-18 llvm-strip-17 llvm-strip-16 llvm-strip-15 llvm-strip-14 \
        $( [ "$target" = linux-arm64 ] && [ "$(uname -m)" != aarch64 ] && echo aarch64-linux-gnu-strip || echo strip); do
        if have $s; then $s "$out/aqengine"; break; fi
    done
fi
say "$(wc -c < "$out/aqengine") bytes, build $build"
echo "$out/aqengine"
