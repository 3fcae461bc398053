// selftest: the element-wise parts of a table give the scalar ones' bits, on lengths with every kind of remainder.
#include "kernels/half.h"
#include "selftest.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTH = 2048 };

struct parts {
    const struct aq_kernels *kernels, *scalar;
    struct aq_tally *tally;
    uint64_t random;
    float *x, *one, *two; // [3 * MAX_LENGTH]: numbers, weights or key positions, biases; what the two tables make
    int8_t *q[2];         // [MAX_LENGTH]
    struct aq_rows rows;  // 2 rows of MAX_LENGTH
    float *factor;        // [MAX_LENGTH]
    uint32_t *order;      // [MAX_LENGTH]
};

static void same_numbers(struct parts *t, const float *one, const float *two, size_t n) {
    for (size_t i = 0; i < n; i++) aq_differ(t->tally, fabs((double)one[i] - (double)two[i]), 0);
}

static void same_bytes(struct parts *t, const void *one, const void *two, size_t n) {
    aq_differ(t->tally, memcmp(one, two, n) ? 1.0 : 0.0, 0);
}

static void two_copies(struct parts *t, size_t n) {
    memcpy(t->one, t->x, n * 4), memcpy(t->two, t->x, n * 4);
}

static void normalize_cases(struct parts *t, size_t n) {
    float *x = t->x, *one = t->one, *two = t->two;
    t->scalar->rmsnorm(one, x, x + n, n, 1e-5f);
    t->kernels->rmsnorm(two, x, x + n, n, 1e-5f);
    same_numbers(t, one, two, n);
    t->scalar->layernorm(one, x, x + n, x + 2 * n, n, 1e-5f);
    t->kernels->layernorm(two, x, x + n, x + 2 * n, n, 1e-5f);
    same_numbers(t, one, two, n);
    two_copies(t, n);
    t->scalar->alibi(one, n, 0.3f, 0.0625f, x + n, 7.0f);
    t->kernels->alibi(two, n, 0.3f, 0.0625f, x + n, 7.0f);
    same_numbers(t, one, two, n);
    for (int probabilities = AQ_PROBABILITIES_FP32; probabilities <= AQ_PROBABILITIES_UNIFORM; probabilities++) {
        two_copies(t, n);
        t->scalar->softmax(one, n, 0.3f, (enum aq_probabilities)probabilities);
        t->kernels->softmax(two, n, 0.3f, (enum aq_probabilities)probabilities);
        same_numbers(t, one, two, n);
    }
    aq_differ(t->tally, fabs(t->scalar->nll(x, n, n / 2) - t->kernels->nll(x, n, n / 2)), 0);
}

static void activation_cases(struct parts *t, size_t n) {
    float *x = t->x, *one = t->one, *two = t->two;
    two_copies(t, n);
    t->scalar->swiglu(one, x + n, n);
    t->kernels->swiglu(two, x + n, n);
    same_numbers(t, one, two, n);
    two_copies(t, n);
    t->scalar->relu(one, n);
    t->kernels->relu(two, n);
    same_numbers(t, one, two, n);
    two_copies(t, n);
    t->scalar->gelu(one, n);
    t->kernels->gelu(two, n);
    same_numbers(t, one, two, n);
    two_copies(t, n);
    t->scalar->add(one, x + n, n);
    t->kernels->add(two, x + n, n);
    same_numbers(t, one, two, n);
}

static void round_cases(struct parts *t, size_t n) {
    two_copies(t, n);
    t->scalar->round_bf16(&t->rows, 0, t->one, n);
    t->kernels->round_bf16(&t->rows, 1, t->two, n);
    same_numbers(t, t->one, t->two, n);
    same_bytes(t, t->rows.q16, t->rows.q16 + t->rows.ld, t->rows.ld * 2);
}

// To int8 and back, in both directions of scales.
static void cache_cases(struct parts *t, size_t n) {
    float *one = t->one, *two = t->two, inverse[2];
    float scales[] = {t->scalar->row_scale(t->x, n, &inverse[0]), t->kernels->row_scale(t->x, n, &inverse[1])};
    same_numbers(t, scales, scales + 1, 1);
    same_numbers(t, inverse, inverse + 1, 1);
    t->scalar->to_int8(t->q[0], t->x, n, inverse[0]);
    t->kernels->to_int8(t->q[1], t->x, n, inverse[1]);
    same_bytes(t, t->q[0], t->q[1], n);
    for (int by_row = 0; by_row < 2 && n >= 16; by_row++) {
        t->scalar->from_int8(one, t->q[0], t->x, n / 16, by_row);
        t->kernels->from_int8(two, t->q[1], t->x, n / 16, by_row);
        same_numbers(t, one, two, n / 16 * 16);
    }
}

