// vpdpbusd on 256-bit vectors, written once and built twice: with VEX encoding for CPUs with AVX-VNNI (small cores and
// mini PCs without AVX-512), with EVEX encoding for those with AVX-512 VL and VNNI, where the same code can be tested.
// Included by vex.c and evex.c, which define VNNI_DOT(acc, unsigned bytes, signed bytes) and the table's
// isa and supported(). fp16 and bf16 are AVX2's, and so are panels of 16 outputs and tiles of 6 rows.
//
// int8: weights stored as w + 128 (1..255), accumulators start at -128 * (sum of the row's activations); int4: weights
// 0..15, from -8 * (sum of the group's), or -z times it. Bounds as for 512 bits: int8 may wrap on the way and ends
// exact, |sum| <= 131,072 * 127 * 127 < 2^31; int4 stays within 131,072 * (15 + 15) * 127 = 499,384,320 < 2^31
// throughout.
#include "../avx2/avx2.h"
#include "../elementwise.h"

// Bytes of four inputs of a panel.
enum { STEP_I8 = 4 * AVX2_NR, STEP_I4 = STEP_I8 / 2 };

// Panel: [k / 4][16 outputs][4].
static void pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k) {
    uint8_t *out = (uint8_t *)dst;
    for (size_t first = 0; first < n; first += AVX2_NR)
        for (size_t i = 0; i < k; i += 4)
            for (size_t o = first; o < first + AVX2_NR; o++, out += 4) {
                AQ_UNROLL
                for (size_t j = 0; j < 4; j++) out[j] = (uint8_t)(o < n && i + j < k ? src[o * k + i + j] + 128 : 128);
            }
}

AQ_INLINE __m256i quad(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

AQ_INLINE void store(float *y, size_t n, size_t output, __m256 value) {
    if (n >= output + 8)
        _mm256_storeu_ps(y, value); // masked stores are slow on some CPUs
    else
        _mm256_maskstore_ps(y, avx2_mask(n, output), value);
}

static void store_i8(const struct aq_product *p, size_t row, size_t output, __m256i acc) {
    __m256i mask = avx2_mask(p->w->n, output);
    if (p->accumulators) {
        _mm256_maskstore_epi32(p->accumulators + row * p->w->n + output, mask, acc);
        return;
    }
    __m256 scale = _mm256_maskload_ps((const float *)p->w->scales + output, mask);
    __m256 y = _mm256_mul_ps(_mm256_set1_ps(p->rows->scale[row]), _mm256_mul_ps(scale, _mm256_cvtepi32_ps(acc)));
    store(p->y + row * p->ldy + output, p->w->n, output, y);
}

AQ_INLINE void tile_i8(const int rows, const struct aq_product *p, size_t row, size_t panel) {
    size_t steps = (p->w->k + 3) / 4, ld = p->rows->ld;
    const uint8_t *w = (const uint8_t *)p->w->weights + panel * steps * STEP_I8;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32); // -8 * sums of 32
    __m256i acc[AVX2_MR][2];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < (p->w->k + 31) / 32; i++) sum += offsets[(size_t)r * (ld / 32) + i];
        acc[r][0] = acc[r][1] = _mm256_set1_epi32(16 * sum);
    }
    for (size_t s = 0; s < steps; s++, w += STEP_I8, x += 4) {
        __m256i w0 = _mm256_loadu_si256((const __m256i *)w), w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i v = quad(x + (size_t)r * ld);
            acc[r][0] = VNNI_DOT(acc[r][0], w0, v);
            acc[r][1] = VNNI_DOT(acc[r][1], w1, v);
        }
    }
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        store_i8(p, row + (size_t)r, panel * AVX2_NR, acc[r][0]);
        if (p->w->n > panel * AVX2_NR + 8) store_i8(p, row + (size_t)r, panel * AVX2_NR + 8, acc[r][1]);
    }
}

static void product_i8(const struct aq_product *p) {
    for (size_t panel = p->first; panel < p->last; panel++) {
#define TILE(rows) tile_i8(rows, p, row, panel)
        AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
    }
}

AQ_INLINE void unpack(__m256i out[2], const uint8_t *packed) {
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i both = _mm256_loadu_si256((const __m256i *)packed);
    out[0] = _mm256_and_si256(both, mask);
    out[1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
}

static void store_group(const struct aq_product *p, size_t row, size_t output, size_t group, __m256i acc) {
    int32_t lane[8];
    _mm256_storeu_si256((__m256i *)lane, acc);
    for (size_t o = 0; o < 8 && output + o < p->w->n; o++)
        p->accumulators[(row * p->w->n + output + o) * p->w->groups + group] = lane[o];
}

// start = -8 * sum, zero = 8 - z: -z * sum.
AQ_INLINE __m256i from_zero(__m256i start, const int8_t *zero) {
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)zero));
    return _mm256_sub_epi32(start, _mm256_mullo_epi32(wide, _mm256_srai_epi32(start, 3)));
}

