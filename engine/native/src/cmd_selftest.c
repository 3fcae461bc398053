// selftest: every kernel this CPU would use against the scalar one, on shapes with every kind of remainder.
#include "commands.h"
#include "kernels/half.h"
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const struct aq_kernels *kernels, *scalar;
    uint64_t random;
    size_t shapes;
    double worst;     // largest difference; the order of additions is fixed, so it must be 0
    double tolerance; // except for bf16 by instructions with an order of their own, and for fp16 arithmetic
    bool ok;
};

static uint32_t next(struct test *t) {
    t->random ^= t->random << 13, t->random ^= t->random >> 7, t->random ^= t->random << 17;
    return (uint32_t)(t->random >> 32);
}

static float uniform(struct test *t) { // -1..1
    return (float)((double)next(t) / 0x1p31 - 1.0);
}

static void differ(struct test *t, double difference) {
    if (!(difference <= t->worst)) t->worst = difference; // NaN counts
    if (!(difference <= t->tolerance)) t->ok = false;
}

// One product on both sets of kernels. Buffers are sized for the largest shape.
struct bench {
    size_t m, n, k, group;
    enum aq_format format;
    int limit;
    bool zeros, half, packed4;
    uint8_t *source, *packed[2], *scratch;
    int8_t *zeros_source, *zeros_packed[2];
    uint16_t *scales_source, *scales[2];
    float *x, *y[2];
    int32_t *acc[2];
    struct aq_rows rows;
};

enum { MAX_M = 40, MAX_N = 130, MAX_K = 2304, PAD = 64 };

static void fill_weights(struct test *t, struct bench *b, size_t padded, size_t groups) {
    if (b->format == AQ_F16 || b->format == AQ_BF16) {
        uint16_t *w = (uint16_t *)(void *)b->source;
        for (size_t i = 0; i < b->n * b->k; i++)
            w[i] = b->format == AQ_F16 ? aq_float_to_half(uniform(t)) : aq_float_to_bf16(uniform(t));
    } else if (b->format == AQ_I8) {
        float *scales = (float *)(void *)b->scales_source;
        for (size_t i = 0; i < b->n * b->k; i++) b->source[i] = (uint8_t)(int8_t)((int)(next(t) % 255) - 127);
        memset(b->source, next(t) & 1 ? 0x7F : 0x81, b->k); // row 0: the bound
        for (size_t i = 0; i < b->n; i++) scales[i] = 0.01f + fabsf(uniform(t));
    } else {
        for (size_t i = 0; i < b->n * padded / 2; i++) b->source[i] = (uint8_t)next(t);
        memset(b->source, 0, padded / 2); // row 0: all -8
        if (b->n > 1) memset(b->source + padded / 2, 0xFF, padded / 2);
        for (size_t i = 0; i < b->n * groups; i++) b->scales_source[i] = aq_float_to_half(0.01f + fabsf(uniform(t)));
        for (size_t i = 0; i < b->n * groups; i++) b->zeros_source[i] = (int8_t)(next(t) & 15);
        memset(b->zeros_source, 15, groups); // row 0: all -15
    }
}

static void fill_activations(struct test *t, struct bench *b) {
    for (size_t i = 0; i < b->m * b->k; i++) b->x[i] = uniform(t);
    b->rows.ld = aq_round_up(b->k, 128);
    for (size_t row = 0; b->half && row < b->m; row++) t->kernels->round_half(&b->rows, row, b->x + row * b->k, b->k);
    if (b->format == AQ_F16) return;
    if (b->format == AQ_BF16) {
        for (size_t row = 0; row < b->m; row++) t->scalar->round_bf16(&b->rows, row, b->x + row * b->k, b->k);
        return;
    }
    for (size_t i = 0; i < b->k; i++) b->x[i] = b->x[i] < 0 && b->m > 1 ? -1.0f : 1.0f; // row 0: the bound
    b->rows.limit = b->limit;
    const struct aq_input plain = {0};
    for (size_t row = 0; row < b->m; row++) t->scalar->quantize(&b->rows, row, b->x + row * b->k, b->k, &plain);
}

