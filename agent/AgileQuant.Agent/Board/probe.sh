# Sent to a board's sh by standard input; plain POSIX, every tool optional. DeviceProbe.cs reads the sections.
# One function, so that all of it has been read before a tool could eat the rest of the script from standard input.
LC_ALL=C; export LC_ALL
section() { printf '\n@@ %s\n' "$1"; }
first() { for f in "$@"; do v=$(tr -d '\0' <"$f") && [ -n "$v" ] && { printf '%s\n' "$v"; return; }; done; }

probe() {
section system; uname -s
section machine; uname -m
section kernel; uname -r
section hostname; uname -n
section home; printf '%s\n' "$HOME"
section os; cat /etc/os-release || cat /usr/lib/os-release
section android
if [ -n "$ANDROID_ROOT" ] || [ -e /system/build.prop ]; then
    echo yes
    getprop ro.build.version.release
    getprop ro.product.manufacturer
    getprop ro.product.model
fi
section cpuinfo
grep -iE '^(model name|hardware|features|flags|cpu implementer|cpu part|model)[[:space:]]*:' /proc/cpuinfo | sort -u | head -n 60
section processors; grep -c '^processor' /proc/cpuinfo
section cores
for c in /sys/devices/system/cpu/cpu[0-9]*; do
    [ -d "$c" ] || continue
    [ "$(cat "$c/online")" = 0 ] && continue
    printf '%s %s\n' "${c##*/cpu}" "$(cat "$c/cpufreq/cpuinfo_max_freq" || cat "$c/cpufreq/scaling_max_freq")"
done
section memory; grep '^MemTotal' /proc/meminfo
section governor; first /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor
section thermal
for z in /sys/class/thermal/thermal_zone*; do
    [ -d "$z" ] || continue
    printf '%s\t%s\t%s\n' "${z##*/}" "$(cat "$z/type")" "$(cat "$z/temp")"
done
section disk
d=$HOME/.agilequant; [ -d "$d" ] || d=$HOME
df -Pk "$d" || df -k "$d"
section boot; cat /proc/sys/kernel/random/boot_id
section model; first /proc/device-tree/model /sys/class/dmi/id/product_name
section identity
id=$(first /etc/machine-id /var/lib/dbus/machine-id)
if [ -z "$id" ]; then
    # Phones show no identity to an app: keep one of our own.
    i=$HOME/.agilequant/device-id
    [ -s "$i" ] || { mkdir -p "$HOME/.agilequant" && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$i"; }
    id=$(cat "$i")
fi
printf '%s\n' "$id"
section emulation
cat /etc/agilequant-emulated
# Under user-mode emulation the kernel shows the emulator as this very shell's program.
tr '\0' '\n' <"/proc/$$/cmdline" | grep -i '/qemu-[a-z0-9_]*' | head -n 1
section end
}
probe </dev/null 2>/dev/null
