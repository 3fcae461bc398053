// The kernels of one instruction set, behind one table of functions. A new instruction set is a folder with one such
// table plus one line in kernels.c.
//
// Every table has a "panel" width per weight format: NR outputs whose weights lie interleaved in memory. Packing and
// products of a table belong together; callers only know panels as the unit of work to divide among threads.
#ifndef AQ_KERNELS_H
#define AQ_KERNELS_H

#include "../util.h"

enum aq_format { AQ_F16, AQ_I8, AQ_I4, AQ_BF16, AQ_FORMATS };

// The order of additions in an fp16 product is part of the contract between the tables, so that every instruction set
// gives the same bits: inputs in blocks of 256, in each block one chain of fused multiply-adds from zero in ascending
// order, then the blocks' sums added in ascending order.
enum { AQ_F16_BLOCK = 256 };

// A linear's weights, packed for one table: n outputs, k inputs.
struct aq_matrix {
    enum aq_format format;
    size_t n, k;
    size_t stride;        // F16: inputs a panel has room for (>= k; the KV cache leaves some unused)
    size_t padded;        // I4: groups * group
    size_t group, groups; // I4
    const void *weights;
    const void *scales;  // I8: f32 [n]; I4: f16, panels of [groups][NR]; F16, BF16: none
    const int8_t *zeros; // I4: 8 - zero point, panels of [groups][NR]; NULL: all 0
    const float *bias;   // [n] or NULL; added to the finished product by its caller
};

// What a quantizer sees of a row x: place j is channel c = order[j], x[c] * factor[c]. All zero: x, and a scale a row.
struct aq_input {
    const float *factor;   // [k], powers of two; NULL: all 1
    const uint32_t *order; // [k], a permutation; NULL: as it is
    bool fixed;            // every row has the scale `scale`, and `zero` is added before rounding is clamped
    float scale, zero;
};

// What becomes of attention probabilities after the softmax.
enum aq_probabilities { AQ_PROBABILITIES_FP32, AQ_PROBABILITIES_LOG2, AQ_PROBABILITIES_UNIFORM };

// m rows quantized: q [m][ld], zero from k to k rounded up to 128, the same widened to 16 bits, and offsets.
// ld is a multiple of 32. For BF16 only q16 is used.
struct aq_rows {
    size_t ld;
    int8_t *q;
    int16_t *q16;     // or the bits of bf16 or fp16 numbers
    int32_t *offsets; // [m][ld / 32]: -8 * the sum of 32 elements, for weights stored as q + 8
    float *scale;     // [m]
    int limit;        // 127 or 7: largest absolute value in q
};

// y[row][output] for all m rows and the outputs of panels first..last-1.
struct aq_product {
    const struct aq_matrix *w;
    size_t m;
    const float *x; // F16: [m][ldx]; BF16: the same, rounded to bf16
    size_t ldx;
    const struct aq_rows *rows; // I8, I4; BF16: what round_bf16 left
    float *y;                   // [m][ldy]
    size_t ldy;
    size_t first, last;
    int32_t *accumulators; // instead of y, for tests: I8 [m][n], I4 [m][n][groups]
    void *scratch;         // scratch_bytes(k), this thread's, 64-byte aligned
};

struct aq_kernels {
    const char *isa;
    const char *description[AQ_FORMATS]; // what `info` shows
    bool (*supported)(void);
    size_t panel[AQ_FORMATS]; // NR
    size_t (*scratch_bytes)(size_t k);

