// fp16 and bf16 products: weights widened, fp16 by FCVTL, fp32 FMLA; tiles of 4 rows x 16 outputs.
#include "neon.h"

#define F16_VECTORS 4
#define F16_MR NEON_MR
#define F16_WIDE 1
#define F16_SINGLE 1
typedef float32x4_t f16_vector;

AQ_INLINE float32x4_t f16_zero(void) {
    return vdupq_n_f32(0);
}

AQ_INLINE float32x4_t f16_load(const float *from) {
    return vld1q_f32(from);
}

AQ_INLINE void f16_save(float *to, float32x4_t value) {
    vst1q_f32(to, value);
}

AQ_INLINE float32x4_t f16_widen(const bool bf16, const uint16_t *from) {
    return bf16 ? vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16)) : neon_load_half(from);
}

AQ_INLINE float32x4_t f16_add(float32x4_t a, float32x4_t b) {
    return vaddq_f32(a, b);
}

AQ_INLINE float32x4_t f16_fma(float32x4_t acc, float32x4_t w, const float *x) {
    return vfmaq_n_f32(acc, w, *x);
}

// Four inputs of a row are loaded at once and taken by element: the same chains, and a quarter of the loads of x.
#define F16_QUADS
AQ_INLINE size_t f16_quads(const bool bf16, const int rows, const int panels, float32x4_t acc[][F16_WIDE][F16_VECTORS],
                           const float *x, size_t ldx, const float *wide, const uint16_t *narrow, size_t stride,
                           size_t k) {
    (void)panels, (void)stride; // one panel
    size_t i = 0;
    for (; i + 4 <= k; i += 4) {
        float32x4_t quad[F16_MR];
        AQ_UNROLL
        for (int r = 0; r < rows; r++) quad[r] = vld1q_f32(x + (size_t)r * ldx + i);
#define INPUT(lane)                                                                                                    \
    do {                                                                                                               \
        float32x4_t w[F16_VECTORS];                                                                                    \
        AQ_UNROLL                                                                                                      \
        for (size_t v = 0; v < F16_VECTORS; v++)                                                                       \
            w[v] = wide ? vld1q_f32(wide + (i + (lane)) * NEON_NR_F16 + 4 * v)                                         \
                        : f16_widen(bf16, narrow + (i + (lane)) * NEON_NR_F16 + 4 * v);                                \
        AQ_UNROLL                                                                                                      \
        for (int r = 0; r < rows; r++) {                                                                               \
            AQ_UNROLL                                                                                                  \
            for (size_t v = 0; v < F16_VECTORS; v++)                                                                   \
                acc[r][0][v] = vfmaq_laneq_f32(acc[r][0][v], w[v], quad[r], lane);                                     \
        }                                                                                                              \
    } while (0)
        INPUT(0);
        INPUT(1);
        INPUT(2);
        INPUT(3);
#undef INPUT
    }
    return i;
}

AQ_INLINE void f16_store(float *y, const float32x4_t acc[4], size_t columns, bool add) {
    if (columns >= NEON_NR_F16) {
        AQ_UNROLL
        for (size_t v = 0; v < 4; v++) vst1q_f32(y + 4 * v, add ? vaddq_f32(vld1q_f32(y + 4 * v), acc[v]) : acc[v]);
        return;
    }
    float lane[NEON_NR_F16];
    AQ_UNROLL
    for (size_t v = 0; v < 4; v++) vst1q_f32(lane + 4 * v, acc[v]);
    for (size_t j = 0; j < columns; j++) y[j] = add ? y[j] + lane[j] : lane[j];
}

#include "../product_f16.h"

void neon_product_f16(const struct aq_product *p) {
    f16_product(false, p);
}

void neon_product_bf16(const struct aq_product *p) {
    f16_product(true, p);
}
