// kernels: how fast every product of every instruction set of this CPU is, beside what its multiply instruction can do.
#include "commands.h"
#include "kernels/half.h"
#include "model.h"
#include "threadpool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct kind {
    const char *name;
    enum aq_format format;
    int limit;
    bool zeros, packed4;
} kinds[] = {{"fp16", AQ_F16, 0, false, false},    {"bf16", AQ_BF16, 0, false, false},
             {"w8a8", AQ_I8, 127, false, false},   {"w4a8", AQ_I4, 127, false, false},
             {"w4a4", AQ_I4, 7, false, false},     {"w4a8+asym", AQ_I4, 127, true, false},
             {"w4a4+asym", AQ_I4, 7, true, false}, {"w4a4-packed", AQ_I4, 7, false, true}};

struct measured {
    struct aq_pool *pool;
    void (*run)(const struct aq_product *p);
    struct aq_product product;
    uint8_t *scratch;
    size_t scratch_bytes, panels;
    uint64_t cpu_ns[AQ_MAX_THREADS];
    size_t peak_rounds;
    uint64_t (*peak)(size_t rounds);
    uint64_t peak_operations[AQ_MAX_THREADS];
};

// A thread's own time does not count what others on this machine take.
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run_panels(void *context, size_t first, size_t last, unsigned thread) {
    struct measured *m = context;
    struct aq_product p = m->product;
    p.first = first;
    p.last = last;
    p.scratch = m->scratch + thread * m->scratch_bytes;
    uint64_t start = cpu_ns();
    m->run(&p);
    m->cpu_ns[thread] += cpu_ns() - start;
}

static void run_peak(void *context, size_t first, size_t last, unsigned thread) {
    struct measured *m = context;
    uint64_t start = cpu_ns();
    for (size_t i = first; i < last; i++) m->peak_operations[thread] += m->peak(m->peak_rounds);
    m->cpu_ns[thread] += cpu_ns() - start;
}

struct rate {
    double cpu, wall; // 10^9 operations a second of all threads
};

// Best round of those that fit into `ms`, at least three.
static struct rate measure(struct measured *m, uint64_t ms, bool peak) {
    struct rate best = {0};
    size_t threads = aq_pool_threads(m->pool);
    uint64_t begin = aq_now_ns();
    for (int round = 0; round < 3 || aq_now_ns() - begin < ms * 1000000u; round++) {
        memset(m->cpu_ns, 0, sizeof m->cpu_ns);
        memset(m->peak_operations, 0, sizeof m->peak_operations);
        uint64_t start = aq_now_ns();
        if (peak)
            aq_pool_run(m->pool, threads, 1, run_peak, m);
        else
            aq_pool_run(m->pool, m->panels, aq_max(1, m->panels / (threads * 8)), run_panels, m);
        double wall = (double)(aq_now_ns() - start), cpu = 0, operations = 0;
        for (size_t i = 0; i < AQ_MAX_THREADS; i++) {
            cpu += (double)m->cpu_ns[i];
            operations += (double)m->peak_operations[i];
        }
        if (!peak) operations = 2.0 * (double)m->product.m * (double)m->product.w->n * (double)m->product.w->k;
        if (cpu > 0 && operations * (double)threads / cpu > best.cpu) best.cpu = operations * (double)threads / cpu;
        if (operations / wall > best.wall) best.wall = operations / wall;
    }
    return best;
}

struct shape {
    size_t m, n, k, group;
};

// Random weights and activations in one piece of memory, packed for the table.
struct data {
    uint8_t *memory;
    size_t size;
    struct aq_rows rows;
    struct aq_matrix w;
    float *x, *y;
    uint8_t *scratch;
    size_t scratch_bytes;
};

static void fill(uint8_t *to, size_t bytes) {
    uint64_t x = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(to + i, &x, 8);
    }
}

