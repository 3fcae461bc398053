#include "sha256.h"

#include "sha256_blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void aq_sha256_init(struct aq_sha256 *s) {
    *s = (struct aq_sha256){
        .blocks = aq_sha256_blocks(),
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void aq_sha256_add(struct aq_sha256 *s, const void *data, size_t length) {
    const uint8_t *p = data;
    size_t used = s->length % 64;
    s->length += length;
    if (used) {
        size_t n = aq_min(64 - used, length);
        memcpy(s->block + used, p, n);
        p += n, length -= n;
        if (used + n < 64) return;
        s->blocks(s->state, s->block, 1);
    }
    s->blocks(s->state, p, length / 64);
    memcpy(s->block, p + length / 64 * 64, length % 64);
}

void aq_sha256_end(struct aq_sha256 *s, char hex[65]) {
    uint64_t bits = s->length * 8;
    uint8_t tail[72] = {0x80};
    size_t used = s->length % 64, pad = (used < 56 ? 56 : 120) - used;
    for (int i = 0; i < 8; i++) tail[pad + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    aq_sha256_add(s, tail, pad + 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", s->state[i]);
}

bool aq_sha256_file(const char *path, char hex[65], struct aq_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return aq_fail(err, "artifact-missing", "cannot open %s: %s", path, strerror(errno));
    size_t size = 1u << 18;
    uint8_t *buffer = malloc(size);
    if (!buffer) {
        close(fd);
        return aq_fail(err, "memory", "out of memory while hashing %s", path);
    }
    struct aq_sha256 s;
    aq_sha256_init(&s);
    ssize_t n;
    while ((n = read(fd, buffer, size)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0) aq_sha256_add(&s, buffer, (size_t)n);
    int saved = errno;
    free(buffer);
    close(fd);
    if (n < 0) return aq_fail(err, "artifact-missing", "cannot read %s: %s", path, strerror(saved));
    aq_sha256_end(&s, hex);
    return true;
}
