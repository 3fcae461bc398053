#!/bin/sh
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

# ---- kernels ----
check "self-test" "$x64" selftest
[ -n "$san" ] && check "self-test, sanitized" "$san" selftest --quick
arm_cpus="cortex-a72 cortex-a76 max" # neon; dot products and fp16; 8-bit matrix products and bf16
for cpu in $arm_cpus; do
    if [ -n "$arm" ] && [ -n "$qemu" ]; then
        check "self-test on $cpu" "$qemu" -cpu $cpu "$arm" selftest --quick
    else
        skip "self-test on $cpu" "no arm64 build or no qemu-aarch64"
    fi
done
isas_of() { "$@" info | sed 's/.*"isas":\[\([^]]*\)\].*/\1/' | tr -d '"' | tr , ' '; }
isas=$(isas_of "$x64")
accumulate() { # accumulate NAME ENGINE...: all kernels, groups, odd and extreme shapes
    name=$1; shift
    wrong=
    for isa in $isas_now; do
        for c in "w8a8 0 3 5 64" "w8a8 0 9 33 301" "w4a8 32 8 17 96" "w4a8 64 2 33 172" "w4a8 0 7 5 700" "w4a4 32 9 16 172" \
            "w4a4 128 7 31 300" "w4a4 0 3 18 1100" "w4a8 128 13 16 256" "w8a8 0 7 70 61" "w8a8 0 4 129 62" "w8a8 0 1 65 63" \
            "w8a8 0 1 2 131072" "w4a8 32 1 65 61" "w4a8 0 1 2 131072" "w8a8 0 17 24 47" "w4a8 32 15 40 416" "w4a4 64 6 9 97" \
            "w4a8+asym 32 7 33 172" "w4a4+asym 64 2 18 300" "w4a8+asym 0 7 5 700" "w4a8+asym 0 1 2 131072"; do
            set_c="$c"
            kernel=${set_c%% *}; rest=${set_c#* }; group=${rest%% *}; rest=${rest#* }
            m=${rest%% *}; rest=${rest#* }; n=${rest%% *}; k=${rest#* }
            for extreme in "" --extreme; do
                f=$work/acc-$kernel-$group-$m-$n-$k$extreme
                [ -f "$f.in" ] || pack accumulate "$f.in" "$f.expected" --kernel $kernel --group $group --m $m --n $n --k $k $extreme
                "$@" accumulate --kernel $kernel --isa $isa --in "$f.in" --out "$f.out" && same "$f.out" "$f.expected" || wrong="$wrong $isa:$kernel:$group:$k$extreme"
            done
        done
    done
    if [ -z "$wrong" ]; then ok "$name"; else bad "$name" "$wrong"; fi
}
isas_now=$isas; accumulate "accumulators equal big integers ($isas)" "$x64"
[ -n "$san" ] && accumulate "accumulators, sanitized" "$san"
arm_tables= # CPU:TABLE, each table once, on the smallest CPU that has it
for cpu in $arm_cpus; do
    [ -n "$arm" ] && [ -n "$qemu" ] || continue
    for isa in $(isas_of "$qemu" -cpu $cpu "$arm"); do
        case "$arm_tables " in *":$isa "*) ;; *) arm_tables="$arm_tables $cpu:$isa" ;; esac
    done
done
for table in $arm_tables; do
    isas_now=${table#*:}; accumulate "accumulators of $isas_now on ${table%:*}" "$qemu" -cpu "${table%:*}" "$arm"
done

some_arm_tables="$(set -- $arm_tables; echo "${1:-}") $(for table in $arm_tables; do case $table in *-fp16*) ;; *) echo "$table" ;; esac; done | tail -n 1)"
bf16_arm_table=$(for table in $arm_tables; do case $table in *-bf16) echo "$table" ;; esac; done)