static void run_product(const struct bench *b, const struct aq_kernels *kernels, int side, bool raw, size_t padded,
                        size_t groups) {
    struct aq_matrix w = {.format = b->format,
                          .n = b->n,
                          .k = b->k,
                          .stride = b->k,
                          .padded = padded,
                          .group = groups ? padded / groups : 0,
                          .groups = groups,
                          .weights = b->packed[side],
                          .scales = b->scales[side],
                          .zeros = b->zeros ? b->zeros_packed[side] : NULL};
    struct aq_product p = {.w = &w,
                           .m = b->m,
                           .x = b->x,
                           .ldx = b->k,
                           .rows = &b->rows,
                           .y = b->y[side],
                           .ldy = b->n,
                           .last = aq_panels(kernels, b->format, b->n),
                           .accumulators = raw ? b->acc[side] : NULL,
                           .scratch = b->scratch};
    if (b->half && side == 1)
        kernels->product_half(&p);
    else if (b->packed4 && side == 1)
        kernels->product_packed4(&p);
    else
        kernels->product[b->format](&p);
}

// How far products of -1..1 may lie from the scalar ones. bf16 by instructions of its own sums in another order:
// rounding errors far below sum |x w| 2^-24 k, as they cancel. fp16 arithmetic rounds partial sums of about sqrt(32) /
// 3 to 2^-11 of their size, 32 times a chain: about 2^-9.3 a chain of random errors; ten times that.
static double product_tolerance(const struct test *t, const struct bench *b) {
    if (b->half) return 0x1p-6 * sqrt((double)aq_max(b->k, 32) / 32);
    return b->format == AQ_BF16 && t->kernels->bf16_dot ? (double)b->k * 0x1p-22 : 0;
}

static void product_case(struct test *t, struct bench *b) {
    size_t group = b->group ? b->group : aq_round_up(b->k, 32), groups = 0, padded = 0;
    if (b->format == AQ_I4) {
        groups = (b->k + group - 1) / group;
        padded = groups * group;
    }
    fill_weights(t, b, padded, groups);
    fill_activations(t, b);
    const struct aq_kernels *sets[] = {t->scalar, t->kernels};
    bool integer = b->format == AQ_I8 || b->format == AQ_I4;
    for (int side = 0; side < 2; side++) {
        const struct aq_kernels *kernels = sets[side];
        if (b->format == AQ_F16) {
            kernels->pack_f16((uint16_t *)(void *)b->packed[side], (const uint16_t *)(const void *)b->source, b->n,
                              b->k);
        } else if (b->format == AQ_BF16) {
            kernels->pack_bf16((uint16_t *)(void *)b->packed[side], (const uint16_t *)(const void *)b->source, b->n,
                               b->k);
        } else if (b->format == AQ_I8) {
            kernels->pack_i8((int8_t *)b->packed[side], (const int8_t *)b->source, b->n, b->k);
            memcpy(b->scales[side], b->scales_source, b->n * 4);
        } else {
            kernels->pack_i4(b->packed[side], b->source, b->n, padded);
            aq_pack_i4_scales(kernels, b->scales[side], b->scales_source, b->n, groups);
            aq_pack_i4_zeros(kernels, b->zeros_packed[side], b->zeros_source, b->n, groups);
        }
        run_product(b, kernels, side, false, padded, groups);
        if (integer) run_product(b, kernels, side, true, padded, groups);
    }
    t->tolerance = product_tolerance(t, b);
    for (size_t i = 0; i < b->m * b->n; i++) {
        differ(t, fabs((double)b->y[0][i] - (double)b->y[1][i]));
    }
    for (size_t i = 0; integer && i < b->m * b->n * aq_max(groups, 1); i++)
        differ(t, fabs((double)b->acc[0][i] - (double)b->acc[1][i]));
    t->tolerance = 0;
    t->shapes++;
}

static void product_cases(struct test *t, struct bench *b, bool quick) {
    static const size_t ms[] = {1, 2, 3, 4, 5, 6, 7, 13, 33}, ns[] = {1, 15, 16, 33, 63, 64, 130},
                        ks[] = {1, 2, 8, 31, 64, 172, 299, 300, 2304};
    static const size_t groups[] = {32, 64, 128, 0};
    size_t kinds = b->format == AQ_I4 ? 4 : 1, step = quick ? 3 : 1;
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i += step)
        for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
            for (size_t l = 0; l < sizeof ks / sizeof *ks; l += step)
                for (size_t g = 0; g < kinds; g++) {
                    b->m = ms[i], b->n = ns[j], b->k = ks[l], b->group = groups[g];
                    product_case(t, b);
                }
}

