// int4 x int8 (or int4) -> int32 a group, scaled in fp32. Panel: [k / 4][64 bytes]; byte 4 * o + j holds output o in
// its low and output o + 16 in its high nibble, for input 4 * i + j, as q + 8. Tiles of 6 rows x 32 outputs: 12
// accumulators of the group, 12 sums over groups, 2 weights and 1 activation stay in registers.
//
// vpdpbusd multiplies unsigned weights (0..15) with signed activations and adds four products to an int32 lane. A
// group's accumulators start at -8 * (sum of its activations), which the quantizer left; with zero points z at
// -z * (that sum). Bound, also on the way: |acc| <= 131,072 * (15 + 15) * 127 = 499,384,320 < 2^31.
#include "avx512.h"

// STEP, PACKED: bytes of four inputs, unpacked and packed
enum { VECTORS = I4_NR / 16, STEP = 4 * I4_NR, PACKED = STEP / 2 };

// The inputs i..i+3 of one output, a byte each.
static uint32_t four_inputs(const uint8_t *src, size_t row, size_t n, size_t padded, size_t i) {
    uint32_t four = 0x88888888u;
    if (row < n) memcpy(&four, src + row * (padded / 2) + i / 32 * 16 + i % 16, sizeof four);
    return (i % 32 < 16 ? four : four >> 4) & 0x0f0f0f0fu;
}

void avx512_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    for (size_t first = 0; first < n; first += I4_NR)
        for (size_t i = 0; i < padded; i += 4)
            for (size_t o = first; o < first + 16; o++, dst += 4) {
                uint32_t both = four_inputs(src, o, n, padded, i) | four_inputs(src, o + 16, n, padded, i) << 4;
                memcpy(dst, &both, sizeof both);
            }
}

AQ_INLINE void unpack(__m512i out[VECTORS], const uint8_t *packed) {
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i both = _mm512_load_si512(packed);
    out[0] = _mm512_and_si512(both, mask);
    out[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
}

// No call, which would push the sums of the tile out of their registers.
AQ_INLINE void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, __m512i acc) {
    size_t groups = p->w->groups;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_mask_i32scatter_epi32(p->accumulators + (row * p->w->n + output) * groups + group,
                                 avx512_mask(p->w->n, output),
                                 _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)groups)), acc, 4);
}

// start = -8 * sum, zero = 8 - z: -z * sum.
AQ_INLINE __m512i from_zero(__m512i start, const int8_t *zero) {
    __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)zero));
    return _mm512_sub_epi32(start, _mm512_mullo_epi32(wide, _mm512_srai_epi32(start, 3)));
}

// `run`: the group size as a constant, or 0. `zeros`: there are zero points. Weights: unpacked, or NULL and packed. (A
// single row is no faster with several panels side by side or with prefetching: one stream of packed weights suits the
// caches best.)
AQ_INLINE void tile(const int rows, const size_t run, const bool zeros, const struct aq_product *p, size_t row,
                    size_t panel, const uint8_t *unpacked, const uint8_t *packed) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * I4_NR, group = run ? run : w->group;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * I4_NR;
    __m512 total[VNNI_MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) total[r][v] = _mm512_setzero_ps();
    }
    for (size_t g = 0; g < w->groups; g++, scales += I4_NR, offsets += group / 32) {
        __m512i acc[VNNI_MR][VECTORS];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i start = _mm512_set1_epi32(offsets[(size_t)r * (ld / 32)]);
            for (size_t i = 1; i < group / 32; i++)
                start = _mm512_add_epi32(start, _mm512_set1_epi32(offsets[(size_t)r * (ld / 32) + i]));
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++)
                acc[r][v] = zeros ? from_zero(start, w->zeros + (panel * w->groups + g) * I4_NR + 16 * v) : start;
        }
#pragma GCC unroll 2
        for (size_t i = 0; i < group / 4; i++, x += 4) {
            __m512i weight[VECTORS];
            if (unpacked) {
                AQ_UNROLL
                for (size_t v = 0; v < VECTORS; v++) weight[v] = _mm512_load_si512(unpacked + 64 * v);
                unpacked += STEP;
            } else {
                unpack(weight, packed);
                packed += PACKED;
            }
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                __m512i quad = avx512_quad(x + (size_t)r * ld);
                AQ_UNROLL
                for (size_t v = 0; v < VECTORS; v++) acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], weight[v], quad);
            }
        }
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(scales + 16 * v)));
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                if (p->accumulators)
                    store_group(p, row + (size_t)r, output + 16 * v, g, acc[r][v]);
                else // no FMA, so that all instruction sets round alike
                    total[r][v] = _mm512_add_ps(total[r][v], _mm512_mul_ps(scale, _mm512_cvtepi32_ps(acc[r][v])));
            }
        }
    }
    if (p->accumulators) return;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 scale = _mm512_set1_ps(p->rows->scale[row + (size_t)r]);
        float *y = p->y + (row + (size_t)r) * p->ldy + output;
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) {
            __m512 value = _mm512_mul_ps(scale, total[r][v]);
            if (w->n >= output + 16 * v + 16)
                _mm512_storeu_ps(y + 16 * v, value);
            else if (w->n > output + 16 * v)
                _mm512_mask_storeu_ps(y + 16 * v, avx512_mask(w->n, output + 16 * v), value);
        }
    }
}

static void unpack_panel(uint8_t *dst, const uint8_t *src, size_t padded) {
    for (size_t i = 0; i < padded / 4; i++, src += PACKED, dst += STEP) {
        __m512i weight[VECTORS];
        unpack(weight, src);
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) _mm512_store_si512(dst + 64 * v, weight[v]);
    }
}

AQ_INLINE void product(const size_t run, const bool zeros, const struct aq_product *p) {
    size_t bytes = p->w->padded / 4 * PACKED;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint8_t *packed = (const uint8_t *)p->w->weights + panel * bytes;
        size_t done = 0;
        if (p->m > VNNI_MR) { // unpacked once for all rows but the last few
            uint8_t *unpacked = p->scratch;
            unpack_panel(unpacked, packed, p->w->padded);
            for (; done + VNNI_MR <= p->m; done += VNNI_MR) tile(VNNI_MR, run, zeros, p, done, panel, unpacked, NULL);
        }
#define TILE(rows) tile(rows, run, zeros, p, done + row, panel, NULL, packed)
        AQ_FOR_TILES(p->m - done, VNNI_MR, TILE);
#undef TILE
    }
}

// Groups of 32 are the common ones: their short loop is unrolled.
void avx512_product_i4(const struct aq_product *p) {
    if (p->w->group == 32 && p->w->zeros)
        product(32, true, p);
    else if (p->w->group == 32)
        product(32, false, p);
    else if (p->w->zeros)
        product(0, true, p);
    else
        product(0, false, p);
}
