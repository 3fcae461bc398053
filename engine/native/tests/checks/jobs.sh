# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with run.sh and its other parts
# Jobs: blocks, results, pruned packs, plans, and one engine with one owner. Read by run.sh.
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
