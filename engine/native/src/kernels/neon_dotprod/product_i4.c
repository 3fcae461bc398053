// int4 x int8 (or int4) -> int32 a group by SDOT, scaled in fp32. Panel: [k / 4][16 bytes]; byte 4 * o + j holds output
// o in its low and output o + 4 in its high nibble, for input 4 * i + j, in two's complement. Bounds: neon/groups.h.
//
// Tiles of 4 rows x 8 outputs: 8 accumulators, 8 fp32 sums over groups, 4 vectors of activations, 2 of weights, 2 of
// scales. With more rows a panel is unpacked once for all of them.
#include "neon_dotprod.h"

#include "../neon/groups.h"

enum { VECTORS = DOT_NR / 4, MR = DOT_MR_I4, PACKED = 2 * DOT_NR, UNPACKED = 4 * DOT_NR };

size_t dotprod_scratch_bytes(size_t k) { // a panel's scales in fp32 (a group is at least 32), then its unpacked weights
    size_t padded = aq_round_up(k, 128);
    return aq_max(AQ_F16_BLOCK * NEON_NR_F16 * sizeof(float), padded * DOT_NR + padded / 32 * DOT_NR * sizeof(float));
}

void dotprod_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded) {
    for (size_t first = 0; first < n; first += DOT_NR)
        for (size_t i = 0; i < padded; i += 4)
            for (size_t o = first; o < first + 4; o++, dst += 4) {
                uint32_t both = neon_four_inputs(src, o, n, padded, i) | neon_four_inputs(src, o + 4, n, padded, i)
                                                                             << 4;
                memcpy(dst, &both, sizeof both);
            }
}

AQ_INLINE void unpack(int8x16_t out[VECTORS], const uint8_t *packed) {
    uint8x16_t both = vld1q_u8(packed);
    out[0] = vreinterpretq_s8_u8(vshlq_n_u8(both, 4));
    out[1] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(0xF0)));
}

AQ_INLINE void load_scales(const bool is_short, float32x4_t out[VECTORS], const uint16_t *scales) {
    AQ_UNROLL
    for (size_t v = 0; v < VECTORS; v++) {
        out[v] = neon_load_half(scales + 4 * v);
        if (is_short) out[v] = vmulq_n_f32(out[v], 0.0625f);
    }
}

static void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, int32x4_t acc) {
    int32_t lane[4];
    vst1q_s32(lane, acc);
    for (size_t o = 0; o < 4 && output + o < p->w->n; o++)
        p->accumulators[(row * p->w->n + output + o) * p->w->groups + group] = lane[o];
}