check "kernels are measured" sh -c "'$x64' kernels --m 7 --n 40 --k 70 --ms 1 --threads 2 | python3 -c '
import json, sys
lines = [json.loads(l) for l in sys.stdin]
assert len(lines) >= 7 * $(echo $isas | wc -w) and all(l[\"gop_s\"] > 0 for l in lines), lines'"

# ---- forward pass ----
pack random-tokens "$work/t.aqtk" --vocab 96 --count 300
logits() { # logits OUT PACK FLAGS ENGINE...: of the first 12 tokens; no OUT when the engine fails
    logits_out=$1 logits_model=$2 logits_flags=$3; shift 3
    rm -f "$logits_out"
    # shellcheck disable=SC2086
    "$@" logits --model "$logits_model" --tokens "$work/t.aqtk" --count 12 --out "$logits_out" $logits_flags && return
    logits_code=$?
    rm -f "$logits_out"
    return $logits_code
}
forward() { # forward SUBJECT TOLERANCE PACK-ARGUMENTS...: against the independent forward pass, then every build and ISA
    subject=$1 tol=$2; shift 2
    file=$work/$subject.gguf
    pack pack "$file" "$@"
    logits "$work/$subject.logits" "$file" "--isa scalar" "$x64"
    check "logits of $subject against an independent forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$work/$subject.logits" 12 "$tol"
    for isa in $isas; do
        logits "$work/isa.logits" "$file" "--isa $isa --threads 2" "$x64"
        case $subject-$isa in *bf16*-avx512bf16) # the instruction has its own order of additions
            check "logits of $subject, $isa against the forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$work/isa.logits" 12 "$tol"
            continue ;;
        esac
        check "logits of $subject, $isa with 2 threads: the same bits" same "$work/$subject.logits" "$work/isa.logits"
    done
    if [ -n "$san" ]; then
        isa=auto
        case $subject in *bf16*) isa=scalar; logits "$work/san.logits" "$file" "--threads 3" "$san" ;; esac
        check "forward pass of $subject, sanitized" logits "$work/san.logits" "$file" "--isa $isa --threads 3" "$san"
        check "logits of $subject, sanitized: the same bits" same "$work/$subject.logits" "$work/san.logits"
    fi
    # Emulation is slow: every Arm table has the plain packs, the first and the last one all others (BENCH_LONG: every one).
    threads=2 tables=$arm_tables
    case $subject in
        *-bf16) [ -n "${BENCH_LONG:-}" ] || tables="$some_arm_tables $bf16_arm_table" ;;
        *-*) [ -n "${BENCH_LONG:-}" ] || tables=$some_arm_tables ;;
        *) threads="1 3" ;;
    esac
    for table in $tables; do
        like=$work/$subject.logits wrong= # what the logits must equal
        case ${table#*:}:$subject in *-fp16:*fp16 | *-fp16-bf16:*fp16 | *-bf16:*-bf16) # 16-bit arithmetic: its own logits, within a tolerance
            like=$work/half.logits
            logits "$like" "$file" "--isa ${table#*:}" "$qemu" -cpu "${table%:*}" "$arm"
            check "logits of $subject, ${table#*:}, against an independent forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$like" 12 0.01 ;;
        esac
        for n in $threads; do
            logits "$work/arm.logits" "$file" "--isa ${table#*:} --threads $n" "$qemu" -cpu "${table%:*}" "$arm"
            same "$like" "$work/arm.logits" || wrong="$wrong $n"
        done
        check "logits of $subject, ${table#*:} on ${table%:*}, threads $threads: the same bits" [ -z "$wrong" ]
    done
}
tolerance() { case $1 in fp16) echo 0.002 ;; w8a8) echo 0.02 ;; w4a8) echo 0.03 ;; *) echo 0.25 ;; esac }
for p in fp16 w8a8 w4a8 w4a4; do
    tied=; [ $p = fp16 ] && tied=--tied
    # shellcheck disable=SC2086
    forward $p "$(tolerance $p)" --precision $p --rope-freqs $tied
