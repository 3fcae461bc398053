// int4 x int8 (or int4) -> int32 a group, scaled in fp32. Panel: [k / 4][32 bytes]; byte 4 * o + j holds output o in
// its low and output o + 8 in its high nibble, for input 4 * i + j, as q + 8.
//
// vpmaddubsw multiplies unsigned weights (0..15) with signed activations; 8 * (sum of the activations) is taken off a
// group's accumulator afterwards (z times the sum where there are zero points). Bounds of the 16-bit chains:
//   8-bit activations: a pair is at most 2 * 15 * 127 = 3,810; a chain adds 8 of them (32 inputs): 30,480 < 2^15
//   4-bit activations: a pair is at most 2 * 15 * 7 = 210; a chain adds 128 of them (512 inputs): 26,880 < 2^15
// Chains are widened to int32 by vpmaddwd with ones; |acc| <= 131,072 * (15 + 15) * 127 < 2^31.
#include "avx2.h"

enum { LONG_CHAIN = 512 }; // inputs

void avx2_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    for (size_t first = 0; first < n; first += AVX2_NR, dst += padded / 2 * AVX2_NR)
        for (size_t i = 0; i < padded; i++)
            for (size_t o = 0; o < 8; o++) {
                uint8_t nibble[2];
                AQ_UNROLL
                for (size_t half = 0; half < 2; half++) {
                    size_t row = first + o + 8 * half;
                    uint8_t byte = row < n ? src[row * (padded / 2) + i / 32 * 16 + i % 16] : 0x88;
                    nibble[half] = i % 32 < 16 ? byte & 15 : byte >> 4;
                }
                dst[i / 4 * 32 + o * 4 + i % 4] = (uint8_t)(nibble[0] | nibble[1] << 4);
            }
}

AQ_INLINE __m256i broadcast_quad(const int8_t *x) {
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm256_set1_epi32(quad);
}

// 16-bit chains over `quads` steps. Weights: unpacked (64 bytes a step) or packed (32 bytes).
AQ_INLINE void chain(const int rows, __m256i acc[AVX2_MR][2], const int8_t *x, size_t ld, const uint8_t *unpacked,
                     const uint8_t *packed, size_t quads) {
    const __m256i mask = _mm256_set1_epi8(15);
    AQ_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
    for (size_t i = 0; i < quads; i++) {
        __m256i w0, w1;
        if (unpacked) {
            w0 = _mm256_load_si256((const __m256i *)(unpacked + i * 64));
            w1 = _mm256_load_si256((const __m256i *)(unpacked + i * 64 + 32));
        } else {
            __m256i both = _mm256_loadu_si256((const __m256i *)(packed + i * 32));
            w0 = _mm256_and_si256(both, mask);
            w1 = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        }
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i v = broadcast_quad(x + (size_t)r * ld + 4 * i);
            acc[r][0] = _mm256_add_epi16(acc[r][0], _mm256_maddubs_epi16(w0, v));
            acc[r][1] = _mm256_add_epi16(acc[r][1], _mm256_maddubs_epi16(w1, v));
        }
    }
}

static void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, __m256i acc,
                        size_t columns) {
    int32_t lane[8];
    _mm256_storeu_si256((__m256i *)lane, acc);
    for (size_t o = 0; o < 8 && o < columns; o++)
        p->accumulators[(row * p->w->n + output + o) * p->w->groups + group] = lane[o];
}

// offset = -8 * sum, zero = 8 - z: -z * sum.
AQ_INLINE __m256i from_zero(__m256i offset, const int8_t *zero) {
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)zero));
    return _mm256_sub_epi32(offset, _mm256_mullo_epi32(wide, _mm256_srai_epi32(offset, 3)));
}