static void fill_weights(struct data *d, const struct aq_kernels *kernels, uint8_t *source, uint8_t *packed,
                         void *scales, int8_t *zeros) {
    struct aq_matrix *w = &d->w;
    size_t bytes = w->format == AQ_I8 ? w->n * w->k : w->format == AQ_I4 ? w->n * w->padded / 2 : w->n * w->k * 2;
    fill(source, bytes);
    if (w->format == AQ_I8) {
        for (size_t i = 0; i < bytes; i++) source[i] = source[i] == 0x80 ? 0 : source[i];
        for (size_t i = 0; i < w->n; i++) ((float *)scales)[i] = 0.001f;
        kernels->pack_i8((int8_t *)packed, (const int8_t *)source, w->n, w->k);
    } else if (w->format == AQ_I4) {
        size_t rows = aq_panels(kernels, AQ_I4, w->n) * kernels->panel[AQ_I4];
        for (size_t i = 0; i < rows * w->groups; i++) {
            ((uint16_t *)scales)[i] = aq_float_to_half(0.01f);
            zeros[i] = (int8_t)(i % 16 - 7);
        }
        kernels->pack_i4(packed, source, w->n, w->padded);
    } else {
        for (size_t i = 1; i < bytes; i += 2) source[i] &= 0xBF; // below 2 in magnitude in both formats
        if (w->format == AQ_F16)
            kernels->pack_f16((void *)packed, (const void *)source, w->n, w->k);
        else
            kernels->pack_bf16((void *)packed, (const void *)source, w->n, w->k);
    }
    w->weights = packed;
    w->scales = scales;
}

static bool make_data(struct data *d, const struct aq_kernels *kernels, const struct kind *kind, const struct shape *s,
                      unsigned threads, struct aq_error *err) {
    size_t group = s->group ? s->group : aq_round_up(s->k, 32), groups = (s->k + group - 1) / group;
    size_t packed_bytes, ld = aq_round_up(s->k, 128) + 32, ldx = aq_round_up(s->k, 16) + 16;
    d->w = (struct aq_matrix){.format = kind->format, .n = s->n, .k = s->k, .stride = s->k};
    if (kind->format == AQ_I4) d->w.group = group, d->w.groups = groups, d->w.padded = group * groups;
    d->scratch_bytes = aq_round_up(kernels->scratch_bytes(ld), 64);
    if (!aq_packed_bytes(kernels, kind->format, s->n, kind->format == AQ_I4 ? d->w.padded : s->k, &packed_bytes))
        return aq_fail(err, "usage", "the shape is too big");
    size_t cells = s->m * ld, scales = (s->n + 64) * (kind->format == AQ_I4 ? groups : 1) * 4;
    size_t parts[] = {s->n * (s->k + group) * 2 + 64,
                      packed_bytes,
                      scales,
                      scales,
                      cells,
                      cells * 2,
                      cells / 8,
                      s->m * 4,
                      s->m * ldx * 4,
                      s->m * s->n * 4,
                      d->scratch_bytes * threads};
    uint8_t *part[sizeof parts / sizeof *parts];
    d->size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) d->size += aq_round_up(parts[i], 64);
    d->memory = aq_big_alloc(d->size, "the products", err);
    if (!d->memory) return false;
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; at += aq_round_up(parts[i], 64), i++) part[i] = d->memory + at;
    fill_weights(d, kernels, part[0], part[1], part[2], (int8_t *)part[3]);
    if (kind->zeros) d->w.zeros = (int8_t *)part[3];
    d->rows = (struct aq_rows){ld, (int8_t *)part[4], (void *)part[5], (void *)part[6], (void *)part[7], kind->limit};
    d->x = (void *)part[8];
    d->y = (void *)part[9];
    d->scratch = part[10];
    for (size_t i = 0; i < s->m * ldx; i++) d->x[i] = (float)(i * 2654435761u % 1021) / 1021.0f - 0.5f;
    const struct aq_input plain = {0};
    for (size_t row = 0; row < s->m && kind->format != AQ_F16; row++) {
        if (kind->format == AQ_BF16)
            kernels->round_bf16(&d->rows, row, d->x + row * ldx, s->k);
        else
            kernels->quantize(&d->rows, row, d->x + row * ldx, s->k, &plain);
    }
    return true;
}