// Plain rows, rows with factors, with an order too, and with a fixed scale and zero point.
static void quantize_cases(struct parts *t, size_t n) {
    for (size_t j = 0; j < n; j++)
        t->factor[j] = ldexpf(1.0f, -(int)(aq_random(&t->random) % 16)), t->order[j] = (uint32_t)(n - 1 - j);
    const struct aq_input inputs[] = {
        {0},
        {.factor = t->factor},
        {.factor = t->factor, .order = t->order},
        {.factor = t->factor, .fixed = true, .scale = 0.05f, .zero = -3.0f},
        {.order = t->order, .fixed = true, .scale = 1e-6f, .zero = 100.0f}, // most values beyond the limit
    };
    for (size_t i = 0; i < 2 * (sizeof inputs / sizeof *inputs); i++) {
        t->rows.limit = i % 2 ? 7 : 127;
        t->scalar->quantize(&t->rows, 0, t->x, n, &inputs[i / 2]);
        t->kernels->quantize(&t->rows, 1, t->x, n, &inputs[i / 2]);
        same_numbers(t, t->rows.scale, t->rows.scale + 1, 1);
        same_bytes(t, t->rows.q, t->rows.q + t->rows.ld, t->rows.ld);
    }
}

bool aq_selftest_elementwise(const struct aq_kernels *kernels, const struct aq_kernels *scalar, struct aq_tally *tally,
                             struct aq_error *err) {
    struct buffers {
        float x[3 * MAX_LENGTH], one[MAX_LENGTH], two[MAX_LENGTH], factor[MAX_LENGTH];
        uint32_t order[MAX_LENGTH];
        int32_t offsets[2 * MAX_LENGTH / 32];
        int16_t q16[2 * MAX_LENGTH];
        int8_t q[2 * MAX_LENGTH], cached[2][MAX_LENGTH];
        float scale[2];
    } *room = aligned_alloc(64, aq_round_up(sizeof *room, 64));
    if (!room) return aq_fail(err, "memory", "no memory for the self-test");
    struct parts t = {.kernels = kernels,
                      .scalar = scalar,
                      .tally = tally,
                      .random = 0x9E3779B97F4A7C15u,
                      .x = room->x,
                      .one = room->one,
                      .two = room->two,
                      .q = {room->cached[0], room->cached[1]},
                      .rows = {0, room->q, room->q16, room->offsets, room->scale, 127},
                      .factor = room->factor,
                      .order = room->order};
    static const size_t lengths[] = {1, 7, 16, 33, 172, MAX_LENGTH};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        t.rows.ld = aq_round_up(n, 128);
        for (size_t j = 0; j < 3 * n; j++) t.x[j] = aq_random_float(&t.random) * (j % 5 == 0 ? 40.0f : 3.0f);
        normalize_cases(&t, n);
        activation_cases(&t, n);
        round_cases(&t, n);
        cache_cases(&t, n);
        quantize_cases(&t, n);
        tally->shapes++;
    }
    free(room);
    return true;
}

// All 65,536 halves widened; all fp32 numbers near the boundaries of halves narrowed.
void aq_selftest_halves(const struct aq_kernels *kernels, const struct aq_kernels *scalar, struct aq_tally *tally) {
    enum { AT_ONCE = 64, USED = AT_ONCE - 1 }; // an odd number: the last ones are a remainder
    uint64_t random = 0x2545F4914F6CDD1Du;
    uint16_t half[AT_ONCE], back[2][AT_ONCE];
    float wide[2][AT_ONCE];
    for (uint32_t first = 0; first < 65536; first += USED) {
        for (uint32_t i = 0; i < USED; i++) half[i] = (uint16_t)(first + i);
        scalar->widen(wide[0], half, USED);
        kernels->widen(wide[1], half, USED);
        for (uint32_t i = 0; i < USED; i++) {
            if (isnan(wide[0][i]) && isnan(wide[1][i])) continue;
            aq_differ(tally, wide[0][i] == wide[1][i] ? 0.0 : 1.0, 0);
            if (isinf(wide[0][i])) continue;
            // a little above and below the middle between two halves, and the middle itself
            wide[0][i] = aq_bits_to_float(aq_float_to_bits(wide[0][i]) + 0x1000u + aq_random(&random) % 3 - 1);
        }
        scalar->narrow(back[0], wide[0], USED);
        kernels->narrow(back[1], wide[0], USED);
        for (uint32_t i = 0; i < USED; i++)
            if (!isnan(wide[0][i])) aq_differ(tally, back[0][i] == back[1][i] ? 0.0 : 1.0, 0);
    }
    tally->shapes++;
}