done
for p in fp16 w4a8; do
    forward "llama-biases-$p" "$(tolerance $p)" --precision $p --biases
    forward "opt-$p" "$(tolerance $p)" --precision $p --arch opt --tied
    forward "opt-350m-$p" "$(tolerance $p)" --precision $p --arch opt --norm-after --width 40
    forward "bloom-$p" "$(tolerance $p)" --precision $p --arch bloom --tied
    forward "bloom-6-heads-$p" "$(tolerance $p)" --precision $p --arch bloom --heads 6 --dim 96
done
forward "llama-bf16" 0.01 --precision bf16
forward "opt-350m-bf16" 0.01 --precision bf16 --arch opt --norm-after --width 40
for p in w4a8+asym w8a8+trip w4a4+trip+mixed+asym w4a8+trip-static+uniform w8a8+log2; do
    forward "llama-$p" 0.03 --precision $p
done
forward "opt-w4a4+trip+softmax" 0.03 --precision w4a4+trip+softmax --arch opt --group 64
forward "bloom-w4a8+trip-static+asym" 0.03 --precision w4a8+trip-static+asym --arch bloom --group 0
for p in fp16+kv8 w4a8+prune0.2+low0.5+kv8+asym+mixed; do
    forward "llama-$p" 0.03 --precision $p --layers 3
done
forward "opt-350m-w8a8+low0.5+prune-paper0.4" 0.03 --precision w8a8+low0.5+prune-paper0.4 --layers 3 --arch opt --norm-after --width 40
forward "bloom-w4a8+prune0.2+low0.5" 0.03 --precision w4a8+prune0.2+low0.5 --layers 3 --arch bloom
forward "bloom-w8a8+prune-paper0.3+kv8" 0.03 --precision w8a8+prune-paper0.3+kv8 --layers 3 --arch bloom
pack pack "$work/long.gguf" --precision w8a8+prune0.2+low0.5+kv8 --context 320 --dim 32 --heads 4 --kv 2 --ffn 48
"$x64" logits --model "$work/long.gguf" --tokens "$work/t.aqtk" --count 290 --out "$work/long.logits" --threads 2
check "logits of 290 tokens, more than a tile of an int8 cache" python3 "$here/reference.py" "$work/long.gguf" "$work/t.aqtk" "$work/long.logits" 290 0.03
pack pack "$work/mamba.gguf" --arch mamba
exits "an architecture that is not supported" 1 "$x64" logits --model "$work/mamba.gguf" --tokens "$work/t.aqtk" --count 2 --out "$work/x"
check "and says which are" grep -q 'llama, opt, bloom' "$work/err"
pack pack "$work/paper-350m.gguf" --precision w8a8+prune-paper0.4 --arch opt --context 400
exits "the paper's pruning of a prompt longer than a chunk" 0 "$x64" logits --model "$work/paper-350m.gguf" --tokens "$work/t.aqtk" --count 300 --out "$work/x"
exits "more tokens than learned positions" 1 "$x64" logits --model "$work/opt-fp16.gguf" --tokens "$work/t.aqtk" --count 65 --out "$work/x"
for g in 64 128 0; do
    pack pack "$work/g$g.gguf" --precision w4a8 --group $g --kv 2 --heads 4 --dim 96 --ffn 200 --vocab 96
    rm -f "$work/g.logits"
    "$x64" logits --model "$work/g$g.gguf" --tokens "$work/t.aqtk" --count 8 --out "$work/g.logits"
    check "logits of w4a8 in groups of $g" python3 "$here/reference.py" "$work/g$g.gguf" "$work/t.aqtk" "$work/g.logits" 8 0.03
done