static bool report(const struct aq_kernels *kernels, const struct kind *kind, const struct shape *s,
                   struct aq_pool *pool, uint64_t ms, struct aq_error *err) {
    unsigned threads = aq_pool_threads(pool);
    struct data d = {0};
    if (!make_data(&d, kernels, kind, s, threads, err)) return false;
    struct measured *m = calloc(1, sizeof *m);
    if (!m) return aq_fail(err, "memory", "out of memory");
    m->pool = pool;
    m->run = kind->packed4 ? kernels->product_packed4 : kernels->product[kind->format];
    m->scratch = d.scratch;
    m->scratch_bytes = d.scratch_bytes;
    m->panels = aq_panels(kernels, kind->format, s->n);
    m->product = (struct aq_product){
        .w = &d.w, .m = s->m, .x = d.x, .ldx = aq_round_up(s->k, 16) + 16, .rows = &d.rows, .y = d.y, .ldy = s->n};
    m->peak = kernels->peak[kind->format];
    m->peak_rounds = 20000;
    struct rate peak = m->peak ? measure(m, ms / 4, true) : (struct rate){0}, rate = measure(m, ms, false);
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"kernel\"");
    aq_json_kv_string(&line, "isa", kernels->isa);
    aq_json_kv_string(&line, "kernel", kind->name);
    aq_json_kv_int(&line, "m", (int64_t)s->m);
    aq_json_kv_int(&line, "n", (int64_t)s->n);
    aq_json_kv_int(&line, "k", (int64_t)s->k);
    if (kind->format == AQ_I4) aq_json_kv_int(&line, "group", (int64_t)s->group);
    aq_json_kv_int(&line, "threads", (int64_t)threads);
    aq_json_kv_number(&line, "gop_s", rate.cpu);
    aq_json_kv_number(&line, "wall_gop_s", rate.wall);
    if (peak.cpu > 0) {
        aq_json_kv_number(&line, "peak_gop_s", peak.cpu);
        aq_json_kv_number(&line, "share", rate.cpu / peak.cpu);
    }
    aq_text_printf(&line, "}");
    aq_big_free(d.memory, d.size);
    free(m);
    return aq_print(&line) == AQ_OK;
}

int aq_cmd_kernels(const struct aq_args *args) {
    struct aq_error err = {0};
    uint64_t m, n, k, group, threads, ms;
    const char *isa = aq_arg(args, "isa"), *only = aq_arg(args, "kernel");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!aq_arg_number(args, "m", 512, 8192, &m, &err) || !aq_arg_number(args, "n", 5632, 1 << 20, &n, &err) ||
        !aq_arg_number(args, "k", 2048, 131072, &k, &err) || !aq_arg_number(args, "group", 32, 128, &group, &err) ||
        !aq_arg_number(args, "ms", 400, 60000, &ms, &err) ||
        !aq_arg_number(args, "threads", cores > 0 ? (uint64_t)cores : 1, AQ_MAX_THREADS, &threads, &err))
        return aq_report(&err, AQ_USAGE);
    if (m < 1 || n < 1 || k < 1 || n * k > (uint64_t)1 << 30 ||
        (group != 0 && group != 32 && group != 64 && group != 128)) {
        aq_fail(&err, "usage", "--m, --n and --k are at least 1, n x k at most 2^30, --group one of 0, 32, 64, 128");
        return aq_report(&err, AQ_USAGE);
    }
    struct shape s = {m, n, k, group};
    const struct aq_kernels *wanted = isa ? aq_kernels_select(isa, &err) : NULL;
    struct aq_pool *pool = isa && !wanted ? NULL : aq_pool_create((unsigned)threads, NULL, 0, &err);
    bool ok = pool != NULL, found = false;
    for (const struct aq_kernels *const *set = aq_kernel_sets; ok && *set; set++) {
        if (wanted ? *set != wanted : !(*set)->supported()) continue;
        for (size_t i = 0; ok && i < sizeof kinds / sizeof *kinds; i++) {
            if ((only && strcmp(only, kinds[i].name) != 0) || (kinds[i].packed4 && !(*set)->product_packed4)) continue;
            found = true;
            ok = report(*set, &kinds[i], &s, pool, ms, &err);
        }
    }
    if (ok && !found) ok = aq_fail(&err, "usage", "there is no kernel %s", only);
    aq_pool_destroy(pool);
    return ok ? AQ_OK : aq_report(&err, AQ_FAILED);
}
