// selftest: every product of every table against the scalar one's, on shapes with every kind of remainder. The scalar
// product, which takes most of the time, is made once a matrix for all tables and numbers of rows.
#include "kernels/half.h"
#include "model.h"
#include "selftest.h"

#include <string.h>

enum variant { PLAIN, HALF_ARITHMETIC, PACKED_MULTIPLIER };
enum { FP16, FP16_ARITHMETIC, BF16, W8A8, W4A8, W4A4, W4A8_ASYM, W4A4_ASYM, W4A4_PACKED };

const char *aq_selftest_product_name(size_t line) {
    static const char *const names[AQ_SELFTEST_PRODUCTS] = {
        [FP16] = "fp16",
        [FP16_ARITHMETIC] = "fp16 arithmetic",
        [BF16] = "bf16",
        [W8A8] = "w8a8",
        [W4A8] = "w4a8",
        [W4A4] = "w4a4",
        [W4A8_ASYM] = "w4a8+asym",
        [W4A4_ASYM] = "w4a4+asym",
        [W4A4_PACKED] = "w4a4-packed",
    };
    return names[line];
}

// Weights and activations with one scalar product: lines [variant] compare with it, -1 where there is no such variant.
static const struct kind {
    enum aq_format format;
    int limit;
    bool zeros;
    int lines[3];
} kinds[] = {
    {AQ_F16, 0, false, {FP16, FP16_ARITHMETIC, -1}},
    {AQ_BF16, 0, false, {BF16, -1, -1}},
    {AQ_I8, 127, false, {W8A8, -1, -1}},
    {AQ_I4, 127, false, {W4A8, -1, -1}},
    {AQ_I4, 7, false, {W4A4, -1, W4A4_PACKED}},
    {AQ_I4, 127, true, {W4A8_ASYM, -1, -1}},
    {AQ_I4, 7, true, {W4A4_ASYM, -1, -1}},
};

enum { MAX_M = 40, MAX_N = 130, MAX_K = 2304, PAD = 64 };
enum { SCALAR, OTHER };

// One shape. Buffers are sized for the largest one; [SCALAR] is the reference, [OTHER] each table's in turn.
struct bench {
    const struct kind *kind;
    const struct aq_kernels *scalar;
    uint64_t random;
    size_t m, n, k, padded, group, groups; // the last three: I4
    uint8_t *source, *packed[2], *scratch;
    int8_t *zeros_source, *zeros_packed[2];
    uint16_t *scales_source, *scales[2];
    float *x, *y[2];
    int32_t *acc[2];
    struct aq_rows rows;
};

static void fill_weights(struct bench *b) {
    uint64_t *random = &b->random;
    enum aq_format format = b->kind->format;
    if (format == AQ_F16 || format == AQ_BF16) {
        uint16_t *w = (uint16_t *)(void *)b->source;
        for (size_t i = 0; i < b->n * b->k; i++)
            w[i] = format == AQ_F16 ? aq_float_to_half(aq_random_float(random))
                                    : aq_float_to_bf16(aq_random_float(random));
    } else if (format == AQ_I8) {
        float *scales = (float *)(void *)b->scales_source;
        for (size_t i = 0; i < b->n * b->k; i++) b->source[i] = (uint8_t)(int8_t)((int)(aq_random(random) % 255) - 127);
        memset(b->source, aq_random(random) & 1 ? 0x7F : 0x81, b->k); // row 0: the bound
        for (size_t i = 0; i < b->n; i++) scales[i] = 0.01f + fabsf(aq_random_float(random));
    } else {
        size_t row = b->padded / 2, scales = b->n * b->groups;
        for (size_t i = 0; i < b->n * row; i++) b->source[i] = (uint8_t)aq_random(random);
        memset(b->source, 0, row); // row 0: all -8
        if (b->n > 1) memset(b->source + row, 0xFF, row);
        for (size_t i = 0; i < scales; i++)
            b->scales_source[i] = aq_float_to_half(0.01f + fabsf(aq_random_float(random)));
        for (size_t i = 0; i < scales; i++) b->zeros_source[i] = (int8_t)(aq_random(random) & 15);
        memset(b->zeros_source, 15, b->groups); // row 0: all -15
    }
}

static void fill_activations(struct bench *b) {
    for (size_t i = 0; i < b->m * b->k; i++) b->x[i] = aq_random_float(&b->random);
    b->rows.ld = aq_round_up(b->k, 128);
    if (b->kind->format == AQ_F16) return;
    if (b->kind->format == AQ_BF16) {
        for (size_t row = 0; row < b->m; row++) b->scalar->round_bf16(&b->rows, row, b->x + row * b->k, b->k);
        return;
    }
    for (size_t i = 0; i < b->k; i++) b->x[i] = 1.0f; // row 0: the bound; row 1: both its signs
    for (size_t i = b->k; i < 2 * b->k; i++) b->x[i] = b->x[i] < 0 ? -1.0f : 1.0f;
    b->rows.limit = b->kind->limit;
    const struct aq_input plain = {0};
    for (size_t row = 0; row < b->m; row++) b->scalar->quantize(&b->rows, row, b->x + row * b->k, b->k, &plain);
}

