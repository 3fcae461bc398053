// GGUF v3, read only, memory-mapped. Every count, length and offset is checked against the file before it is used.
#ifndef AQ_GGUF_H
#define AQ_GGUF_H

#include "util.h"

enum aq_gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES,
};

// Tensor types of the file format that a pack may use (ggml's numbers).
enum { AQ_TENSOR_F32 = 0, AQ_TENSOR_F16 = 1, AQ_TENSOR_I8 = 24, AQ_TENSOR_BF16 = 30 };

struct aq_gguf_key {
    const char *name; // not NUL-terminated
    size_t name_length;
    uint32_t type, element_type; // element_type and count: arrays only
    uint64_t count;
    const uint8_t *value; // strings: after the length
    uint64_t length;      // bytes at value
};

struct aq_gguf_tensor {
    const char *name; // not NUL-terminated
    size_t name_length;
    uint32_t type, dimensions;
    uint64_t size[4]; // fastest first, 1 where unused
    uint64_t elements, offset;
};

struct aq_gguf {
    const uint8_t *map;
    size_t map_size;
    const uint8_t *data; // start of the tensor data
    size_t data_size;
    struct aq_gguf_key *keys;
    size_t key_count;
    struct aq_gguf_tensor *tensors; // sorted by name
    size_t tensor_count;
};

bool aq_gguf_open(struct aq_gguf *g, const char *path, struct aq_error *err);
void aq_gguf_close(struct aq_gguf *g);

const struct aq_gguf_key *aq_gguf_find(const struct aq_gguf *g, const char *name);
// Any unsigned or non-negative integer type; false when absent or something else.
bool aq_gguf_uint(const struct aq_gguf *g, const char *name, uint64_t *out);
bool aq_gguf_float(const struct aq_gguf *g, const char *name, double *out);
bool aq_gguf_is_true(const struct aq_gguf *g, const char *name); // a bool that is there and true
bool aq_gguf_is_string(const struct aq_gguf *g, const char *name, const char *value);
// Its text, not NUL-terminated; NULL when it is absent or no string.
const char *aq_gguf_string(const struct aq_gguf *g, const char *name, size_t *length);
// Element `index` of an array of exactly `count` elements of `type`, U32 or F32; false when it is anything else.
bool aq_gguf_uint_at(const struct aq_gguf *g, const char *name, uint64_t count, uint64_t index, uint32_t *out);
bool aq_gguf_float_at(const struct aq_gguf *g, const char *name, uint64_t count, uint64_t index, float *out);
const struct aq_gguf_tensor *aq_gguf_tensor(const struct aq_gguf *g, const char *name);

// The tensor's data if it has exactly this type and shape (size1 = 0: one dimension) and lies within the file.
const void *aq_gguf_data(const struct aq_gguf *g, const char *name, uint32_t type, uint64_t size0, uint64_t size1,
                         struct aq_error *err);

#endif