# ---- damaged input ----
if [ -n "$san" ]; then
    check "damaged fp16 packs" python3 "$here/corrupt.py" "$san" "$work/fp16.gguf" "$work/t.aqtk" "$work" --count 90
    check "damaged w4a8 packs" python3 "$here/corrupt.py" "$san" "$work/w4a8.gguf" "$work/t.aqtk" "$work" --count 60 --seed 2
    check "damaged OPT packs" python3 "$here/corrupt.py" "$san" "$work/opt-350m-w4a8.gguf" "$work/t.aqtk" "$work" --count 60 --seed 3
    check "damaged BLOOM packs" python3 "$here/corrupt.py" "$san" "$work/bloom-fp16.gguf" "$work/t.aqtk" "$work" --count 60 --seed 4
    check "packs with impossible options" python3 "$here/hostile.py" "$san" "$work/t.aqtk" "$work"
    head -c 100 "$work/t.aqtk" > "$work/short.aqtk"
    exits "a token file that was cut off" 1 "$san" logits --model "$work/fp16.gguf" --tokens "$work/short.aqtk" --count 2 --out "$work/x"
fi
engine=${san:-$x64}
# The fuzz targets over their corpora, which hold what fuzzing once found (fuzz/build.sh without --replay fuzzes).
if [ -n "$san" ] && replay=$("$native/fuzz/build.sh" --replay 2> "$work/build"); then
    for t in pack plan tokens board; do
        check "corpus of the $t fuzz target" env TMPDIR="$work" "$replay/fuzz-$t" "$native/fuzz/corpus/$t"
    done
elif [ -n "$san" ]; then bad "build fuzz targets"; tail -n 15 "$work/build" | sed 's/^/    /'
fi

# ---- jobs ----
root=$work/root
store=$root/store
mkdir -p "$store" "$root/jobs"
for f in fp16.gguf w8a8.gguf t.aqtk; do cp "$work/$f" "$store/$(sha "$work/$f")"; done
plan() { # plan ATTEMPT LINES...: a plan with the usual head
    mkdir -p "$root/jobs/$1"
    { printf 'agilequant-plan 1\nattempt %s\nkind timing\nthreads 2\nisa auto\ncontext 64\nubatch 32\n' "$1"
      printf 'pack fp16 %s\npack w8a8 %s\ntokens %s\n' "$(sha "$work/fp16.gguf")" "$(sha "$work/w8a8.gguf")" "$(sha "$work/t.aqtk")"
      shift; for l in "$@"; do printf '%s\n' "$l"; done; } > "$root/jobs/$1/plan" 2>/dev/null
}
plan_for() { attempt=$1; shift; plan "$attempt" "$@"; }
run() { "$engine" run --root "$root" --job "$1"; }
timing="prompt 24
generate 4
telemetry-ms 50
block 0 fp16 prefill 2 3
block 1 fp16 generate 2 3
block 2 w8a8 prefill 2 3
block 5 fp16 prefill 1 1"
plan_for timing "$timing"
exits "a timing job" 0 run timing
check "its journal and result" python3 - "$root/jobs/timing" <<'P'
import json, sys
d = sys.argv[1]
events = [json.loads(l) for l in open(d + "/events.jsonl")]
assert [e["seq"] for e in events] == list(range(len(events)))
assert events[0]["event"] == "job" and events[-1] == {**events[-1], "event": "end", "status": "done"}
r = json.load(open(d + "/result.json"))
assert r["status"] == "done" and [b["block"] for b in r["blocks"]] == [0, 1, 2, 5], r
assert all(2 <= len(b["ns"]) <= 3 and min(b["ns"]) > 0 for b in r["blocks"][:3])
for b in r["blocks"]:
    assert b["ns"] == [e["ns"] for e in events if e["event"] == "sample" and e["block"] == b["block"]]
assert any(e["event"] == "telemetry" and e["mem_available"] for e in events)
P
windows() { printf 'convention %s\nwindows %s\nblock 7 fp16 perplexity 1 1\nblock 8 w8a8 perplexity 1 1\n' "$1" "$2"; }
plan_for ppl "$(windows 'llama.cpp 64' '0 4')"; exits "a perplexity job" 0 run ppl
plan_for chunks "$(windows 'llama.cpp 64' '0 4')"; sed -i 's/ubatch 32/ubatch 7/; s/threads 2/threads 1/' "$root/jobs/chunks/plan"
exits "the same in chunks of 7 on one thread" 0 run chunks
for b in 7 8; do
    check "block $b gives the same bits" same "$root/jobs/ppl/nll-$b.f32" "$root/jobs/chunks/nll-$b.f32"
