// Shared by the AVX2 kernels. Every format has panels of 16 outputs: two vectors of eight 32-bit lanes. Tiles are 6
// rows x 16 outputs: 12 accumulators, 2 weights, 1 activation and 1 temporary fill the 16 registers.
#ifndef AQ_AVX2_H
#define AQ_AVX2_H

#include "../half.h"
#include "../kernels.h"

#include <immintrin.h>

enum { AVX2_NR = 16, AVX2_MR = 6 };

// Inlined, so that row counts become constants and accumulators stay in registers. Sanitizer builds keep them as plain
// functions: a hundred checked copies of each would compile for minutes.
#ifdef AQ_SANITIZED
#define AVX2_INLINE static __attribute__((noinline, unused))
#else
#define AVX2_INLINE static inline __attribute__((always_inline))
#endif

void avx2_pack_f16(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
void avx2_pack_i8(int8_t *dst, const int8_t *src, size_t n, size_t k);
void avx2_pack_i4(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
void avx2_product_f16(const struct aq_product *p);
void avx2_product_i8(const struct aq_product *p);
void avx2_product_i4(const struct aq_product *p);

// Lanes 0..columns-1 of the panel's half that starts at output `from` are stored.
AVX2_INLINE __m256i avx2_mask(size_t columns, size_t from) {
    int left = columns > from ? (int)(columns - from) : 0;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Calls TILE(rows) for full tiles of 6 rows, then once for the rest; rows is a constant in every call.
#define AVX2_FOR_TILES(m, TILE)                                                                                        \
    do {                                                                                                               \
        size_t row = 0;                                                                                                \
        for (; row + AVX2_MR <= (m); row += AVX2_MR) TILE(6);                                                          \
        switch ((m)-row) {                                                                                             \
        case 5:                                                                                                        \
            TILE(5);                                                                                                   \
            break;                                                                                                     \
        case 4:                                                                                                        \
            TILE(4);                                                                                                   \
            break;                                                                                                     \
        case 3:                                                                                                        \
            TILE(3);                                                                                                   \
            break;                                                                                                     \
        case 2:                                                                                                        \
            TILE(2);                                                                                                   \
            break;                                                                                                     \
        case 1:                                                                                                        \
            TILE(1);                                                                                                   \
            break;                                                                                                     \
        default:                                                                                                       \
            break;                                                                                                     \
        }                                                                                                              \
    } while (0)

#endif
