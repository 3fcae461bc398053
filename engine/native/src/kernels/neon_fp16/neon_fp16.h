// fp16 arithmetic for the linears of fp16 packs (FEAT_FP16, "asimdhp": Cortex-A55, A75, A76 and later).
#ifndef AQ_NEON_FP16_H
#define AQ_NEON_FP16_H

#include "../neon/neon.h"

void neon_round_half(struct aq_rows *rows, size_t row, const float *x, size_t k);
void neon_product_half(const struct aq_product *p);

#endif
