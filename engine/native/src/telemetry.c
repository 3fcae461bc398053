#include "telemetry.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void aq_telemetry_init(struct aq_telemetry *t, const char *proc, const char *sys) {
    *t = (struct aq_telemetry){0};
    snprintf(t->proc, sizeof t->proc, "%s", proc ? proc : "/proc");
    snprintf(t->sys, sizeof t->sys, "%s", sys ? sys : "/sys");
}

static char *read_line(const char *path) {
    char *text = aq_read_file(path, 1 << 20, NULL);
    if (text) text[strcspn(text, "\n")] = 0;
    return text;
}

static bool read_number(int64_t *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool read_number(int64_t *out, const char *format, ...) {
    char path[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(path, sizeof path, format, args);
    va_end(args);
    char *text = n > 0 && (size_t)n < sizeof path ? read_line(path) : NULL;
    if (!text) return false;
    char *end;
    *out = strtoll(text, &end, 10);
    bool ok = end != text;
    free(text);
    return ok;
}

static void add_int_or_null(struct aq_text *out, const char *key, bool known, int64_t value) {
    if (known) {
        aq_json_kv_int(out, key, value);
    } else {
        aq_json_kv_string(out, key, NULL);
    }
}

int64_t aq_memory(const char *proc, const char *key) {
    char path[2048], *text = aq_path(path, sizeof path, "%s/meminfo", proc) ? aq_read_file(path, 65536, NULL) : NULL;
    if (!text) return -1;
    char *line = strstr(text, key);
    int64_t bytes = line && line[strlen(key)] == ':' ? strtoll(line + strlen(key) + 1, NULL, 10) * 1024 : -1;
    free(text);
    return bytes;
}

static int64_t status_bytes(const char *proc, const char *key) {
    char path[2048];
    char *text = aq_path(path, sizeof path, "%s/self/status", proc) ? aq_read_file(path, 65536, NULL) : NULL;
    if (!text) return -1;
    char *line = strstr(text, key);
    int64_t bytes = line ? strtoll(line + strlen(key), NULL, 10) * 1024 : -1;
    free(text);
    return bytes;
}

int64_t aq_rss(const char *proc) {
    return status_bytes(proc ? proc : "/proc", "VmRSS:");
}

int64_t aq_peak_rss(const char *proc) {
    return status_bytes(proc ? proc : "/proc", "VmHWM:");
}

void aq_peak_reset(const char *proc) {
    char path[2048];
    if (!aq_path(path, sizeof path, "%s/self/clear_refs", proc ? proc : "/proc")) return;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t n = write(fd, "5", 1); // 5: VmHWM starts again from VmRSS
    (void)n;
    close(fd);
}

// cpufreq for every CPU that has it, else /proc/cpuinfo (x86).
static void clocks(const struct aq_telemetry *t, struct aq_text *out) {
    aq_json_key(out, "cpu_mhz");
    size_t start = out->length, count = 0;
    aq_text_printf(out, "[");
    int64_t khz;
    for (int cpu = 0; cpu < 1024; cpu++) {
        if (!read_number(&khz, "%s/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", t->sys, cpu)) {
            char path[2048];
            if (!aq_path(path, sizeof path, "%s/devices/system/cpu/cpu%d", t->sys, cpu) || access(path, F_OK) != 0)
                break;
            continue;
        }
        aq_text_printf(out, "%s%lld", count++ ? "," : "", (long long)(khz / 1000));
    }
    char path[2048], *text = NULL;
    if (!count && aq_path(path, sizeof path, "%s/cpuinfo", t->proc)) text = aq_read_file(path, 1 << 22, NULL);
    for (char *at = text; at && (at = strstr(at, "cpu MHz"));) {
        at = strchr(at, ':');
        if (!at) break;
        aq_text_printf(out, "%s%.0f", count++ ? "," : "", strtod(at + 1, NULL));
    }
    free(text);
    aq_text_printf(out, "]");
    if (!count) {
        out->length = start;
        aq_text_printf(out, "null");
    }
}

// Thermal zones by type ("name#2" for the second of a name); hwmon sensors when there are no zones.
static void temperatures(const struct aq_telemetry *t, struct aq_text *out) {
    aq_json_key(out, "temp_c");
    size_t start = out->length, count = 0;
    struct aq_text seen = {0};
    aq_text_printf(out, "{");
    for (int pass = 0; pass < 2 && (pass == 0 || !count); pass++) {
        for (int i = 0; i < 128; i++) {
            char path[2048], label[160], needle[170];
            int64_t milli;
            aq_path(path, sizeof path, pass ? "%s/class/hwmon/hwmon%d/name" : "%s/class/thermal/thermal_zone%d/type",
                    t->sys, i);
            char *type = read_line(path);
            if (!type) {
                if (i > 32) break;
                continue;
            }
            bool known = pass ? read_number(&milli, "%s/class/hwmon/hwmon%d/temp1_input", t->sys, i)
                              : read_number(&milli, "%s/class/thermal/thermal_zone%d/temp", t->sys, i);
            snprintf(label, sizeof label, "%.128s", type);
            free(type);
            // Sensors that are off show 0, -40 or absolute zero.
            if (!known || milli <= -40000 || milli == 0 || milli > 250000) continue;
            snprintf(needle, sizeof needle, "\n%s\n", label);
            int repeats = 1;
            for (char *at = seen.data; at && (at = strstr(at, needle)); at++) repeats++;
            aq_text_printf(&seen, "%s", needle);
            if (repeats > 1) snprintf(label + strlen(label), 16, "#%d", repeats);
            aq_json_kv_number(out, label, (double)milli / 1000.0);
            count++;
        }
    }
    aq_text_free(&seen);
    aq_text_printf(out, "}");
    if (!count) {
        out->length = start;
        aq_text_printf(out, "null");
    }
}

static void load_and_busy(struct aq_telemetry *t, struct aq_text *out) {
    char path[2048], *text;
    aq_path(path, sizeof path, "%s/loadavg", t->proc);
    text = read_line(path);
    char *end = text;
    double load = text ? strtod(text, &end) : (double)NAN;
    aq_json_kv_number(out, "load1", text && end != text ? load : (double)NAN);
    free(text);

    double busy_share = (double)NAN;
    aq_path(path, sizeof path, "%s/stat", t->proc);
    text = read_line(path);
    if (text && strncmp(text, "cpu ", 4) == 0) {
        uint64_t total = 0, idle = 0;
        char *at = text + 4;
        for (int i = 0; i < 8; i++) { // user nice system idle iowait irq softirq steal
            uint64_t value = strtoull(at, &end, 10);
            if (end == at) break;
            at = end;
            total += value;
            if (i == 3 || i == 4) idle += value;
        }
        uint64_t busy = total - idle;
        if (t->have_busy && total > t->total)
            busy_share = busy >= t->busy ? (double)(busy - t->busy) / (double)(total - t->total) : 0.0;
        t->have_busy = total > 0;
        t->busy = busy;
        t->total = total;
    }
    free(text);
    aq_json_kv_number(out, "busy", busy_share > 1.0 ? 1.0 : busy_share);
}

// Supplies that show power, or current and voltage (phones, laptops); else the x86 package energy counter.
static double power(struct aq_telemetry *t, int64_t *capacity) {
    char path[2048];
    double watts = (double)NAN;
    *capacity = -1;
    aq_path(path, sizeof path, "%s/class/power_supply", t->sys);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int64_t value, volt;
        if (entry->d_name[0] == '.') continue;
        if (read_number(&value, "%s/%.200s/capacity", path, entry->d_name) && value >= 0 && value <= 100)
            *capacity = value;
        if (read_number(&value, "%s/%.200s/power_now", path, entry->d_name)) {
            watts = fabs((double)value) / 1e6;
        } else if (read_number(&value, "%s/%.200s/current_now", path, entry->d_name) &&
                   read_number(&volt, "%s/%.200s/voltage_now", path, entry->d_name) && value && volt) {
            watts = fabs((double)value) / 1e6 * ((double)volt / 1e6);
        }
    }
    if (dir) closedir(dir);
    int64_t energy;
    if (isnan(watts) && read_number(&energy, "%s/class/powercap/intel-rapl:0/energy_uj", t->sys) && energy >= 0) {
        uint64_t now = aq_now_ns();
        if (t->have_energy && (uint64_t)energy >= t->energy_uj && now > t->energy_ns)
            watts = (double)((uint64_t)energy - t->energy_uj) * 1e3 / (double)(now - t->energy_ns);
        t->have_energy = true;
        t->energy_uj = (uint64_t)energy;
        t->energy_ns = now;
    }
    return watts;
}

// The Raspberry Pi's firmware flags (any bit now set: under-voltage, capped, throttled, soft limit), or the growth of
// x86's throttle counters since the last look.
static void throttled(struct aq_telemetry *t, struct aq_text *out) {
    char path[2048];
    aq_path(path, sizeof path, "%s/devices/platform/soc/soc:firmware/get_throttled", t->sys);
    char *text = read_line(path);
    if (text) {
        aq_json_kv_bool(out, "throttled", (strtoull(text, NULL, 16) & 0xF) != 0);
        free(text);
        return;
    }
    int64_t core, package;
    uint64_t count = 0;
    bool known = false;
    for (int cpu = 0; cpu < 256; cpu++) {
        bool any = read_number(&core, "%s/devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count", t->sys, cpu);
        if (any) count += (uint64_t)core;
        if (read_number(&package, "%s/devices/system/cpu/cpu%d/thermal_throttle/package_throttle_count", t->sys, cpu)) {
            any = true;
            count += (uint64_t)package;
        }
        if (!any) break;
        known = true;
    }
    if (known && t->have_throttle)
        aq_json_kv_bool(out, "throttled", count > t->throttle_count);
    else
        aq_json_kv_string(out, "throttled", NULL);
    t->have_throttle = known;
    t->throttle_count = count;
}

void aq_telemetry_read(struct aq_telemetry *t, struct aq_text *out) {
    clocks(t, out);
    temperatures(t, out);
    load_and_busy(t, out);
    int64_t available = aq_memory(t->proc, "MemAvailable"), rss = aq_rss(t->proc), capacity;
    add_int_or_null(out, "mem_available", available >= 0, available);
    add_int_or_null(out, "rss", rss >= 0, rss);
    aq_json_kv_number(out, "power_w", power(t, &capacity));
    add_int_or_null(out, "battery_pct", capacity >= 0, capacity);
    throttled(t, out);
}