static void differ_all(struct test *t, const float *one, const float *two, size_t n) {
    for (size_t i = 0; i < n; i++) differ(t, fabs((double)one[i] - (double)two[i]));
}

// n numbers, some of them large, then n weights or key positions, then n biases.
static void normalize_cases(struct test *t, struct bench *b, size_t n) {
    float *x = b->x, *one = b->y[0], *two = b->y[1];
    t->scalar->rmsnorm(one, x, x + n, n, 1e-5f);
    t->kernels->rmsnorm(two, x, x + n, n, 1e-5f);
    differ_all(t, one, two, n);
    t->scalar->layernorm(one, x, x + n, x + 2 * n, n, 1e-5f);
    t->kernels->layernorm(two, x, x + n, x + 2 * n, n, 1e-5f);
    differ_all(t, one, two, n);
    memcpy(one, x, n * 4), memcpy(two, x, n * 4);
    t->scalar->alibi(one, n, 0.3f, 0.0625f, x + n, 7.0f);
    t->kernels->alibi(two, n, 0.3f, 0.0625f, x + n, 7.0f);
    differ_all(t, one, two, n);
    for (int probabilities = AQ_PROBABILITIES_FP32; probabilities <= AQ_PROBABILITIES_UNIFORM; probabilities++) {
        memcpy(one, x, n * 4), memcpy(two, x, n * 4);
        t->scalar->softmax(one, n, 0.3f, (enum aq_probabilities)probabilities);
        t->kernels->softmax(two, n, 0.3f, (enum aq_probabilities)probabilities);
        differ_all(t, one, two, n);
    }
    differ(t, fabs(t->scalar->nll(x, n, n / 2) - t->kernels->nll(x, n, n / 2)));
}

static void activation_cases(struct test *t, struct bench *b, size_t n) {
    float *x = b->x, *one = b->y[0], *two = b->y[1];
    memcpy(one, x, n * 4), memcpy(two, x, n * 4);
    t->scalar->swiglu(one, x + n, n);
    t->kernels->swiglu(two, x + n, n);
    differ_all(t, one, two, n);
    memcpy(one, x, n * 4), memcpy(two, x, n * 4);
    t->scalar->relu(one, n);
    t->kernels->relu(two, n);
    differ_all(t, one, two, n);
    memcpy(one, x, n * 4), memcpy(two, x, n * 4);
    t->scalar->gelu(one, n);
    t->kernels->gelu(two, n);
    differ_all(t, one, two, n);
}

static void round_cases(struct test *t, struct bench *b, size_t n) {
    float *one = b->y[0], *two = b->y[1];
    b->rows.ld = aq_round_up(n, 128);
    memcpy(one, b->x, n * 4), memcpy(two, b->x, n * 4);
    t->scalar->round_bf16(&b->rows, 0, one, n);
    t->kernels->round_bf16(&b->rows, 1, two, n);
    differ_all(t, one, two, n);
    differ(t, memcmp(b->rows.q16, b->rows.q16 + b->rows.ld, b->rows.ld * 2) ? 1.0 : 0.0);
}

// To int8 and back, in both directions of scales.
static void cache_cases(struct test *t, struct bench *b, size_t n) {
    float *one = b->y[0], *two = b->y[1], inverse[2];
    int8_t *q[] = {(int8_t *)b->packed[0], (int8_t *)b->packed[1]};
    float scales[] = {t->scalar->row_scale(b->x, n, &inverse[0]), t->kernels->row_scale(b->x, n, &inverse[1])};
    differ_all(t, scales, scales + 1, 1);
    differ_all(t, inverse, inverse + 1, 1);
    t->scalar->to_int8(q[0], b->x, n, inverse[0]);
    t->kernels->to_int8(q[1], b->x, n, inverse[1]);
    differ(t, memcmp(q[0], q[1], n) ? 1.0 : 0.0);
    for (int by_row = 0; by_row < 2 && n >= 16; by_row++) {
        t->scalar->from_int8(one, q[0], b->x, n / 16, by_row);
        t->kernels->from_int8(two, q[1], b->x, n / 16, by_row);
        differ_all(t, one, two, n / 16 * 16);
    }
}