// Panels as AVX2's: [k / 4][32 bytes], output o in the low and o + 8 in the high nibbles. The sums over groups do not
// fit into the 16 registers of VEX beside the accumulators; they are touched once a group and wait in the first-level
// cache.
AQ_INLINE void tile_i4(const int rows, const bool zeros, const struct aq_product *p, size_t row, size_t panel,
                       const uint8_t *unpacked, const uint8_t *packed) {
    const struct aq_matrix *w = p->w;
    size_t ld = p->rows->ld, output = panel * AVX2_NR;
    const int8_t *x = p->rows->q + row * ld;
    const int32_t *offsets = p->rows->offsets + row * (ld / 32);
    const uint16_t *scales = (const uint16_t *)w->scales + panel * w->groups * AVX2_NR;
    __m256 total[AVX2_MR][2];
    AQ_UNROLL
    for (int r = 0; r < rows; r++) total[r][0] = total[r][1] = _mm256_setzero_ps();
    for (size_t g = 0; g < w->groups; g++, scales += AVX2_NR, offsets += w->group / 32) {
        __m256i acc[AVX2_MR][2];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) {
            int32_t sum = 0;
            for (size_t i = 0; i < w->group / 32; i++) sum += offsets[(size_t)r * (ld / 32) + i];
            acc[r][0] = acc[r][1] = _mm256_set1_epi32(sum);
            if (!zeros) continue;
            const int8_t *zero = w->zeros + (panel * w->groups + g) * AVX2_NR;
            acc[r][0] = from_zero(acc[r][0], zero);
            acc[r][1] = from_zero(acc[r][1], zero + 8);
        }
        for (size_t i = 0; i < w->group / 4; i++, x += 4, packed += STEP_I4) {
            __m256i weight[2];
            if (unpacked) {
                weight[0] = _mm256_load_si256((const __m256i *)unpacked);
                weight[1] = _mm256_load_si256((const __m256i *)(unpacked + 32));
                unpacked += STEP_I8;
            } else {
                unpack(weight, packed);
            }
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                __m256i v = quad(x + (size_t)r * ld);
                acc[r][0] = VNNI_DOT(acc[r][0], weight[0], v);
                acc[r][1] = VNNI_DOT(acc[r][1], weight[1], v);
            }
        }
        AQ_UNROLL
        for (size_t v = 0; v < 2; v++) {
            __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 8 * v)));
            AQ_UNROLL
            for (int r = 0; r < rows; r++) {
                if (p->accumulators)
                    store_group(p, row + (size_t)r, output + 8 * v, g, acc[r][v]);
                else // no FMA, so that all instruction sets round alike
                    total[r][v] = _mm256_add_ps(total[r][v], _mm256_mul_ps(scale, _mm256_cvtepi32_ps(acc[r][v])));
            }
        }
    }
    if (p->accumulators) return;
    AQ_UNROLL
    for (int r = 0; r < rows; r++) {
        __m256 scale = _mm256_set1_ps(p->rows->scale[row + (size_t)r]);
        float *y = p->y + (row + (size_t)r) * p->ldy + output;
        AQ_UNROLL
        for (size_t v = 0; v < 2; v++) store(y + 8 * v, w->n, output + 8 * v, _mm256_mul_ps(scale, total[r][v]));
    }
}

AQ_INLINE void panels_i4(const bool zeros, const struct aq_product *p) {
    size_t bytes = p->w->padded / 4 * STEP_I4;
    for (size_t panel = p->first; panel < p->last; panel++) {
        const uint8_t *packed = (const uint8_t *)p->w->weights + panel * bytes;
        uint8_t *unpacked = p->scratch; // unpacked once for all rows but the last few
        for (size_t i = 0; p->m > AVX2_MR && i < bytes; i += STEP_I4) {
            __m256i weight[2];
            unpack(weight, packed + i);
            _mm256_store_si256((__m256i *)(unpacked + 2 * i), weight[0]);
            _mm256_store_si256((__m256i *)(unpacked + 2 * i + 32), weight[1]);
        }
        bool many = p->m > AVX2_MR;
#define TILE(rows) tile_i4(rows, zeros, p, row, panel, rows == AVX2_MR && many ? unpacked : NULL, packed)
        AQ_FOR_TILES(p->m, AVX2_MR, TILE);
#undef TILE
    }
}

static void product_i4(const struct aq_product *p) {
    if (p->w->zeros)
        panels_i4(true, p);
    else
        panels_i4(false, p);
}

// vpdpbusd alone: ten chains in registers.
static uint64_t peak_dot(size_t rounds) {
    enum { CHAINS = 10, REPEAT = 8 };
    __m256i acc[CHAINS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(1);
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_setzero_si256();
    for (size_t i = 0; i < rounds; i++) {
        AQ_UNROLL
        for (int r = 0; r < REPEAT; r++) {
            AQ_UNROLL
            for (int c = 0; c < CHAINS; c++) acc[c] = VNNI_DOT(acc[c], w, x);
        }
    }
    AQ_UNROLL
    for (int c = 0; c < CHAINS; c++) __asm__ __volatile__("" : : "x"(acc[c]));
    return (uint64_t)rounds * REPEAT * CHAINS * 32 * 2;
}

extern const struct aq_kernels VNNI_TABLE;
const struct aq_kernels VNNI_TABLE = {
    .isa = VNNI_ISA,
    .description = {"fp16 weights by F16C, fp32 FMA", "uint8 x int8, vpdpbusd (256 bits)",
                    "uint4 x int8, vpdpbusd (256 bits)", "bf16 weights widened, fp32 FMA"},
    .supported = supported,
    .panel = {AVX2_NR, AVX2_NR, AVX2_NR, AVX2_NR},
    .scratch_bytes = avx2_scratch_bytes,
    .pack_f16 = aq_pack_f16,
    .pack_i8 = pack_i8,
    .pack_i4 = avx2_pack_i4,
    .pack_bf16 = aq_pack_f16,
    .k_unit_i8 = 4,
    .product = {avx2_product_f16, product_i8, product_i4, avx2_product_bf16},
    .peak = {avx2_peak_fma, peak_dot, peak_dot, avx2_peak_fma},
    .widen = avx2_widen,
    .narrow = avx2_narrow,
    AQ_ELEMENTWISE,
};
