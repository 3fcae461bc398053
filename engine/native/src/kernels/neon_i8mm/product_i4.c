// int4 x int8 (or int4) -> int32 a group by SMMLA, scaled in fp32. Panel: [k / 8][2][16 bytes]; byte 8 * j + i of
// vector v holds output 2 * v + j in its low and output 2 * v + j + 4 in its high nibble, for input i of 8, in two's
// complement. Bounds: neon/groups.h.
//
// Tiles of 4 rows x 8 outputs: 8 accumulators (two rows x two outputs each), 8 fp32 sums over groups, 2 vectors of
// activations, 4 of weights, 4 of scales. With more rows a panel is unpacked once for all of them.
#include "neon_i8mm.h"

#include "../neon/groups.h"

enum { MR = MM_MR_I4, PAIRS = MM_NR / 2, STEP = 8, UNPACKED = STEP * MM_NR, PACKED = UNPACKED / 2, SCALES = 2 * MM_NR };

size_t
i8mm_scratch_i4(size_t k) { // a panel's scales, twice in fp32 (a group is at least 32), then its unpacked weights
    size_t padded = aq_round_up(k, 128);
    return padded * MM_NR + padded / 32 * SCALES * sizeof(float);
}

void i8mm_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    for (size_t first = 0; first < n; first += MM_NR)
        for (size_t i = 0; i < padded; i += STEP)
            for (size_t o = first; o < first + 4; o++)
                for (size_t j = i; j < i + STEP; j += 4, dst += 4) {
                    uint32_t both = neon_four_inputs(src, o, n, padded, j) | neon_four_inputs(src, o + 4, n, padded, j)
                                                                                 << 4;
                    memcpy(dst, &both, sizeof both);
                }
}

AQ_INLINE void unpack(int8x16_t out[PAIRS], const uint8_t *packed) {
    AQ_UNROLL
    for (size_t v = 0; v < PAIRS / 2; v++) {
        uint8x16_t both = vld1q_u8(packed + 16 * v);
        out[v] = vreinterpretq_s8_u8(vshlq_n_u8(both, 4));
        out[v + PAIRS / 2] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(0xF0)));
    }
}

// Scales of outputs 2 * o and 2 * o + 1, twice.
AQ_INLINE void load_scales(const bool is_short, float32x4_t out[PAIRS], const uint16_t *scales) {
    AQ_UNROLL
    for (size_t o = 0; o < PAIRS; o += 2) {
        float32x4_t four = neon_load_half(scales + 2 * o);
        if (is_short) four = vmulq_n_f32(four, 0.0625f);
        out[o] = vcombine_f32(vget_low_f32(four), vget_low_f32(four));
        out[o + 1] = vcombine_f32(vget_high_f32(four), vget_high_f32(four));
    }
}

AQ_INLINE void load_zeros(int32x4_t out[PAIRS], const int8_t *zeros) {
    int32x4_t wide[2];
    groups_zeros(wide, zeros);
    AQ_UNROLL
    for (int h = 0; h < 2; h++) {
        out[2 * h] = vcombine_s32(vget_low_s32(wide[h]), vget_low_s32(wide[h]));
        out[2 * h + 1] = vcombine_s32(vget_high_s32(wide[h]), vget_high_s32(wide[h]));
    }
}

// Lanes of acc: two outputs of row `row`, then of the row after it, if the tile has one.
static void store_group(const struct aq_product *p, size_t row, size_t rows, size_t output, size_t group,
                        int32x4_t acc) {
    int32_t lane[4];
    vst1q_s32(lane, acc);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < 2 && output + o < p->w->n; o++)
            p->accumulators[((row + r) * p->w->n + output + o) * p->w->groups + group] = lane[2 * r + o];
}

static void store(const struct aq_product *p, size_t row, size_t rows, size_t output, const float32x4_t total[PAIRS]) {
    size_t columns = aq_min(MM_NR, p->w->n - output);
    float lane[4 * PAIRS];
    AQ_UNROLL
    for (size_t o = 0; o < PAIRS; o++) vst1q_f32(lane + 4 * o, total[o]);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < columns; o++)
            p->y[(row + r) * p->ldy + output + o] = lane[o / 2 * 4 + 2 * r + o % 2] * p->rows->scale[row + r];
}