done
plan_for gptq "$(windows 'gptq 32' '1 3')"; exits "a gptq job" 0 run gptq
check "NLL files have windows x targets values and their hash" python3 - "$root/jobs" <<'P'
import hashlib, json, os, struct, sys
for job, windows, targets in (("ppl", 4, 31), ("gptq", 3, 31)):
    d = sys.argv[1] + "/" + job
    for b in json.load(open(d + "/result.json"))["blocks"]:
        data = open(d + "/" + b["nll_file"], "rb").read()
        assert (b["windows"], b["targets"]) == (windows, targets) and len(data) == 4 * windows * targets, b
        assert hashlib.sha256(data).hexdigest() == b["nll_sha256"]
        sums = [e["nll_sum"] for e in map(json.loads, open(d + "/events.jsonl")) if e["event"] == "window" and e["block"] == b["block"]]
        values = struct.unpack("<%df" % (windows * targets), data)
        for w, s in enumerate(sums):
            assert abs(sum(values[w * targets:(w + 1) * targets]) - s) < 1e-3
P

# ---- jobs of packs in which rows leave ----
pack pack "$work/pruned.gguf" --precision w4a8+prune0.2+low0.5+kv8 --layers 3
pack pack "$work/paper.gguf" --precision w8a8+prune-paper0.4 --arch bloom
pruned() { # pruned ATTEMPT PACK THREADS UBATCH LINES...
    attempt=$1 file=$work/$2.gguf threads=$3 ubatch=$4; shift 4
    mkdir -p "$root/jobs/$attempt"
    cp "$file" "$store/$(sha "$file")"
    { printf 'agilequant-plan 1\nattempt %s\nkind timing\nthreads %s\nisa auto\ncontext 64\nubatch %s\n' "$attempt" "$threads" "$ubatch"
      printf 'pack p %s\ntokens %s\n' "$(sha "$file")" "$(sha "$work/t.aqtk")"
      for l in "$@"; do printf '%s\n' "$l"; done; } > "$root/jobs/$attempt/plan"
    exits "$attempt" 0 run "$attempt"
}
scores="convention gptq 32
windows 0 4
block 3 p perplexity 1 1"
times="prompt 24
generate 20
block 1 p prefill 2 2
block 2 p generate 2 2"
pruned pruned-scores pruned 2 32 "$scores"
for u in 1 7 13; do
    pruned "pruned-scores-by-$u" pruned 1 $u "$scores"
    check "chunks of $u give the same bits" same "$root/jobs/pruned-scores/nll-3.f32" "$root/jobs/pruned-scores-by-$u/nll-3.f32"
    check "chunks of $u give the same survivors" same "$root/jobs/pruned-scores/survivors-3.u8" "$root/jobs/pruned-scores-by-$u/survivors-3.u8"
done
pruned pruned-times pruned 2 7 "$times"
pruned paper-scores paper 2 7 "$scores"
pruned paper-times paper 2 7 "$times"
check "survivors and row shares" python3 - "$root/jobs" <<'P'
import hashlib, json, sys

def block(job, index):
    done = [e for e in map(json.loads, open("%s/%s/events.jsonl" % (sys.argv[1], job))) if e["event"] == "block" and e["state"] == "done"]
    return next(b for b in json.load(open("%s/%s/result.json" % (sys.argv[1], job)))["blocks"] if b["block"] == index), \
        next(e for e in done if e["block"] == index)

