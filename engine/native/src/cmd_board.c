// info, sample, roofline: what this machine is and shows.
#include "commands.h"
#include "kernels/kernels.h"
#include "telemetry.h"
#include "threadpool.h"
#include "roofline.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef AQ_TARGET
#define AQ_TARGET "unknown"
#endif

// "model name" (x86), "Hardware" or "Model" (Arm boards), else the implementer and part numbers of the last core, which
// is one of the fast ones on mixed designs.
static void cpu_name(const char *proc, char *out, size_t size) {
    char path[2048];
    snprintf(out, size, "unknown");
    char *text = aq_path(path, sizeof path, "%s/cpuinfo", proc) ? aq_read_file(path, 1 << 22, NULL) : NULL;
    if (!text) return;
    static const char *const keys[] = {"model name", "Hardware", "Model"};
    char implementer[32] = "", part[32] = "";
    bool found = false;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line && !found; line = strtok_r(NULL, "\n", &rest)) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (strncmp(line, keys[i], strlen(keys[i])) == 0 && *value) {
                snprintf(out, size, "%s", value);
                found = i == 0;
            }
        if (strncmp(line, "CPU implementer", 15) == 0) snprintf(implementer, sizeof implementer, "%s", value);
        if (strncmp(line, "CPU part", 8) == 0) snprintf(part, sizeof part, "%s", value);
    }
    if (strcmp(out, "unknown") == 0 && part[0]) snprintf(out, size, "Arm %s part %s", implementer, part);
    free(text);
}

static void add_bytes(struct aq_text *t, const char *key, int64_t bytes) {
    if (bytes >= 0)
        aq_json_kv_int(t, key, bytes);
    else
        aq_json_kv_string(t, key, NULL);
}

int aq_cmd_info(const struct aq_args *args) {
    struct aq_error err;
    const char *isa = aq_arg(args, "isa"), *proc = aq_arg(args, "proc");
    char name[256], boot[64];
    if (!proc) proc = "/proc";
    const struct aq_kernels *kernels = aq_kernels_select(isa ? isa : "auto", &err);
    if (!kernels) return aq_report(&err, AQ_FAILED);
    cpu_name(proc, name, sizeof name);
    aq_boot_id(proc, boot);
    struct aq_text t = {0};
    aq_text_printf(&t, "{");
    aq_json_kv_string(&t, "version", AQ_VERSION);
    aq_json_kv_string(&t, "build", AQ_BUILD);
    aq_json_kv_string(&t, "target", AQ_TARGET);
    aq_json_kv_string(&t, "compiler", __VERSION__);
    aq_json_kv_string(&t, "cpu", name);
    aq_json_key(&t, "isas");
    aq_text_printf(&t, "[");
    for (const struct aq_kernels *const *set = aq_kernel_sets; *set; set++)
        if ((*set)->supported()) aq_text_printf(&t, "%s\"%s\"", set == aq_kernel_sets ? "" : ",", (*set)->isa);
    aq_text_printf(&t, "]");
    aq_json_kv_string(&t, "isa", kernels->isa);
    aq_json_key(&t, "kernels");
    static const enum aq_format formats[] = {AQ_F16, AQ_BF16, AQ_I8, AQ_I4, AQ_I4};
    static const char *const precisions[] = {"fp16", "bf16", "w8a8", "w4a8", "w4a4"};
    aq_text_printf(&t, "{");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i] == AQ_BF16 && !kernels->bf16_dot) continue; // without the instruction it is no baseline
        char text[160];
        snprintf(text, sizeof text, "%s: %s", kernels->isa, kernels->description[formats[i]]);
        aq_json_kv_string(&t, precisions[i], text);
    }
    aq_text_printf(&t, "}");
    aq_json_kv_int(&t, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    aq_json_kv_int(&t, "page_size", sysconf(_SC_PAGESIZE));
    add_bytes(&t, "mem_total", aq_memory(proc, "MemTotal"));
    add_bytes(&t, "mem_available", aq_memory(proc, "MemAvailable"));
    aq_json_kv_string(&t, "boot_id", boot);
    aq_text_printf(&t, "}");
    return aq_print(&t);
}

// A short integer loop whose steps depend on each other: its time follows the clock, nothing else. Best of five.
static uint64_t reference_loop(void) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t x = 1, start = aq_now_ns();
        for (int j = 0; j < 4000000; j++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            __asm__ __volatile__("" : "+r"(x)); // keeps the loop
        }
        uint64_t ns = aq_now_ns() - start;
        best = ns < best ? ns : best;
    }
    return best;
}

int aq_cmd_sample(const struct aq_args *args) {
    struct aq_error err;
    uint64_t ms;
    if (!aq_arg_number(args, "ms", 500, 60000, &ms, &err)) return aq_report(&err, AQ_USAGE);
    struct aq_telemetry telemetry;
    struct aq_text t = {0};
    aq_telemetry_init(&telemetry, aq_arg(args, "proc"), aq_arg(args, "sysfs"));
    aq_telemetry_read(&telemetry, &t); // the start of the interval that `busy` and `power_w` cover
    aq_text_clear(&t);
    aq_sleep_ms((unsigned)ms);
    aq_text_printf(&t, "{\"event\":\"telemetry\"");
    aq_telemetry_read(&telemetry, &t);
    if (aq_arg(args, "loop")) aq_json_kv_int(&t, "loop_ns", (int64_t)reference_loop());
    aq_text_printf(&t, "}");
    return aq_print(&t);
}

int aq_cmd_roofline(const struct aq_args *args) {
    struct aq_error err;
    uint64_t threads;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!aq_arg_number(args, "threads", cores > 0 ? (uint64_t)cores : 1, AQ_MAX_THREADS, &threads, &err))
        return aq_report(&err, AQ_USAGE);
    struct aq_roofline r;
    if (!aq_roofline_measure((unsigned)threads, &r, &err)) return aq_report(&err, AQ_FAILED);
    struct aq_text t = {0};
    aq_text_printf(&t, "{\"event\":\"roofline\"");
    aq_json_kv_int(&t, "threads", (int64_t)threads);
    aq_json_kv_number(&t, "read_gb_s", r.read_gb_s);
    aq_json_kv_number(&t, "fp32_gflop_s", r.fp32_gflop_s);
    if (r.bf16_gflop_s > 0) aq_json_kv_number(&t, "bf16_gflop_s", r.bf16_gflop_s);
    aq_json_kv_number(&t, "int8_gop_s", r.int8_gop_s);
    aq_text_printf(&t, "}");
    return aq_print(&t);
}