    // Packing; all sizes were checked. Destination bytes: aq_packed_bytes. src as in the file.
    void (*pack_f16)(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
    void (*pack_i8)(int8_t *dst, const int8_t *src, size_t n, size_t k);
    void (*pack_i4)(uint8_t *dst, const uint8_t *src, size_t n, size_t padded);
    void (*pack_bf16)(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
    size_t k_unit_i8; // I8: k is padded to a multiple of this with zeros

    void (*product[AQ_FORMATS])(const struct aq_product *p);
    // fp16 arithmetic for the linears of fp16 packs, within a tolerance of product[AQ_F16], or NULL. round_half leaves
    // x times a power of two in rows->q16 as the bits of fp16 numbers, zero up to k rounded up to 128, and the inverse
    // power in rows->scale; product_half takes that instead of x.
    void (*round_half)(struct aq_rows *rows, size_t row, const float *x, size_t k);
    void (*product_half)(const struct aq_product *p);
    // I4 with 4-bit activations by the paper's packed multiplier, on the same packed weights; NULL: this table has
    // none. For comparison: runs use product[AQ_I4], which every instruction set has a cheaper exact form for.
    void (*product_packed4)(const struct aq_product *p);
    bool bf16_dot; // BF16 by an instruction for it, in its order of additions; else in that of F16

    // The format's multiply instruction alone, in registers: runs `rounds` times a fixed block, returns the operations
    // (2 a multiply-add). NULL: not known.
    uint64_t (*peak[AQ_FORMATS])(size_t rounds);

    // Element-wise parts. The same C, and the same order of additions, on every instruction set.
    void (*widen)(float *dst, const uint16_t *src, size_t n);
    void (*narrow)(uint16_t *dst, const float *src, size_t n);
    void (*rmsnorm)(float *dst, const float *x, const float *weight, size_t n, float epsilon);
    void (*layernorm)(float *dst, const float *x, const float *weight, const float *bias, size_t n, float epsilon);
    void (*quantize)(struct aq_rows *rows, size_t row, const float *x, size_t k, const struct aq_input *input);
    // x rounded to bf16 in place, half to even; the bits to rows->q16, zero up to k rounded up to 128.
    void (*round_bf16)(struct aq_rows *rows, size_t row, float *x, size_t k);
    // For int8 caches: absmax / 127 of a row, 127 / absmax in *inverse; its numbers times that; and back, in rows of 16
    // with a scale for each column or, by_row, each row.
    float (*row_scale)(const float *x, size_t n, float *inverse);
    void (*to_int8)(int8_t *q, const float *x, size_t n, float inverse);
    void (*from_int8)(float *x, const int8_t *q, const float *scale, size_t rows, bool by_row);
    void (*swiglu)(float *gate, const float *up, size_t n);
    void (*relu)(float *x, size_t n);
    void (*gelu)(float *x, size_t n);
    // x * scale + slope * (key position - query position): ALiBi on the scores of one query.
    void (*alibi)(float *x, size_t n, float scale, float slope, const float *key_positions, float query_position);
    void (*softmax)(float *x, size_t n, float scale, enum aq_probabilities probabilities);
    void (*add)(float *x, const float *y, size_t n);
    double (*nll)(const float *logits, size_t n, size_t target);
};

#define AQ_KERNEL_SETS 8 // room for the tables of any one architecture and the NULL
// Best last; NULL-terminated. The only table of its kind.
extern const struct aq_kernels *const aq_kernel_sets[AQ_KERNEL_SETS];

// "auto": the best that this CPU supports.
const struct aq_kernels *aq_kernels_select(const char *isa, struct aq_error *err);

size_t aq_panels(const struct aq_kernels *kernels, enum aq_format format, size_t n);
// Bytes of packed weights; false when the sizes overflow.
bool aq_packed_bytes(const struct aq_kernels *kernels, enum aq_format format, size_t n, size_t k, size_t *bytes);
// fp16 panels of 16 outputs, [k][16]: every table's; bf16 for tables that widen it.
void aq_pack_f16(uint16_t *dst, const uint16_t *src, size_t n, size_t k);
// Scales of an I4 matrix: [groups][n] in memory order of the file ([groups, out]: groups fastest) to panels.
void aq_pack_i4_scales(const struct aq_kernels *kernels, uint16_t *dst, const uint16_t *src, size_t n, size_t groups);
// Its zero points, 0..15 and in the same order, to panels of 8 - z; 0 for outputs beyond n.
void aq_pack_i4_zeros(const struct aq_kernels *kernels, int8_t *dst, const int8_t *src, size_t n, size_t groups);

#endif