// One tile. run: inputs of a chain, when it is a constant (32), else 0: as long as the bounds allow. single: a group is
// one chain, so no int32 accumulators are carried.
AQ_INLINE void tile(const int rows, const size_t run, const bool single, const bool zeros, const struct aq_product *p,
                    size_t row, size_t panel, const uint8_t *unpacked, const uint8_t *packed) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, columns = w->n - panel * AVX2_NR;
    size_t longest = run ? run : aq_min(w->group, LONG_CHAIN);
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * AVX2_NR;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 total[AVX2_MR][2];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) total[r][0] = total[r][1] = _mm256_setzero_ps();
    for (size_t g = 0; g < w->groups; g++, scales += AVX2_NR) {
        __m256i acc[AVX2_MR][2];
        if (!single) {
            AQ_UNROLL
            for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
        }
        size_t at = g * w->group, end = at + w->group;
        do {
            __m256i part[AVX2_MR][2];
            size_t inputs = run ? run : aq_min(longest, end - at);
            chain(rows, part, x + at, ld, unpacked ? unpacked + at * AVX2_NR : NULL, packed + at * AVX2_NR / 2,
                  inputs / 4);
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                const int32_t *o = offsets + (size_t)r * (ld / 32) + at / 32;
                __m256i offset = _mm256_set1_epi32(o[0]);
                for (size_t i = 1; i < inputs / 32; i++) offset = _mm256_add_epi32(offset, _mm256_set1_epi32(o[i]));
                if (!single) {
                    part[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(part[r][0], ones));
                    part[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(part[r][1], ones));
                } else {
                    part[r][0] = _mm256_madd_epi16(part[r][0], ones);
                    part[r][1] = _mm256_madd_epi16(part[r][1], ones);
                }
                const int8_t *zero = zeros ? w->zeros + (panel * w->groups + g) * AVX2_NR : NULL;
                acc[r][0] = _mm256_add_epi32(part[r][0], zeros ? from_zero(offset, zero) : offset);
                acc[r][1] = _mm256_add_epi32(part[r][1], zeros ? from_zero(offset, zero + 8) : offset);
            }
            at += inputs;
        } while (!single && at < end);
        if (p->accumulators) {
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                store_group(p, row + (size_t)r, panel * AVX2_NR, g, acc[r][0], columns);
                if (columns > 8) store_group(p, row + (size_t)r, panel * AVX2_NR + 8, g, acc[r][1], columns - 8);
            }
            continue;
        }
        __m256 s0 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scales));
        __m256 s1 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 8)));
        AQ_UNROLL
        for (int r = 0; r < rows; r++) { // no FMA, so that all instruction sets round alike
            total[r][0] = _mm256_add_ps(total[r][0], _mm256_mul_ps(s0, _mm256_cvtepi32_ps(acc[r][0])));
            total[r][1] = _mm256_add_ps(total[r][1], _mm256_mul_ps(s1, _mm256_cvtepi32_ps(acc[r][1])));
        }
    }
    if (p->accumulators) return;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        __m256 scale = _mm256_set1_ps(p->rows->scale[row + (size_t)r]);
        float *y = p->y + (row + (size_t)r) * p->ldy + panel * AVX2_NR;
        AQ_UNROLL
        for (size_t half = 0; half < 2; half++) {
            __m256 value = _mm256_mul_ps(scale, total[r][half]);
            if (columns >= AVX2_NR)
                _mm256_storeu_ps(y + 8 * half, value);
            else
                _mm256_maskstore_ps(y + 8 * half, avx2_mask(columns, 8 * half), value);
        }
    }
}

static void unpack_panel(uint8_t *dst, const uint8_t *src, size_t bytes) {
    const __m256i mask = _mm256_set1_epi8(15);
    for (size_t i = 0; i < bytes; i += 32) {
        __m256i both = _mm256_loadu_si256((const __m256i *)(src + i));
        _mm256_store_si256((__m256i *)(dst + 2 * i), _mm256_and_si256(both, mask));
        _mm256_store_si256((__m256i *)(dst + 2 * i + 32), _mm256_and_si256(_mm256_srli_epi16(both, 4), mask));
    }
}

AQ_INLINE void product(const size_t run, const bool single, const bool zeros, const struct aq_product *p) {
    size_t bytes = p->w->padded / 2 * AVX2_NR;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint8_t *packed = (const uint8_t *)p->w->weights + panel * bytes;
        if (p->m <= AVX2_MR) {
#define TILE(rows) tile(rows, run, single, zeros, p, row, panel, NULL, packed)
            AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
            continue;
        }
        uint8_t *unpacked = p->scratch; // unpacked once for all rows but the last few
        unpack_panel(unpacked, packed, bytes);
#define TILE(rows) tile(rows, run, single, zeros, p, row, panel, rows == AVX2_MR ? unpacked : NULL, packed)
        AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
    }
}

// Lengths of chains are constants, so that their loops are unrolled.
AQ_INLINE void by_length(const bool zeros, const struct aq_product *p) {
    bool wide = p->rows->limit > 7; // 8-bit activations: chains of 32 only
    if (p->w->group == 32)
        product(32, true, zeros, p);
    else if (wide)
        product(32, false, zeros, p);
    else if (p->w->group == 64)
        product(64, true, zeros, p);
    else if (p->w->group == 128)
        product(128, true, zeros, p);
    else
        product(0, false, zeros, p);
}

void avx2_product_i4(const struct aq_product *p) {
    if (p->w->zeros)
        by_length(true, p);
    else
        by_length(false, p);
}
