// int4 x int8 (or int4) -> int32 a group, scaled in fp32. Panel: [k / 4][64 bytes]; byte 4 * o + j holds output o in
// its low and output o + 16 in its high nibble, for input 4 * i + j, as q + 8. Tiles of 6 rows x 32 outputs: 12
// accumulators of the group, 12 sums over groups, 2 weights and 1 activation stay in registers.
//
// vpdpbusd multiplies unsigned weights with signed activations and adds four products to an int32 lane. Weights are
// unpacked to q + 8 (0..15), or q - z + 16 (1..31) where there are zero points; a group's accumulators start at -8 or
// -16 times the sum of its activations. Bound, also on the way: |acc| <= 131,072 * (16 + 31) * 127 = 782,368,768 <
// 2^31.
//
// Beside 8 vpdpbusd a group of 32 costs each accumulator a conversion, a multiplication and an addition. Only the
// multiplication competes with vpdpbusd for a port (Zen 4), so at best 8 of 9 cycles multiply weights.
#include "avx512.h"

// STEP, PACKED: bytes of four inputs, unpacked and packed. For many rows, up to TOGETHER panels are unpacked at a time,
// and ROWS rows at a time stay in the second-level cache for them. I4_BLOCK: inputs unpacked at a time (64 KiB a
// panel), unless a group is longer
enum { I4_BLOCK = 2048, VECTORS = I4_NR / 16, STEP = 4 * I4_NR, PACKED = STEP / 2, TOGETHER = 4, ROWS = 16 * VNNI_MR };

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

// What makes q - z + 16 of the stored q, a byte an input, for the outputs of a panel. zeros = 8 - z.
AQ_INLINE void zero_bytes(__m512i out[VECTORS], const int8_t *zeros) {
    AQ_UNROLL
    for (size_t v = 0; v < VECTORS; v++) {
        __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(zeros + 16 * v)));
        const __m512i each = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0); // a lane's low byte, four times
        out[v] = _mm512_add_epi8(_mm512_shuffle_epi8(wide, each), _mm512_set1_epi8(8));
    }
}

AQ_INLINE void unpack(const bool zeros, __m512i out[VECTORS], const uint8_t *packed, const __m512i zero[VECTORS]) {
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i both = _mm512_load_si512(packed);
    out[0] = _mm512_and_si512(both, mask);
    out[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
    AQ_UNROLL
    for (size_t v = 0; zeros && v < VECTORS; v++) out[v] = _mm512_add_epi8(out[v], zero[v]);
}

// No call, which would push the sums of the tile out of their registers.
AQ_INLINE void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, __m512i acc) {
    size_t groups = p->w->groups;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_mask_i32scatter_epi32(p->accumulators + (row * p->w->n + output) * groups + group,
                                 avx512_mask(p->w->n, output),
                                 _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)groups)), acc, 4);
}

// Sums of the groups before, which wait in y, or 0.
AQ_INLINE __m512 sums_before(const struct aq_product *p, size_t row, size_t output, size_t first) {
    const float *y = first ? p->y + row * p->ldy + output : NULL; // accumulators are asked for without a y
    return _mm512_maskz_loadu_ps(first ? avx512_mask(p->w->n, output) : 0, y);
}

AQ_INLINE void store(const struct aq_product *p, size_t row, size_t output, __m512 value) {
    float *y = p->y + row * p->ldy + output;
    if (p->w->n >= output + 16)
        _mm512_storeu_ps(y, value); // masked stores are slow on some CPUs
    else
        _mm512_mask_storeu_ps(y, avx512_mask(p->w->n, output), value);
}