def survivors(job):
    result, event = block(job, 3)
    assert result["survivors_file"] == event["survivors_file"] == "survivors-3.u8" and event["row_share"] is None, event
    data = open("%s/%s/survivors-3.u8" % (sys.argv[1], job), "rb").read()
    assert hashlib.sha256(data).hexdigest() == result["survivors_sha256"] == event["survivors_sha256"]
    assert len(data) == 4 * 31 and set(data) == {0, 1}
    return [data[w * 31:(w + 1) * 31] for w in range(4)]

assert all(w[0] == 1 and 0 < sum(w) < 31 for w in survivors("pruned-scores"))
# floor(32 * 0.4) = 12 of 32 rows leave the second of two layers; the last row, which always stays, predicts nothing
assert [sum(w) for w in survivors("paper-scores")] == [32 - 12 - 1] * 4
# of 24 rows 9 leave after the second attention; generated tokens never leave
for index, share in ((1, (4 * 24 - 9) / (4 * 24)), (2, 1.0)):
    result, event = block("paper-times", index)
    assert abs(result["row_share"] - share) < 1e-9 and event["row_share"] == result["row_share"], (result, share)
for index in (1, 2):
    assert 0.5 < block("pruned-times", index)[0]["row_share"] < 1
plain, event = block("ppl", 7)
assert not {"survivors_file", "row_share"} & (set(plain) | set(event)), (plain, event)
P
plan_for missing "prompt 8" "pack w4a8 $(printf '%064d' 0)" "block 0 w4a8 prefill 1 1" "block 1 fp16 prefill 1 1"
exits "a job with one missing pack goes on" 0 run missing
check "and reports the block" grep -q '"code":"artifact-missing".*"block":0' "$root/jobs/missing/events.jsonl"
printf x >> "$store/$(sha "$work/w8a8.gguf")"
plan_for damaged "prompt 8" "block 0 w8a8 prefill 1 1"
exits "a job whose only pack is damaged fails" 1 run damaged
check "and says so" grep -q '"code":"artifact-corrupt"' "$root/jobs/damaged/events.jsonl"
cp "$work/w8a8.gguf" "$store/$(sha "$work/w8a8.gguf")"
plan_for far "$(windows 'llama.cpp 64' '0 5000')"; exits "windows beyond the text fail" 1 run far
check "and say so" grep -q '"code":"tokens"' "$root/jobs/far/events.jsonl"
exits "an attempt runs once" 13 run ppl

# ---- plans ----
garbage() { plan_for garbage "$2"; exits "plan refused: $1" 13 run garbage; }
garbage "unknown key" "colour blue"
garbage "no block" "prompt 8"
garbage "unknown pack" "block 0 w2a2 prefill 1 1"
garbage "block twice" "prompt 8
block 0 fp16 prefill 1 1
block 0 fp16 prefill 1 1"
garbage "min above max" "prompt 8
block 0 fp16 prefill 3 1"
garbage "number too big" "prompt 99999999999999999999
block 0 fp16 prefill 1 1"
garbage "prompt beyond the context" "prompt 65
block 0 fp16 prefill 1 1"
garbage "window beyond the context" "$(windows 'gptq 512' '0 1')"
garbage "negative number" "prompt -3
block 0 fp16 prefill 1 1"
garbage "too many values" "prompt 1 2 3 4 5 6 7 8 9 10
block 0 fp16 prefill 1 1"
head -c 20000 /dev/urandom > "$root/jobs/garbage/plan"; exits "plan refused: random bytes" 13 run garbage
head -c 2000000 /dev/zero > "$root/jobs/garbage/plan"; exits "plan refused: too big" 13 run garbage
: > "$root/jobs/garbage/plan"; exits "plan refused: empty" 13 run garbage
exits "a job name with a path in it" 64 run ../ppl

