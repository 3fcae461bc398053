// The parts of `aqengine selftest`. Each compares tables of kernels with the scalar one and keeps a tally a line.
#ifndef AQ_SELFTEST_H
#define AQ_SELFTEST_H

#include "kernels/kernels.h"

#include <math.h>

// What the cases of one line came to. shapes 0: the table has no such kernel.
struct aq_tally {
    size_t shapes;
    double worst; // largest difference; the order of additions is fixed, so it must be 0 where nothing else is said
    bool wrong;
};

static inline void aq_differ(struct aq_tally *t, double difference, double tolerance) {
    if (!(difference <= t->worst)) t->worst = difference; // NaN counts
    if (!(difference <= tolerance)) t->wrong = true;
}

// Numbers that are the same on every machine (xorshift).
static inline uint32_t aq_random(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static inline float aq_random_float(uint64_t *state) { // -1..1
    return (float)((double)aq_random(state) / 0x1p31 - 1.0);
}

// Every way to multiply that a table may have.
enum { AQ_SELFTEST_PRODUCTS = 9 };
const char *aq_selftest_product_name(size_t line);

// tallies [count][AQ_SELFTEST_PRODUCTS]. quick: a ninth of the shapes, for emulators and sanitizers.
bool aq_selftest_products(const struct aq_kernels *const *sets, size_t count, const struct aq_kernels *scalar,
                          bool quick, struct aq_tally (*tallies)[AQ_SELFTEST_PRODUCTS], struct aq_error *err);

// Norms, activations, softmax, quantizers, caches: the same bits.
bool aq_selftest_elementwise(const struct aq_kernels *kernels, const struct aq_kernels *scalar, struct aq_tally *tally,
                             struct aq_error *err);

// fp16 to fp32 and back.
void aq_selftest_halves(const struct aq_kernels *kernels, const struct aq_kernels *scalar, struct aq_tally *tally);

// SHA-256 by the CPU's own instructions; prints its line.
bool aq_selftest_sha256(struct aq_error *err);

#endif