// Weights and scales: unpacked (wide, a constant, so that no loop tests it), or (not wide) as in the matrix. A missing
// second row is a copy of the first.
AQ_INLINE void tile(const int rows, const struct groups_kind kind, const struct aq_product *p, size_t row, size_t panel,
                    const bool wide, const float *wide_scales, const int8_t *unpacked) {
    const int pairs = (rows + 1) / 2;
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * MM_NR, group = kind.run ? kind.run : w->group;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / STEP * PACKED;
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * MM_NR;
    float32x4_t total[MR / 2][PAIRS];
    AQ_UNROLL
    for (int r = 0; r < pairs; r++) {
        AQ_UNROLL
        for (int o = 0; o < PAIRS; o++) total[r][o] = vdupq_n_f32(0);
    }
    for (size_t g = 0; g < w->groups; g++, offsets += group / 32) {
        int32x4_t acc[MR / 2][PAIRS], zero[PAIRS];
        float32x4_t scale[PAIRS];
        AQ_UNROLL
        for (int r = 0; r < pairs; r++) {
            AQ_UNROLL
            for (int o = 0; o < PAIRS; o++) acc[r][o] = groups_start(kind.is_short);
        }
        for (size_t i = 0; i < group / 16; i++, x += 16) {
            int8x16_t two[MR / 2][2];
            AQ_UNROLL
            for (int r = 0; r < pairs; r++)
                i8mm_pair(two[r], x + (size_t)(2 * r) * ld, x + (size_t)(2 * r + 1 < rows ? 2 * r + 1 : 2 * r) * ld);
            AQ_UNROLL
            for (int half = 0; half < 2; half++) {
                int8x16_t weight[PAIRS];
                if (wide) {
                    AQ_UNROLL
                    for (size_t o = 0; o < PAIRS; o++) weight[o] = vld1q_s8(unpacked + 16 * o);
                    unpacked += UNPACKED;
                } else {
                    unpack(weight, packed);
                    packed += PACKED;
                }
                AQ_UNROLL
                for (int r = 0; r < pairs; r++) {
                    AQ_UNROLL
                    for (int o = 0; o < PAIRS; o++) acc[r][o] = vmmlaq_s32(acc[r][o], two[r][half], weight[o]);
                }
            }
        }
        if (wide) {
            AQ_UNROLL
            for (size_t o = 0; o < PAIRS; o++) scale[o] = vld1q_f32(wide_scales + g * SCALES + 4 * o);
        } else {
            load_scales(kind.is_short, scale, scales + g * MM_NR);
        }
        if (kind.zeros) load_zeros(zero, w->zeros + (panel * w->groups + g) * MM_NR);
        AQ_UNROLL
        for (int r = 0; r < pairs; r++) {
            int32x4_t factor = vdupq_n_s32(0);
            if (kind.zeros) {
                const int32_t *one = offsets + (size_t)(2 * r) * (ld / 32);
                const int32_t *other = 2 * r + 1 < rows ? one + ld / 32 : one;
                factor = vcombine_s32(vdup_n_s32(groups_factor(kind.is_short, one, group)),
                                      vdup_n_s32(groups_factor(kind.is_short, other, group)));
            }
            AQ_UNROLL
            for (size_t o = 0; o < PAIRS; o++) {
                acc[r][o] = groups_end(kind.is_short, acc[r][o]);
                if (kind.zeros) acc[r][o] = vmlaq_s32(acc[r][o], zero[o], factor);
                if (kind.raw)
                    store_group(p, row + 2 * (size_t)r, 2 * r + 1 < rows ? 2 : 1, output + 2 * o, g,
                                groups_integer(kind.is_short, acc[r][o]));
                else // no FMA, so that all instruction sets round alike
                    total[r][o] = vaddq_f32(total[r][o], vmulq_f32(scale[o], groups_float(kind.is_short, acc[r][o])));
            }
        }
    }
    if (kind.raw) return;
    AQ_UNROLL
    for (int r = 0; r < pairs; r++) store(p, row + 2 * (size_t)r, 2 * r + 1 < rows ? 2 : 1, output, total[r]);
}

// To scratch: the panel's scales, then its weights, a byte each.
static void unpack_panel(const bool is_short, const struct aq_matrix *w, size_t panel, float *scales, int8_t *weights) {
    const uint16_t *half = (const uint16_t *)w->scales + panel * w->groups * MM_NR;
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / STEP * PACKED;
    for (size_t g = 0; g < w->groups; g++, half += MM_NR, scales += SCALES) {
        float32x4_t scale[PAIRS];
        load_scales(is_short, scale, half);
        AQ_UNROLL
        for (size_t o = 0; o < PAIRS; o++) vst1q_f32(scales + 4 * o, scale[o]);
    }
    for (size_t i = 0; i < w->padded / STEP; i++, packed += PACKED, weights += UNPACKED) {
        int8x16_t weight[PAIRS];
        unpack(weight, packed);
        AQ_UNROLL
        for (size_t o = 0; o < PAIRS; o++) vst1q_s8(weights + 16 * o, weight[o]);
    }
}

AQ_INLINE void product(const struct groups_kind kind, const struct aq_product *p) {
    float *scales = p->scratch;
    int8_t *weights = (int8_t *)(scales + p->w->groups * SCALES);
    for (size_t panel = p->first; panel < p->last; panel++) {
        size_t done = 0;
        if (p->m > MR) { // unpacked once for all rows but the last few
            unpack_panel(kind.is_short, p->w, panel, scales, weights);
            for (; done + MR <= p->m; done += MR) tile(MR, kind, p, done, panel, true, scales, weights);
        }
#define TILE(rows) tile(rows, kind, p, done + row, panel, false, NULL, NULL)
        AQ_FOR_TILES(p->m - done, MR, TILE);
#undef TILE
    }
}

void i8mm_product_i4(const struct aq_product *p) {
    GROUPS_DISPATCH(p, product);
}