# ---- one engine, one owner ----
long="prompt 60
warmup-max 0
target-spread 0.0000001
telemetry-ms 100
block 0 fp16 prefill 100000 100000"
start() { "$engine" start --root "$root" --job "$1" --cluster "$2" --epoch "$3"; }
for j in long other again lost term; do plan_for $j "$long"; done
exits "start" 0 start long home 3
check "prints started" grep -q '"event":"started","attempt":"long"' "$work/stdout"
exits "a second engine" 12 start other home 3
exits "the same attempt again" 12 start long home 3
exits "a lower epoch" 10 start other home 2
exits "another cluster" 11 start other away 9
exits "run while an engine runs" 12 run other
exits "adopt while an engine runs" 12 "$engine" adopt --root "$root" --cluster away --epoch 1
exits "follow until the time is up" 4 "$engine" follow --root "$root" --job long --offset 0 --timeout 1
check "follow gave whole lines from the first on" python3 - "$work/stdout" <<'P'
import json, sys
lines = open(sys.argv[1]).read().split("\n")
assert json.loads(lines[0])["event"] == "job" and len(lines) > 2
P
check "status says running" sh -c "'$engine' status --root '$root' --job long | grep -q '\"running\":\"long\".*\"state\":\"running\"'"
exits "stop" 0 "$engine" stop --root "$root" --job long --wait 20
check "status says stopped" sh -c "'$engine' status --root '$root' --job long | grep -q '\"running\":null.*\"state\":\"stopped\"'"
exits "follow to the end" 0 "$engine" follow --root "$root" --job long --offset 0 --timeout 20
size=$(wc -c < "$root/jobs/long/events.jsonl")
exits "follow from an offset" 0 "$engine" follow --root "$root" --job long --offset $((size - 10)) --timeout 5
check "gives the bytes from there" sh -c "[ \$(wc -c < '$work/stdout') = 10 ]"
exits "stop what does not run" 0 "$engine" stop --root "$root" --job long --wait 1
exits "follow what never ran" 3 "$engine" follow --root "$root" --job other --offset 0 --timeout 5
exits "adopt" 0 "$engine" adopt --root "$root" --cluster away --epoch 1
exits "the old cluster" 11 start lost home 9
exits "start for the new cluster" 0 start lost away 1
exits "a stop that only looks" 4 "$engine" follow --root "$root" --job lost --offset 0 --timeout 0
pid=$(cut -d' ' -f1 "$root/jobs/lost/lock"); kill -9 "$pid"
exits "follow after kill -9" 3 "$engine" follow --root "$root" --job lost --offset 0 --timeout 20
check "status says lost" sh -c "'$engine' status --root '$root' --job lost | grep -q '\"state\":\"lost\"'"
exits "the next job starts" 0 start term away 2
pid=$(cut -d' ' -f1 "$root/jobs/term/lock"); kill -TERM "$pid"
exits "follow after TERM" 0 "$engine" follow --root "$root" --job term --offset 0 --timeout 20
check "the journal ends with stopped" sh -c "tail -n 1 '$root/jobs/term/events.jsonl' | grep -q '\"event\":\"end\",\"status\":\"stopped\"'"
check "a result is there" grep -q '"status":"stopped"' "$root/jobs/term/result.json"
exits "adopt within the cluster" 0 "$engine" adopt --root "$root" --cluster away --epoch 1
exits "keeps the higher epoch" 10 start late away 1

# ---- limits ----
plan_for full "$long"
exits "a full disk" 1 sh -c "ulimit -f 4; exec '$engine' run --root '$root' --job full > /dev/null"
check "the journal has no half line" python3 -c "import json,sys; [json.loads(l) for l in open('$root/jobs/full/events.jsonl')]"
plan_for memory "prompt 8" "block 0 fp16 prefill 1 1"; sed -i 's/context 64/context 16777216/' "$root/jobs/memory/plan"
exits "memory that is not there" 1 sh -c "ulimit -v 1000000; exec '$x64' run --root '$root' --job memory"
check "is an error event" grep -q '"code":"memory"' "$root/jobs/memory/events.jsonl"
plan_for pipe "$timing"
exits "stdout that goes away" 0 sh -c "{ '$engine' run --root '$root' --job pipe; echo \$? > '$work/code'; } | head -n 1 > /dev/null; exit \$(cat '$work/code')"
exits "no command" 64 "$engine"
exits "an unknown option" 64 "$engine" info --colour
exits "an unknown ISA" 1 "$engine" selftest --isa mmx

