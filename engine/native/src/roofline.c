#include "roofline.h"

#include "model.h"
#include "threadpool.h"

#include <stdlib.h>
#include <string.h>

// Best-of-N measurements through the same thread pool as a run.
enum { ROUNDS = 5 };

struct reading {
    const uint64_t *words;
    uint64_t *sums; // a thread
};

static void read_words(void *context, size_t first, size_t last, unsigned thread) {
    struct reading *r = context;
    uint64_t lane[8] = {0};
    for (size_t i = first; i + 8 <= last; i += 8)
        for (size_t l = 0; l < 8; l++) lane[l] += r->words[i + l];
    for (size_t l = 0; l < 8; l++) r->sums[thread * 8] += lane[l];
}

static bool measure_read(struct aq_pool *pool, double *gb_s, struct aq_error *err) {
    int64_t available = 256 << 20;
    char *text = aq_read_file("/proc/meminfo", 65536, NULL), *line = text ? strstr(text, "MemAvailable:") : NULL;
    if (line) available = strtoll(line + 13, NULL, 10) * 1024;
    free(text);
    size_t bytes = (size_t)256 << 20; // far beyond any last-level cache of a board
    if ((int64_t)bytes > available / 2) bytes = aq_round_up((size_t)available / 4, 4096);
    uint64_t sums[AQ_MAX_THREADS * 8] = {0};
    uint64_t *words = aq_big_alloc(bytes, "the bandwidth measurement", err);
    if (!words) return false;
    memset(words, 1, bytes);
    struct reading r = {words, sums};
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = aq_now_ns();
        aq_pool_run(pool, bytes / 8, 1 << 17, read_words, &r);
        uint64_t ns = aq_now_ns() - start;
        best = ns < best ? ns : best;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < AQ_MAX_THREADS; i++) total += sums[i * 8];
    __asm__ __volatile__("" : : "r"(total)); // the sums count
    *gb_s = (double)bytes / (double)best;
    aq_big_free(words, bytes);
    return true;
}

// The multiply instruction alone, where the table knows it.
struct instruction {
    uint64_t (*peak)(size_t rounds);
    uint64_t operations[AQ_MAX_THREADS];
};

static void multiply_registers(void *context, size_t first, size_t last, unsigned thread) {
    struct instruction *in = context;
    for (size_t i = first; i < last; i++) in->operations[thread] += in->peak(20000);
}

static double measure_instruction(struct aq_pool *pool, uint64_t (*peak)(size_t rounds)) {
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct instruction in = {.peak = peak};
        uint64_t start = aq_now_ns(), operations = 0;
        aq_pool_run(pool, (size_t)aq_pool_threads(pool) * 8, 1, multiply_registers, &in);
        double ns = (double)(aq_now_ns() - start);
        for (size_t t = 0; t < AQ_MAX_THREADS; t++) operations += in.operations[t];
        if ((double)operations / ns > best) best = (double)operations / ns;
    }
    return best;
}

struct multiplying {
    const struct aq_kernels *kernels;
    struct aq_product product;
    uint8_t *scratch;
    size_t scratch_bytes, panels;
};

// Work item: one pass over the whole small product, so that weights and activations stay in the cache.
static void multiply(void *context, size_t first, size_t last, unsigned thread) {
    struct multiplying *m = context;
    for (size_t i = first; i < last; i++) {
        struct aq_product p = m->product;
        p.last = m->panels;
        p.y += thread * p.m * p.ldy;
        p.scratch = m->scratch + thread * m->scratch_bytes;
        m->kernels->product[p.w->format](&p);
    }
}

// Else what the product kernel reaches on data in the cache: n and k as small as keeps its loops long.
static bool measure_product(struct aq_pool *pool, const struct aq_kernels *kernels, enum aq_format format, double *rate,
                            struct aq_error *err) {
    enum { M = 48, N = 64, K = 512, REPEAT = 64 };
    unsigned threads = aq_pool_threads(pool);
    size_t packed, scratch = aq_round_up(kernels->scratch_bytes(K), 64);
    if (!aq_packed_bytes(kernels, format, N, K, &packed)) return aq_fail(err, "memory", "sizes overflow");
    packed = aq_round_up(packed, 64);
    size_t total = packed + N * 4 * K + M * K * 8 + (size_t)threads * (M * N * 4 + scratch);
    uint8_t *memory = aq_big_alloc(total, "the multiply measurement", err);
    if (!memory) return false;
    uint8_t *at = memory + packed;
    float *scales = (void *)at;
    at += N * 4 * K;
    struct aq_rows rows = {.ld = K, .limit = 127};
    float *x = (void *)at;
    rows.q = (void *)at; // either x or the quantized rows are used; zeros multiply as fast as anything
    rows.q16 = (void *)(at + M * K);
    rows.offsets = (void *)(at + M * K * 3);
    rows.scale = (void *)(at + M * K * 4);
    at += M * K * 8;
    struct aq_matrix w = {.format = format, .n = N, .k = K, .stride = K, .weights = memory, .scales = scales};
    struct multiplying m = {kernels, {.w = &w, .m = M, .x = x, .ldx = K, .rows = &rows, .ldy = N}, NULL, scratch, 0};
    m.product.y = (void *)at;
    m.scratch = at + (size_t)threads * M * N * 4;
    m.panels = aq_panels(kernels, format, N);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = aq_now_ns();
        aq_pool_run(pool, (size_t)REPEAT * threads, 4, multiply, &m);
        uint64_t ns = aq_now_ns() - start;
        best = ns < best ? ns : best;
    }
    *rate = 2.0 * M * N * K * REPEAT * threads / (double)best;
    aq_big_free(memory, total);
    return true;
}

static bool measure_multiply(struct aq_pool *pool, const struct aq_kernels *kernels, enum aq_format format,
                             double *rate, struct aq_error *err) {
    if (!kernels->peak[format]) return measure_product(pool, kernels, format, rate, err);
    *rate = measure_instruction(pool, kernels->peak[format]);
    return true;
}

bool aq_roofline_measure(unsigned threads, struct aq_roofline *out, struct aq_error *err) {
    const struct aq_kernels *kernels = aq_kernels_select("auto", err);
    struct aq_pool *pool = kernels ? aq_pool_create(threads, NULL, 0, err) : NULL;
    if (!pool) return false;
    bool ok = measure_read(pool, &out->read_gb_s, err) &&
              measure_multiply(pool, kernels, AQ_F16, &out->fp32_gflop_s, err) &&
              measure_multiply(pool, kernels, AQ_I8, &out->int8_gop_s, err);
    out->bf16_gflop_s = 0;
    if (ok && kernels->bf16_dot) ok = measure_multiply(pool, kernels, AQ_BF16, &out->bf16_gflop_s, err);
    aq_pool_destroy(pool);
    return ok;
}
