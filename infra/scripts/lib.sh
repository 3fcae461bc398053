# shellcheck shell=bash
# What `bench` and the scripts beside this file share. Expects ROOT; sourced under `set -euo pipefail`.

BENCH_STATE=$ROOT/.bench # git-ignored: stamps, logs, locks
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
# No compiler or build server may stay behind and load a machine that is about to be measured.
export MSBUILDDISABLENODEREUSE=1 UseSharedCompilation=false

say() { printf '%s\n' "$*" >&2; }

die() {
  say "bench: $*"
  exit 1
}

# Sets DOTNET to a dotnet command with an SDK of version 10 or newer.
find_dotnet() {
  local candidate major newest=
  for candidate in "$(command -v dotnet || true)" "${DOTNET_ROOT:-/nonexistent}/dotnet" "$HOME/.dotnet/dotnet" \
    /usr/share/dotnet/dotnet /usr/lib/dotnet/dotnet; do
    [ -x "$candidate" ] || continue
    while IFS=. read -r major _; do
      if [[ $major =~ ^[0-9]+$ ]] && [ "$major" -ge 10 ]; then
        DOTNET=$candidate
        return
      fi
      newest=$major
    done < <("$candidate" --list-sdks 2>/dev/null)
  done
  [ -z "$newest" ] || die "the .NET SDK found is version $newest, needed is 10 or newer: https://dotnet.microsoft.com/download/dotnet/10.0"
  die "no .NET SDK found. Install version 10: https://dotnet.microsoft.com/download/dotnet/10.0 (Ubuntu: apt-get install dotnet-sdk-10.0)"
}

# The process group that runs for us; a signal to the script ends it at once.
GROUP=
end_group() { [ -z "$GROUP" ] || kill -TERM -- "-$GROUP" 2>/dev/null || true; }
trap 'end_group; exit 130' INT TERM HUP

# bounded SECONDS COMMAND...: runs in a process group of its own, so that signals reach it whole.
bounded() {
  local code=0
  # Background commands of a script ignore Ctrl-C, and so would programs that tests send it to.
  env --default-signal=INT --default-signal=QUIT timeout --kill-after=15 "$@" </dev/null &
  GROUP=$!
  wait "$GROUP" || code=$?
  GROUP=
  return "$code"
}

# Runs a command with its output in a log; shows the end of the log when it fails.
logged() {
  local log=$BENCH_STATE/$1.log what=$2
  shift 2
  mkdir -p "$BENCH_STATE"
  if ! bounded 900 "$@" >"$log" 2>&1; then
    grep -E '(error|Error)[ :]' "$log" | sort -u | head -n 20 >&2 || true
    say "... the end of $log:"
    tail -n 15 "$log" >&2
    say "bench: $what failed"
    return 1
  fi
}

# A hash over names, sizes and times of everything a build reads.
source_stamp() {
  {
    printf '%s\n' "$@" "$DOTNET"
    # shellcheck disable=SC2312
    (cd "$ROOT" && find agent dashboard engine infra orchestrator tests ./*.props ./*.targets ./*.sln .editorconfig \
      \( -name bin -o -name obj -o -name build -o -name samples -o -name TestResults \) -prune -o -type f -printf '%p %s %T@\n' |
      LC_ALL=C sort)
  } | sha256sum | cut -d' ' -f1
}

# build_once PROJECT: builds in Release unless nothing has changed since the last time; says nothing then.
build_once() {
  local project=$1 name stamp
  name=$(basename "${project%.*}")
  mkdir -p "$BENCH_STATE"
  exec 8>"$BENCH_STATE/build.lock"
  flock -w 900 8 || die "another build has been running for 15 minutes (lock: $BENCH_STATE/build.lock)"
  stamp=$(source_stamp "$project")
  if [ "$(cat "$BENCH_STATE/$name.stamp" 2>/dev/null)" != "$stamp" ]; then
    say "building $name (Release) ..."
    logged "build-$name" "the build of $project" "$DOTNET" build "$ROOT/$project" -c Release -v quiet -nologo -nodeReuse:false || exit 1
    printf '%s\n' "$stamp" >"$BENCH_STATE/$name.stamp"
  fi
  flock -u 8
  exec 8>&-
}

# Builds the engines for the targets this machine has compilers for. Without a compiler the program can still use
# engines that were added with `bench engine add`.
build_native() {
  local script=$ROOT/engine/native/build.sh stamp
  [ -x "$script" ] || return 0
  mkdir -p "$BENCH_STATE"
  stamp=$(cd "$ROOT/engine/native" && find . -name build -prune -o -type f -printf '%p %s %T@\n' | LC_ALL=C sort | sha256sum)
  stamp="$stamp $(native_targets | tr '\n' ' ')"
  [ "$(cat "$BENCH_STATE/native.stamp" 2>/dev/null)" != "$stamp" ] || return 0
  local target failed=0
  for target in $(native_targets); do
    say "building aqengine for $target ..."
    logged "native-$target" "building the engine for $target" "$script" --target "$target" || failed=1
  done
  [ "$failed" = 1 ] || printf '%s\n' "$stamp" >"$BENCH_STATE/native.stamp"
  return "$failed"
}

# The targets that a compiler is here for, one a line.
native_targets() {
  local machine
  machine=$(uname -m)
  if command -v gcc >/dev/null || command -v clang >/dev/null || command -v musl-gcc >/dev/null; then
    case $machine in
      x86_64) echo linux-x64 ;;
      aarch64) echo linux-arm64 ;;
    esac
  fi
  if [ "$machine" != aarch64 ] && command -v aarch64-linux-gnu-gcc >/dev/null; then
    echo linux-arm64
  fi
}

# Writes Optional.props once; `bench setup` asks again.
ask_optional_packages() {
  [ -f "$ROOT/Optional.props" ] || "$ROOT/infra/scripts/optional-packages.sh"
}