static void pack(const struct bench *b, const struct aq_kernels *kernels, int side) {
    const uint16_t *halves = (const uint16_t *)(const void *)b->source;
    uint16_t *packed = (uint16_t *)(void *)b->packed[side];
    switch (b->kind->format) {
    case AQ_F16:
        kernels->pack_f16(packed, halves, b->n, b->k);
        break;
    case AQ_BF16:
        kernels->pack_bf16(packed, halves, b->n, b->k);
        break;
    case AQ_I8:
        kernels->pack_i8((int8_t *)b->packed[side], (const int8_t *)b->source, b->n, b->k);
        memcpy(b->scales[side], b->scales_source, b->n * 4);
        break;
    default:
        kernels->pack_i4(b->packed[side], b->source, b->n, b->padded);
        aq_pack_i4_scales(kernels, b->scales[side], b->scales_source, b->n, b->groups);
        aq_pack_i4_zeros(kernels, b->zeros_packed[side], b->zeros_source, b->n, b->groups);
    }
}

static void multiply(const struct bench *b, const struct aq_kernels *kernels, int side, enum variant variant,
                     bool raw) {
    struct aq_matrix w = {.format = b->kind->format,
                          .n = b->n,
                          .k = b->k,
                          .stride = b->k,
                          .padded = b->padded,
                          .group = b->group,
                          .groups = b->groups,
                          .weights = b->packed[side],
                          .scales = b->scales[side],
                          .zeros = b->kind->zeros ? b->zeros_packed[side] : NULL};
    struct aq_product p = {.w = &w,
                           .m = b->m,
                           .x = b->x,
                           .ldx = b->k,
                           .rows = &b->rows,
                           .y = b->y[side],
                           .ldy = b->n,
                           .last = aq_panels(kernels, b->kind->format, b->n),
                           .accumulators = raw ? b->acc[side] : NULL,
                           .scratch = b->scratch};
    switch (variant) {
    case HALF_ARITHMETIC:
        kernels->product_half(&p);
        break;
    case PACKED_MULTIPLIER:
        kernels->product_packed4(&p);
        break;
    default:
        kernels->product[b->kind->format](&p);
    }
}

static bool is_integer(const struct bench *b) {
    return b->kind->format == AQ_I8 || b->kind->format == AQ_I4;
}

// The finished products, and for integer ones the accumulators too.
static void multiply_both(const struct bench *b, const struct aq_kernels *kernels, int side, enum variant variant) {
    multiply(b, kernels, side, variant, false);
    if (is_integer(b)) multiply(b, kernels, side, variant, true);
}

// How far products of -1..1 may lie from the scalar ones. bf16 by instructions of its own sums in another order:
// rounding errors far below sum |x w| 2^-24 k, as they cancel. fp16 arithmetic rounds partial sums of about sqrt(32) /
// 3 to 2^-11 of their size, 32 times a chain: about 2^-9.3 a chain of random errors; ten times that.
static double tolerance(const struct bench *b, const struct aq_kernels *kernels, enum variant variant) {
    if (variant == HALF_ARITHMETIC) return 0x1p-6 * sqrt((double)aq_max(b->k, 32) / 32);
    return b->kind->format == AQ_BF16 && kernels->bf16_dot ? (double)b->k * 0x1p-22 : 0;
}

static void compare(struct bench *b, const struct aq_kernels *kernels, enum variant variant, struct aq_tally *tally) {
    if (variant == HALF_ARITHMETIC) // its activations are in a form of its own, which the scalar product does not read
        for (size_t row = 0; row < b->m; row++) kernels->round_half(&b->rows, row, b->x + row * b->k, b->k);
    const size_t products = b->m * b->n, sums = is_integer(b) ? products * aq_max(b->groups, 1) : 0;
    // What the last one left may be right: a place that is not written must not look so.
    memset(b->y[OTHER], 0xFF, products * sizeof(float)); // NaN
    memset(b->acc[OTHER], 0x80, sums * sizeof(int32_t)); // far beyond every bound
    multiply_both(b, kernels, OTHER, variant);
    double allowed = tolerance(b, kernels, variant);
    for (size_t i = 0; i < products; i++)
        aq_differ(tally, fabs((double)b->y[SCALAR][i] - (double)b->y[OTHER][i]), allowed);
    for (size_t i = 0; i < sums; i++) aq_differ(tally, fabs((double)b->acc[SCALAR][i] - (double)b->acc[OTHER][i]), 0);
    tally->shapes++;
}

static bool has(const struct aq_kernels *kernels, enum variant variant) {
    return variant == PLAIN || (variant == HALF_ARITHMETIC ? kernels->product_half : kernels->product_packed4) != NULL;
}

static bool is_little(size_t m_index, size_t k_index) {
    return m_index % 3 == 0 && k_index % 3 == 0;
}