# ---- telemetry from given roots ----
mkdir -p "$work/sys/class/thermal/thermal_zone0" "$work/sys/class/thermal/thermal_zone1" "$work/sys/class/power_supply/battery" \
    "$work/sys/devices/system/cpu/cpu0/cpufreq" "$work/sys/devices/platform/soc/soc:firmware" "$work/proc/self"
echo cpu-thermal > "$work/sys/class/thermal/thermal_zone0/type"; echo 48312 > "$work/sys/class/thermal/thermal_zone0/temp"
echo cpu-thermal > "$work/sys/class/thermal/thermal_zone1/type"; echo 51000 > "$work/sys/class/thermal/thermal_zone1/temp"
echo 1800000 > "$work/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
echo 87 > "$work/sys/class/power_supply/battery/capacity"; echo -500000 > "$work/sys/class/power_supply/battery/current_now"
echo 4000000 > "$work/sys/class/power_supply/battery/voltage_now"; echo 50005 > "$work/sys/devices/platform/soc/soc:firmware/get_throttled"
check "telemetry of a given sysfs" sh -c "'$engine' sample --ms 1 --sysfs '$work/sys' --proc '$work/proc' | grep -q '\"cpu_mhz\":\[1800\],\"temp_c\":{\"cpu-thermal\":48.312,\"cpu-thermal#2\":51},\"load1\":null,\"busy\":null,\"mem_available\":null,\"rss\":null,\"power_w\":2,\"battery_pct\":87,\"throttled\":true'"
check "what is not shown is null" sh -c "'$engine' sample --ms 1 --sysfs '$work/none' --proc '$work/none' | grep -q '\"cpu_mhz\":null,\"temp_c\":null,\"load1\":null,\"busy\":null,\"mem_available\":null,\"rss\":null,\"power_w\":null,\"battery_pct\":null,\"throttled\":null'"

# ---- Termux ----
if [ -n "$arm" ] && [ -n "$qemu" ]; then
    droot=$work/droid
    mkdir -p "$droot/jobs/a" "$droot/jobs/b"
    cp -r "$store" "$droot/store"
    for j in a b; do sed "s/attempt ppl/attempt $j/; s/threads 2/threads 2\ncpus 0/" "$root/jobs/ppl/plan" > "$droot/jobs/$j/plan"; done
    { "$qemu" -strace "$arm" info; "$qemu" -strace "$arm" sample --ms 10 --loop
      "$qemu" -strace "$arm" run --root "$droot" --job a; "$qemu" -strace "$arm" start --root "$droot" --job b --cluster c --epoch 1
      "$qemu" -strace "$arm" follow --root "$droot" --job b --offset 0 --timeout 60; "$qemu" -strace "$arm" status --root "$droot"
      "$qemu" -strace "$arm" stop --root "$droot" --job b --wait 5; cat "$droot"/jobs/*/log; } > "$work/strace" 2>&1
    grep -ohE '^[0-9]+ [a-z0-9_]+\(' "$work/strace" | sed 's/^[0-9]* //; s/($//' | sort -u > "$work/used"
    grep -v '^#' "$here/android-blocked-syscalls.txt" | grep . | sort -u > "$work/blocked"
    check "status of the Arm job" grep -q '"event":"end","status":"done"' "$droot/jobs/b/events.jsonl"
    hit=$(comm -12 "$work/used" "$work/blocked" | tr '\n' ' ')
    if [ "$(wc -l < "$work/used")" -lt 10 ]; then bad "Termux: system calls were traced"
    elif [ -z "$hit" ]; then ok "Termux: none of $(wc -l < "$work/used") system calls is blocked on Android"
    else bad "Termux: blocked system calls" "$hit"; fi
else
    skip "Termux" "no arm64 build or no qemu-aarch64"
fi

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