// Plain rows, rows with factors, with an order too, and with a fixed scale and zero point.
static void quantize_cases(struct test *t, struct bench *b, size_t n) {
    float *factor = b->y[0];
    uint32_t *order = (uint32_t *)(void *)b->y[1];
    for (size_t j = 0; j < n; j++) factor[j] = ldexpf(1.0f, -(int)(next(t) % 16)), order[j] = (uint32_t)(n - 1 - j);
    const struct aq_input inputs[] = {
        {0},
        {.factor = factor},
        {.factor = factor, .order = order},
        {.factor = factor, .fixed = true, .scale = 0.05f, .zero = -3.0f},
        {.order = order, .fixed = true, .scale = 1e-6f, .zero = 100.0f}, // most values beyond the limit
    };
    b->rows.ld = aq_round_up(n, 128);
    for (size_t i = 0; i < 2 * (sizeof inputs / sizeof *inputs); i++) {
        b->rows.limit = i % 2 ? 7 : 127;
        t->scalar->quantize(&b->rows, 0, b->x, n, &inputs[i / 2]);
        t->kernels->quantize(&b->rows, 1, b->x, n, &inputs[i / 2]);
        differ(t, fabs((double)b->rows.scale[0] - (double)b->rows.scale[1]));
        differ(t, memcmp(b->rows.q, b->rows.q + b->rows.ld, b->rows.ld) ? 1.0 : 0.0);
    }
}

// Element-wise parts must give the same bits.
static void elementwise_cases(struct test *t, struct bench *b) {
    static const size_t lengths[] = {1, 7, 16, 33, 172, 2048};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        for (size_t j = 0; j < 3 * n; j++) b->x[j] = uniform(t) * (j % 5 == 0 ? 40.0f : 3.0f);
        normalize_cases(t, b, n);
        activation_cases(t, b, n);
        round_cases(t, b, n);
        cache_cases(t, b, n);
        quantize_cases(t, b, n);
        t->shapes++;
    }
}

// All 65,536 halves widened; all fp32 numbers near the boundaries of halves narrowed.
static void half_cases(struct test *t, struct bench *b) {
    uint16_t half[64], back[2][64];
    float wide[2][64];
    for (uint32_t h = 0; h < 65536; h += 64) {
        for (uint32_t i = 0; i < 64; i++) half[i] = (uint16_t)(h + i);
        t->scalar->widen(wide[0], half, 63);
        t->kernels->widen(wide[1], half, 63);
        for (uint32_t i = 0; i < 63; i++) {
            if (isnan(wide[0][i]) && isnan(wide[1][i])) continue;
            differ(t, wide[0][i] == wide[1][i] ? 0.0 : 1.0);
            if (isinf(wide[0][i])) continue;
            // a little above and below the middle between two halves, and the middle itself
            uint32_t bits = aq_float_to_bits(wide[0][i]) + 0x1000u + next(t) % 3 - 1;
            wide[0][i] = aq_bits_to_float(bits);
        }
        t->scalar->narrow(back[0], wide[0], 63);
        t->kernels->narrow(back[1], wide[0], 63);
        for (uint32_t i = 0; i < 63; i++)
            if (!isnan(wide[0][i])) differ(t, back[0][i] == back[1][i] ? 0.0 : 1.0);
    }
    (void)b;
    t->shapes++;
}

static bool report(struct test *t, const char *name) {
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"selftest\"");
    aq_json_kv_string(&line, "kernel", name);
    aq_json_kv_string(&line, "isa", t->kernels->isa);
    aq_json_kv_int(&line, "shapes", (int64_t)t->shapes);
    aq_json_kv_number(&line, "max_difference", t->worst);
    aq_json_kv_bool(&line, "ok", t->ok);
    aq_text_printf(&line, "}");
    bool ok = t->ok;
    t->ok = true;
    t->worst = 0;
    t->shapes = 0;
    return aq_print(&line) == AQ_OK && ok;
}

