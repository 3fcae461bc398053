#!/usr/bin/env bash
# bench test: builds everything once (Release), runs every test project, ends with one line of counts.
set -euo pipefail

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=lib.sh
. "$ROOT/infra/scripts/lib.sh"

usage() {
  cat <<'EOF'
usage: ./bench test [--long] [--filter PROJECT] [-- OPTIONS]

Builds the solution (Release) and the engines, then runs the engine's own tests and every project in tests/, two at
a time, in at most 15 minutes. Prints failures with their messages and skipped tests with their reasons.

  --long             also tests marked [Trait("Category", "Long")]; at most 90 minutes
  --filter PROJECT   only projects whose name contains PROJECT, for instance Orchestrator or aqengine (the C tests)
  -- OPTIONS         passed to the test programs, for instance -- -method '*lease*'

Example: ./bench test --filter Orchestrator
EOF
}

filter='' limit=900 pick=(-trait- Category=Long) extra=()
while [ "$#" -gt 0 ]; do
  case $1 in
    --long) limit=5400 pick=() && export BENCH_LONG=1 ;;
    --filter) filter=${2:?--filter needs a project name} && shift ;;
    --) shift && extra=("$@") && break ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

results=$BENCH_STATE/test
mark=$$-$RANDOM-$(date +%s)

# Test programs and all they start carry BENCH_TEST_RUN (mark and project); whatever is left of them is ended here.
leftovers() { # leftovers PROJECT; no project: of all
  local file
  for file in /proc/[0-9]*/environ; do
    if tr '\0' '\n' <"$file" 2>/dev/null | grep -qx "BENCH_TEST_RUN=$mark:${1:-.*}"; then
      basename "$(dirname "$file")"
    fi
  done 2>/dev/null
}

end_leftovers() { # end_leftovers PROJECT; no project: of all
  local name=${1:-} pids pid
  for _ in 1 2 3 4 5 6 7 8 9 10; do # clusters and sshds of a test may take a moment to stop by themselves
    pids=$(leftovers "$name")
    [ -n "$pids" ] || return 0
    sleep 0.5
  done
  for pid in $pids; do
    say "  ${name:-a test} left a process behind, ended: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-100)"
    kill -TERM "$pid" 2>/dev/null || true
  done
  sleep 1
  for pid in $(leftovers "$name"); do
    kill -KILL "$pid" 2>/dev/null || true
  done
}

interrupted() {
  trap - INT TERM HUP
  say "interrupted"
  [ "${#lanes[@]}" = 0 ] || kill -TERM "${lanes[@]}" 2>/dev/null || true
  end_group
  end_leftovers
  exit 130
}
lanes=()
trap interrupted INT TERM HUP

find_dotnet
ask_optional_packages
rm -rf -- "$results"
mkdir -p "$results"
if ! build_native; then
  printf 'aqengine\t0\t1\t0\n' >>"$results/counts"
  printf 'aqengine  FAILED\n  it does not build; see %s/native-*.log\n' "$BENCH_STATE" >>"$results/failures"
fi
build_once AgileQuant.Bench.sln
started=$SECONDS # the tests' time; building comes before it

export BENCH_ROOT=$ROOT
if [ -z "${BENCH_SHARED:-}" ] && [ -d "$ROOT/../shared" ]; then
  BENCH_SHARED=$(cd -- "$ROOT/../shared" && pwd)
  export BENCH_SHARED
fi

# run NAME PROGRAM: runs one test program within what is left of the time
run() {
  local name=$1 program=$2 code=0 began=$SECONDS left=$((limit - SECONDS + started))
  if [ "$left" -le 5 ]; then
    printf '%s\t0\t1\t0\n' "$name" >>"$results/counts"
    printf '%s  FAILED\n  not run: the %s minutes for all tests are used up\n' "$name" $((limit / 60)) >>"$results/failures"
    return
  fi
  BENCH_TEST_RUN=$mark:$name bounded "$left" "$program" -noLogo -noColor "${pick[@]}" -xml "$results/$name.xml" "${extra[@]}" \
    >"$results/$name.log" 2>&1 || code=$?
  awk -v project="$name" -v code="$code" -v seconds=$((SECONDS - began)) -v log_file="$results/$name.log" \
    -v counts="$results/counts" -v failures="$results/failures" -v skips="$results/skips" \
    -f "$ROOT/infra/scripts/test-report.awk" "$results/$name.xml"
  end_leftovers "$name"
}

