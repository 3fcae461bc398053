# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with run.sh and its other parts
# Kernels: the self-test, and integer accumulators of every table against big integers. Read by run.sh.
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