// Groups first..last-1 of a tile. `run`: the group size as a constant, or 0. `zeros`: there are zero points. Weights of
// these groups: unpacked, or NULL and packed. (A single row is no faster with several panels side by side or with
// prefetching: one stream of packed weights suits the caches best.)
AQ_INLINE void tile(const int rows, const size_t run, const bool zeros, const struct aq_product *p, size_t row,
                    size_t panel, size_t first, size_t last, const uint8_t *unpacked, const uint8_t *packed) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * I4_NR, group = run ? run : w->group;
    const int8_t *x = p->rows->q + row * ld + first * group;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32) + first * (group / 32);
    const uint16_t *scales = (const uint16_t *)w->scales + (panel * w->groups + first) * I4_NR;
    __m512 total[VNNI_MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) total[r][v] = sums_before(p, row + (size_t)r, output + 16 * v, first);
    }
    for (size_t g = first; g < last; g++, scales += I4_NR, offsets += group / 32) {
        __m512i acc[VNNI_MR][VECTORS], zero[VECTORS] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        if (zeros && !unpacked) zero_bytes(zero, w->zeros + (panel * w->groups + g) * I4_NR);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i start = _mm512_set1_epi32(offsets[(size_t)r * (ld / 32)]);
            for (size_t i = 1; i < group / 32; i++)
                start = _mm512_add_epi32(start, _mm512_set1_epi32(offsets[(size_t)r * (ld / 32) + i]));
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++) acc[r][v] = zeros ? _mm512_add_epi32(start, start) : start;
        }
#pragma GCC unroll 2
        for (size_t i = 0; i < group / 4; i++, x += 4) {
            __m512i weight[VECTORS];
            if (unpacked) {
                AQ_UNROLL
                for (size_t v = 0; v < VECTORS; v++) weight[v] = _mm512_load_si512(unpacked + 64 * v);
                unpacked += STEP;
            } else {
                unpack(zeros, weight, packed, zero);
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
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            if (w->n > output + 16 * v)
                store(p, row + (size_t)r, output + 16 * v,
                      last == w->groups ? _mm512_mul_ps(scale, total[r][v]) : total[r][v]);
    }
}

// Groups first..last-1 of a panel.
static void unpack_panel(const struct aq_matrix *w, size_t panel, size_t first, size_t last, uint8_t *dst,
                         const uint8_t *src) {
    for (size_t g = first; g < last; g++) {
        __m512i weight[VECTORS], zero[VECTORS] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        if (w->zeros) zero_bytes(zero, w->zeros + (panel * w->groups + g) * I4_NR);
        for (size_t i = 0; i < w->group / 4; i++, src += PACKED, dst += STEP) {
            unpack(true, weight, src, zero);
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++) _mm512_store_si512(dst + 64 * v, weight[v]);
        }
    }
}

static const uint8_t *packed_at(const struct aq_matrix *w, size_t panel, size_t group) {
    return (const uint8_t *)w->weights + (panel * w->padded + group * w->group) / 4 * PACKED;
}

// Panels first..last-1, groups from..to-1, all full tiles of rows.
AQ_INLINE void block(const size_t run, const bool zeros, const struct aq_product *p, size_t first, size_t last,
                     size_t from, size_t to) {
    const struct aq_matrix *w = p->w;
    size_t bytes = (to - from) * w->group * I4_NR, full = p->m / VNNI_MR * VNNI_MR;
    uint8_t *unpacked = p->scratch;
    for (size_t panel = first; panel < last; panel++)
        unpack_panel(w, panel, from, to, unpacked + (panel - first) * bytes, packed_at(w, panel, from));
    for (size_t rows = 0; rows < full; rows += ROWS)
        for (size_t panel = first; panel < last; panel++)
            for (size_t row = rows; row < aq_min(rows + ROWS, full); row += VNNI_MR)
                tile(VNNI_MR, run, zeros, p, row, panel, from, to, unpacked + (panel - first) * bytes, NULL);
}

AQ_INLINE void product(const size_t run, const bool zeros, const struct aq_product *p) {
    const struct aq_matrix *w = p->w;
    size_t full = p->m / VNNI_MR * VNNI_MR;
    if (full) {
        size_t groups = aq_max(1, I4_BLOCK / w->group), together = w->group > I4_BLOCK ? 1 : TOGETHER;
        for (size_t first = p->first; first < p->last; first += together)
            for (size_t from = 0; from < w->groups; from += groups)
                block(run, zeros, p, first, aq_min(first + together, p->last), from, aq_min(from + groups, w->groups));
    }
    for (size_t panel = p->first; full < p->m && panel < p->last; panel++) {
#define TILE(rows) tile(rows, run, zeros, p, full + row, panel, 0, w->groups, NULL, packed_at(w, panel, 0))
        AQ_FOR_TILES(p->m - full, VNNI_MR, TILE);
#undef TILE
    }
}

size_t avx512_scratch_i4(size_t k) {
    return aq_max(TOGETHER * I4_BLOCK, aq_round_up(k, 128)) * I4_NR;
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
