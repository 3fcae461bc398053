#!/usr/bin/env bash
# bench setup: finds out what is missing on this machine and installs it where it may.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=lib.sh
. "$ROOT/infra/scripts/lib.sh"

usage() {
  cat <<'EOF'
usage: ./bench setup [--tests] [--minimal] [--yes] [--check] [--quiet]

Installs missing Debian or Ubuntu packages: as root at once, otherwise with sudo after asking on a terminal; where it
may not, it prints the exact command. It starts and enables no service: no default Postgres cluster, no sshd.

  --tests     also what only tests use: Chromium, clang-format, shellcheck, libFuzzer
  --minimal   leave out the optional ones: clang, qemu-user, proot, the Arm cross compiler (no emulated Arm board then)
  --yes       do not ask
  --check     only say what is missing; exit code 1 when a required program is
  --quiet     say nothing when nothing is missing

Example: ./bench setup --tests --yes
EOF
}

tests=false minimal=false yes=false check=false quiet=false
for option in "$@"; do
  case $option in
    --tests) tests=true ;;
    --minimal) minimal=true ;;
    --yes | -y) yes=true ;;
    --check) check=true ;;
    --quiet) quiet=true ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
done

has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }
has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
has_clang() { has clang || compgen -G '/usr/bin/clang-[0-9]*' >/dev/null; }
has_fuzzer() { compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null; }
has_cross() {
  [ "$(uname -m)" = aarch64 ] || { has aarch64-linux-gnu-gcc && [ -e /usr/aarch64-linux-gnu/lib/libc.a ]; }
}

# Newer compilers make faster kernels: the newest versioned package that apt knows, else the distribution's own.
newest() {
  local version
  for version in 20 19 18 17 16; do
    if apt-cache show "$1-$version" >/dev/null 2>&1; then
      echo "$1-$version"
      return
    fi
  done
  echo "$1"
}

# libFuzzer and the sanitizers of that clang.
fuzzer_package() {
  local clang
  clang=$(newest clang)
  [ "$clang" = clang ] && echo libclang-rt-dev || echo "libclang-rt-${clang#clang-}-dev"
}

# Lines of: required|optional, package, what for. Only what is missing.
missing() {
  has_postgres || echo "required postgresql the embedded Postgres"
  has ssh || echo "required openssh-client reaching boards"
  has sshd || echo "required openssh-server the demo's boards (their own sshd, bound to 127.0.0.1)"
  has setpriv || echo "required util-linux running Postgres as its own account"
  has gcc || echo "required gcc building the engine"
  has make || echo "required make building the engine"
  has musl-gcc || echo "required musl-tools a static engine without dependencies"
  if ! $minimal; then
    has_clang || echo "optional $(newest clang) a faster engine than gcc makes"
    has ld.lld || compgen -G '/usr/bin/ld.lld-[0-9]*' >/dev/null || echo "optional $(newest lld) building the engine for Arm with clang"
    has qemu-aarch64-static || has qemu-aarch64 || echo "optional qemu-user-static an emulated Arm board"
    has proot || echo "optional proot the emulated board's own file system"
    has_cross || printf 'optional %s building the engine for Arm\n' gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  fi
  if $tests; then
has_fuzzer || echo "optional $(fuzzer_package) fuzzing the engine (bench fuzz)"
    has chromium || has chromium-browser || has google-chrome || echo "optional chromium browser tests"
    has clang-format || echo "optional clang-format checking the format of C files"
    local shell
    for shell in zsh fish tcsh busybox; do
      has "$shell" || echo "optional $shell quoting checked against this shell"
    done
    has python3 || echo "optional python3 the engine's own tests"
    has shellcheck || echo "optional shellcheck checking the shell scripts"
  fi
}

find_dotnet
mapfile -t lacking < <(missing)

if $check; then
  printf '%s\n' "${lacking[@]:-nothing is missing}"
  if printf '%s\n' "${lacking[@]:-}" | grep -q '^required'; then
    exit 1
  fi
  exit 0
fi

install() {
  local packages=("$@") installer=$ROOT/infra/scripts/install-packages.sh
  if [ "$(id -u)" = 0 ]; then
    "$installer" "${packages[@]}"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null && $yes; then
    sudo "$installer" "${packages[@]}"
  elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
    local reply=y
    $yes || read -r -p "Install these with sudo? [Y/n] " reply
    case $reply in
      '' | [yY]*) sudo "$installer" "${packages[@]}" ;;
      *) return 1 ;;
    esac
  else
    return 1
  fi
}

if [ "${#lacking[@]}" -gt 0 ]; then
  say "missing on this machine:"
  printf '%s\n' "${lacking[@]}" | while read -r need package purpose; do
    printf '  %-24s %s%s\n' "$package" "$purpose" "$([ "$need" = required ] || echo ' (optional)')" >&2
  done
  mapfile -t packages < <(printf '%s\n' "${lacking[@]}" | cut -d' ' -f2)
  if ! command -v apt-get >/dev/null; then
    say "this is no Debian or Ubuntu: install the programs above with your system's package manager, without starting them"
  elif ! install "${packages[@]}"; then
    say "run this, then try again:"
    say "  sudo $ROOT/infra/scripts/install-packages.sh ${packages[*]}"
  fi
  mapfile -t lacking < <(missing)
  if printf '%s\n' "${lacking[@]:-}" | grep -q '^required'; then
    die "still missing: $(printf '%s\n' "${lacking[@]}" | awk '$1 == "required" { printf "%s ", $2 }')"
  fi
  [ "${#lacking[@]}" -eq 0 ] || say "doing without: $(printf '%s\n' "${lacking[@]}" | awk '{ printf "%s ", $2 }')"
elif ! $quiet; then
  say "every system program is here"
fi

if ! $quiet || [ ! -f "$ROOT/Optional.props" ]; then
  "$ROOT/infra/scripts/optional-packages.sh"
fi
