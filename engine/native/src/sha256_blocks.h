// The compression function of SHA-256: plain C, and the CPU's instructions for it where it has them.
#ifndef AQ_SHA256_BLOCKS_H
#define AQ_SHA256_BLOCKS_H

#include "sha256.h"

void aq_sha256_blocks_plain(uint32_t state[8], const uint8_t *data, size_t blocks);

// SHA extensions of x86-64, or of Armv8: asks the CPU at run time. The plain form where there are none.
aq_sha256_blocks_fn *aq_sha256_blocks(void);

#endif