// `run`: the group size as a constant, or 0. Weights and scales: unpacked (wide, a constant, so that no loop tests it),
// or (not wide) as in the matrix.
AQ_INLINE void tile(const int rows, const struct groups_kind kind, const struct aq_product *p, size_t row, size_t panel,
                    const bool wide, const float *wide_scales, const int8_t *unpacked) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * DOT_NR, group = kind.run ? kind.run : w->group;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 4 * PACKED;
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * DOT_NR;
    float32x4_t total[MR][VECTORS];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        AQ_UNROLL
        for (int v = 0; v < VECTORS; v++) total[r][v] = vdupq_n_f32(0);
    }
    for (size_t g = 0; g < w->groups; g++, offsets += group / 32) {
        int32x4_t acc[MR][VECTORS], zero[VECTORS];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            AQ_UNROLL
            for (int v = 0; v < VECTORS; v++) acc[r][v] = groups_start(kind.is_short);
        }
        for (size_t i = 0; i < group / 16; i++, x += 16) {
            int8x16_t quads[MR];
            AQ_UNROLL
            for (int r = 0; r < rows; r++) quads[r] = vld1q_s8(x + (size_t)r * ld);
#define QUAD(lane)                                                                                                     \
    do {                                                                                                               \
        int8x16_t weight[VECTORS];                                                                                     \
        if (wide) {                                                                                                    \
            weight[0] = vld1q_s8(unpacked + UNPACKED * (lane));                                                        \
            weight[1] = vld1q_s8(unpacked + UNPACKED * (lane) + 16);                                                   \
        } else {                                                                                                       \
            unpack(weight, packed + PACKED * (lane));                                                                  \
        }                                                                                                              \
        AQ_UNROLL                                                                                                      \
        for (int r = 0; r < rows; r++) {                                                                               \
            acc[r][0] = vdotq_laneq_s32(acc[r][0], weight[0], quads[r], lane);                                         \
            acc[r][1] = vdotq_laneq_s32(acc[r][1], weight[1], quads[r], lane);                                         \
        }                                                                                                              \
    } while (0)
            QUAD(0);
            QUAD(1);
            QUAD(2);
            QUAD(3);
#undef QUAD
            if (wide)
                unpacked += 4 * UNPACKED;
            else
                packed += 4 * PACKED;
        }
        float32x4_t scale[VECTORS];
        if (wide) {
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++) scale[v] = vld1q_f32(wide_scales + g * DOT_NR + 4 * v);
        } else {
            load_scales(kind.is_short, scale, scales + g * DOT_NR);
        }
        if (kind.zeros) groups_zeros(zero, w->zeros + (panel * w->groups + g) * DOT_NR);
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            int32_t factor = kind.zeros ? groups_factor(kind.is_short, offsets + (size_t)r * (ld / 32), group) : 0;
            AQ_UNROLL
            for (size_t v = 0; v < VECTORS; v++) {
                acc[r][v] = groups_end(kind.is_short, acc[r][v]);
                if (kind.zeros) acc[r][v] = vmlaq_n_s32(acc[r][v], zero[v], factor);
                if (kind.raw)
                    store_group(p, row + (size_t)r, output + 4 * v, g, groups_integer(kind.is_short, acc[r][v]));
                else // no FMA, so that all instruction sets round alike
                    total[r][v] = vaddq_f32(total[r][v], vmulq_f32(scale[v], groups_float(kind.is_short, acc[r][v])));
            }
        }
    }
    if (kind.raw) return;
    size_t columns = aq_min(DOT_NR, w->n - output);
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        float lane[DOT_NR];
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            vst1q_f32(lane + 4 * v, vmulq_n_f32(total[r][v], p->rows->scale[row + (size_t)r]));
        memcpy(p->y + (row + (size_t)r) * p->ldy + output, lane, columns * sizeof *lane);
    }
}

// To scratch: the panel's scales in fp32, then its weights, a byte each.
static void unpack_panel(const bool is_short, const struct aq_matrix *w, size_t panel, float *scales, int8_t *weights) {
    const uint16_t *half = (const uint16_t *)w->scales + panel * w->groups * DOT_NR;
    const uint8_t *packed = (const uint8_t *)w->weights + panel * w->padded / 4 * PACKED;
    for (size_t g = 0; g < w->groups; g++, half += DOT_NR, scales += DOT_NR) {
        float32x4_t scale[VECTORS];
        load_scales(is_short, scale, half);
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) vst1q_f32(scales + 4 * v, scale[v]);
    }
    for (size_t i = 0; i < w->padded / 4; i++, packed += PACKED, weights += UNPACKED) {
        int8x16_t weight[VECTORS];
        unpack(weight, packed);
        AQ_UNROLL
        for (size_t v = 0; v < VECTORS; v++) vst1q_s8(weights + 16 * v, weight[v]);
    }
}

AQ_INLINE void product(const struct groups_kind kind, const struct aq_product *p) {
    float *scales = p->scratch;
    int8_t *weights = (int8_t *)(scales + p->w->groups * DOT_NR);
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

void dotprod_product_i4(const struct aq_product *p) {
    GROUPS_DISPATCH(p, product);
}
