# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with run.sh and its other parts
# What an engine meets on boards: limits, sensors, Termux. Read by run.sh.
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