# The engine's own tests (C, no .NET): one line a check, `ok NAME`, `FAIL NAME: why` or `skip NAME: why`.
run_engine_checks() {
  local log=$results/aqengine.log code=0 began=$SECONDS
  BENCH_TEST_RUN=$mark:aqengine bounded 300 "$ROOT/engine/native/tests/run.sh" >"$log" 2>&1 || code=$?
  awk -v code="$code" -v seconds=$((SECONDS - began)) -v counts="$results/counts" -v failures="$results/failures" -v skips="$results/skips" '
    /^ok / { passed++ }
    /^skip / { skipped++; printf "  aqengine: %s\n", substr($0, 6) >> skips }
    /^FAIL / { failed++; printf "aqengine  FAILED\n" >> failures }
    /^FAIL / || /^    / { print "  " $0 >> failures }
    END {
      if (code + 0 != 0 && failed + 0 == 0) {
        failed = 1
        printf "aqengine  FAILED\n  engine/native/tests/run.sh ended with exit code %s after: %s\n", code, $0 >> failures
      }
      printf "aqengine\t%d\t%d\t%d\n", passed, failed, skipped >> counts
      printf "%-36s %5d passed %4d failed %4d skipped  %4d s\n", "aqengine", passed, failed, skipped, seconds
    }' "$log"
  end_leftovers aqengine
}

# Most tests wait for processes, sockets and browsers: two lanes side by side keep two cores busy. The long project is first.
mapfile -t projects < <(
  [[ aqengine != *"${filter,,}"* ]] || echo aqengine
  for project in "$ROOT"/tests/*.Tests/*.Tests.csproj; do
    name=$(basename "$project" .csproj)
    [[ $name != *"$filter"* ]] || echo "$name"
  done | LC_ALL=C sort -t. -k2,2 | awk '/EndToEnd/ { print; next } { rest = rest $0 "\n" } END { printf "%s", rest }'
)
[ "${#projects[@]}" -gt 0 ] || die "no test project has '$filter' in its name"
for name in "${projects[@]}"; do
  program=$ROOT/tests/$name/bin/Release/net10.0/$name
  [ "$name" = aqengine ] || [ -x "$program" ] || die "$name was not built: is it in AgileQuant.Bench.sln?"
done

# A lane takes the next project of the queue until it is empty.
printf '%s\n' "${projects[@]}" >"$results/queue"
next_project() {
  exec 7>"$results/queue.lock"
  flock 7
  head -n 1 "$results/queue"
  sed -i 1d "$results/queue"
}
lane() {
  local name
  while name=$(next_project) && [ -n "$name" ]; do
    if [ "$name" = aqengine ]; then
      run_engine_checks
    else
      touch "$results/$name.xml"
      run "$name" "$ROOT/tests/$name/bin/Release/net10.0/$name"
    fi
  done
}
for _ in 1 2; do
  lane &
  lanes+=("$!")
done
wait "${lanes[@]}" || say "a lane of tests ended early"
lanes=()
end_leftovers

# Which implementations the contract tests ran against, and which are not built: the test programs say it.
if contracts=$(grep -hs '^contract: ' "$results"/*.log); then
  echo && sed 's/^contract: /contract tests: /' <<<"$contracts"
fi
[ ! -s "$results/skips" ] || { echo && echo "skipped:" && cat "$results/skips"; }
[ ! -s "$results/failures" ] || { echo && cat "$results/failures"; }
echo
awk -F'\t' '{ p += $2; f += $3; s += $4 } END {
  if (p + f == 0) print "no test ran" > "/dev/stderr"
  printf "%d passed, %d failed, %d skipped\n", p, f, s
  exit !(f == 0 && p > 0)
}' "$results/counts"
