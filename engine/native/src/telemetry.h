// What the board shows about itself. Everything the kernel does not show stays null in JSON, never 0.
#ifndef AQ_TELEMETRY_H
#define AQ_TELEMETRY_H

#include "util.h"

struct aq_telemetry {
    char proc[1024], sys[1024];
    bool have_busy;
    uint64_t busy, total; // jiffies at the last look
    bool have_energy;
    uint64_t energy_uj, energy_ns;
    bool have_throttle;
    uint64_t throttle_count;
};

// NULL: /proc and /sys.
void aq_telemetry_init(struct aq_telemetry *t, const char *proc, const char *sys);
// The fields of a `telemetry` event, without braces.
void aq_telemetry_read(struct aq_telemetry *t, struct aq_text *out);

// Resident bytes now and at most since aq_peak_reset; -1 when the kernel does not show them.
int64_t aq_rss(const char *proc);
int64_t aq_peak_rss(const char *proc);
void aq_peak_reset(const char *proc);

// Bytes of MemTotal / MemAvailable; -1 when not shown.
int64_t aq_memory(const char *proc, const char *key);

#endif