// One matrix, with every number of rows. The scalar product takes rows one by one, so that the largest number gives the
// reference of all. The scalar table against itself only shows that it repeats: few shapes do.
static void matrix_cases(struct bench *b, const struct aq_kernels *const *sets, size_t count, size_t k_index,
                         bool quick, struct aq_tally (*tallies)[AQ_SELFTEST_PRODUCTS]) {
    static const size_t ms[] = {1, 2, 3, 4, 5, 6, 7, 13, 33};
    b->m = quick ? 7 : 33;
    fill_weights(b);
    fill_activations(b);
    pack(b, b->scalar, SCALAR);
    multiply_both(b, b->scalar, SCALAR, PLAIN);
    for (size_t s = 0; s < count; s++) {
        pack(b, sets[s], OTHER);
        for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
            bool little = is_little(i, k_index);
            if (quick && !little) continue;
            b->m = ms[i];
            for (int variant = PLAIN; variant <= PACKED_MULTIPLIER; variant++) {
                int line = b->kind->lines[variant];
                if (line < 0 || !has(sets[s], (enum variant)variant)) continue;
                if (sets[s] == b->scalar && !little && (variant == PLAIN || b->m > 3)) continue;
                compare(b, sets[s], (enum variant)variant, &tallies[s][line]);
            }
        }
    }
}

static void kind_cases(struct bench *b, const struct aq_kernels *const *sets, size_t count, bool quick,
                       struct aq_tally (*tallies)[AQ_SELFTEST_PRODUCTS]) {
    static const size_t ns[] = {1, 15, 16, 33, 63, 64, 130}, ks[] = {1, 2, 8, 31, 64, 172, 299, 300, 2304},
                        groups[] = {32, 64, 128, 0}; // 0: the whole row
    bool grouped = b->kind->format == AQ_I4;
    for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
        for (size_t l = 0; l < sizeof ks / sizeof *ks; l++)
            for (size_t g = 0; g < (grouped ? 4 : 1) && (is_little(0, l) || !quick); g++) {
                b->n = ns[j], b->k = ks[l];
                b->group = !grouped ? 0 : groups[g] ? groups[g] : aq_round_up(b->k, 32);
                b->groups = grouped ? (b->k + b->group - 1) / b->group : 0;
                b->padded = b->groups * b->group;
                matrix_cases(b, sets, count, l, quick, tallies);
            }
}

// Lays the buffers out; *memory is the caller's to free.
static bool make_bench(struct bench *b, size_t scratch, uint8_t **memory, size_t *size, struct aq_error *err) {
    const size_t k = MAX_K + 128, cells = (MAX_N + PAD) * k * 2, scales = (MAX_N + PAD) * (k / 32) * 4,
                 row = MAX_M * k * 4, sums = MAX_M * (MAX_N + PAD) * (k / 32) * 4;
    const struct {
        size_t bytes;
        void *to; // a pointer of any type
    } parts[] = {
        {cells, &b->source},
        {cells, &b->packed[SCALAR]},
        {cells, &b->packed[OTHER]},
        {scales, &b->scales_source},
        {scales, &b->scales[SCALAR]},
        {scales, &b->scales[OTHER]},
        {scales / 4, &b->zeros_source},
        {scales / 4, &b->zeros_packed[SCALAR]},
        {scales / 4, &b->zeros_packed[OTHER]},
        {row, &b->x},
        {row, &b->y[SCALAR]},
        {row, &b->y[OTHER]},
        {sums, &b->acc[SCALAR]},
        {sums, &b->acc[OTHER]},
        {row / 4, &b->rows.q},
        {row / 2, &b->rows.q16},
        {row / 32, &b->rows.offsets},
        {MAX_M * 64, &b->rows.scale},
        {scratch, &b->scratch},
    };
    const size_t count = sizeof parts / sizeof *parts;
    *size = 0;
    for (size_t i = 0; i < count; i++) *size += aq_round_up(parts[i].bytes, 64);
    *memory = aq_big_alloc(*size, "the self-test", err);
    if (!*memory) return false;
    for (size_t i = 0, at = 0; i < count; at += aq_round_up(parts[i].bytes, 64), i++) {
        uint8_t *part = *memory + at;
        memcpy(parts[i].to, &part, sizeof part);
    }
    return true;
}

bool aq_selftest_products(const struct aq_kernels *const *sets, size_t count, const struct aq_kernels *scalar,
                          bool quick, struct aq_tally (*tallies)[AQ_SELFTEST_PRODUCTS], struct aq_error *err) {
    struct bench b = {.scalar = scalar, .random = 0x2545F4914F6CDD1Du};
    size_t scratch = scalar->scratch_bytes(MAX_K + 128), size;
    for (size_t s = 0; s < count; s++) scratch = aq_max(scratch, sets[s]->scratch_bytes(MAX_K + 128));
    uint8_t *memory;
    if (!make_bench(&b, scratch, &memory, &size, err)) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        b.kind = &kinds[i];
        kind_cases(&b, sets, count, quick, tallies);
    }
    aq_big_free(memory, size);
    return true;
}