static bool make_bench(struct bench *b, const struct aq_kernels *kernels, const struct aq_kernels *scalar,
                       uint8_t **memory, size_t *size, struct aq_error *err) {
    size_t k = MAX_K + 128, cells = (MAX_N + PAD) * k * 2, scale = (MAX_N + PAD) * (k / 32) * 4;
    size_t scratch = aq_max(kernels->scratch_bytes(k), scalar->scratch_bytes(k));
    size_t parts[] = {cells,
                      cells,
                      cells,
                      scale,
                      scale,
                      scale,
                      MAX_M * k * 4,
                      MAX_M * k * 4,
                      MAX_M * k * 4,
                      MAX_M * (MAX_N + PAD) * (k / 32) * 4,
                      MAX_M * (MAX_N + PAD) * (k / 32) * 4,
                      MAX_M * k,
                      MAX_M * k * 2,
                      MAX_M * k / 8,
                      MAX_M * 64,
                      scratch,
                      scale / 4,
                      scale / 4,
                      scale / 4};
    uint8_t *part[sizeof parts / sizeof *parts];
    *size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) *size += aq_round_up(parts[i], 64);
    *memory = aq_big_alloc(*size, "the self-test", err);
    if (!*memory) return false;
    size_t at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; at += aq_round_up(parts[i], 64), i++) part[i] = *memory + at;
    b->source = part[0], b->packed[0] = part[1], b->packed[1] = part[2];
    b->scales_source = (void *)part[3], b->scales[0] = (void *)part[4], b->scales[1] = (void *)part[5];
    b->x = (void *)part[6], b->y[0] = (void *)part[7], b->y[1] = (void *)part[8];
    b->acc[0] = (void *)part[9], b->acc[1] = (void *)part[10];
    b->rows = (struct aq_rows){0, (int8_t *)part[11], (void *)part[12], (void *)part[13], (void *)part[14], 127};
    b->scratch = part[15];
    b->zeros_source = (int8_t *)part[16], b->zeros_packed[0] = (int8_t *)part[17];
    b->zeros_packed[1] = (int8_t *)part[18];
    return true;
}

static bool test_set(const struct aq_kernels *kernels, const struct aq_kernels *scalar, bool quick,
                     struct aq_error *err) {
    struct test t = {.kernels = kernels, .scalar = scalar, .random = 0x2545F4914F6CDD1Du, .ok = true};
    struct bench b = {0};
    uint8_t *memory;
    size_t size;
    if (!make_bench(&b, kernels, scalar, &memory, &size, err)) return false;
    bool ok = true;
    static const struct {
        const char *name;
        enum aq_format format;
        int limit;
        bool zeros, half, packed4;
    } products[] = {{"fp16", AQ_F16, 0, false, false, false},      {"fp16 arithmetic", AQ_F16, 0, false, true, false},
                    {"bf16", AQ_BF16, 0, false, false, false},     {"w8a8", AQ_I8, 127, false, false, false},
                    {"w4a8", AQ_I4, 127, false, false, false},     {"w4a4", AQ_I4, 7, false, false, false},
                    {"w4a8+asym", AQ_I4, 127, true, false, false}, {"w4a4+asym", AQ_I4, 7, true, false, false},
                    {"w4a4-packed", AQ_I4, 7, false, false, true}};
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        if (products[i].half && !kernels->product_half) continue;
        if (products[i].packed4 && !kernels->product_packed4) continue;
        b.format = products[i].format;
        b.half = products[i].half;
        b.limit = products[i].limit;
        b.zeros = products[i].zeros;
        b.packed4 = products[i].packed4;
        product_cases(&t, &b, quick);
        ok = report(&t, products[i].name) && ok;
    }
    elementwise_cases(&t, &b);
    ok = report(&t, "elementwise") && ok;
    half_cases(&t, &b);
    ok = report(&t, "half") && ok;
    aq_big_free(memory, size);
    if (!ok) aq_fail(err, "selftest", "a kernel for %s differs from the scalar one on this CPU", kernels->isa);
    return ok;
}

int aq_cmd_selftest(const struct aq_args *args) {
    struct aq_error err = {0};
    const char *isa = aq_arg(args, "isa");
    const struct aq_kernels *scalar = aq_kernels_select("scalar", &err), *wanted = NULL;
    if (isa && strcmp(isa, "auto") != 0 && !(wanted = aq_kernels_select(isa, &err))) return aq_report(&err, AQ_FAILED);
    bool ok = true;
    for (const struct aq_kernels *const *set = aq_kernel_sets; *set; set++)
        if (wanted ? *set == wanted : (*set)->supported())
            ok = test_set(*set, scalar, aq_arg(args, "quick") != NULL, &err) && ok;
    ok = aq_selftest_sha256(&err) && ok;
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"end\"");
    aq_json_kv_string(&line, "status", ok ? "done" : "failed");
    aq_text_printf(&line, "}");
    int code = aq_print(&line);
    if (!ok) return aq_report(&err, AQ_FAILED);
    return code;
}
