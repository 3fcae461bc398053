// SHA-256 (FIPS 180-4), for artifacts and result files.
#ifndef AQ_SHA256_H
#define AQ_SHA256_H

#include "util.h"

// Adds whole blocks of 64 bytes to the state.
typedef void aq_sha256_blocks_fn(uint32_t state[8], const uint8_t *data, size_t blocks);

struct aq_sha256 {
    aq_sha256_blocks_fn *blocks;
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
};

void aq_sha256_init(struct aq_sha256 *s);
void aq_sha256_add(struct aq_sha256 *s, const void *data, size_t length);
void aq_sha256_end(struct aq_sha256 *s, char hex[65]);
bool aq_sha256_file(const char *path, char hex[65], struct aq_error *err);

#endif
