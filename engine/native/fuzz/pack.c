// A packed model: the GGUF reader, all shape checks, packing for two sets of kernels, and a short forward pass of what
// loads.
#include "../src/forward.h"
#include "fuzz.h"

#include <stdlib.h>

enum { CONTEXT = 8, TOKENS = 3, LARGEST = 1 << 20 };

static void run(const struct aq_model *model, struct aq_pool *pool) {
    struct aq_error err;
    // A file of a few KB can describe a large model only by a large context, which costs memory when a session is made.
    if (model->dim > 512 || model->ffn > 2048 || model->layers > 8 || model->vocab > 4096) return;
    struct aq_session *s = aq_session_create(model, pool, CONTEXT, TOKENS, TOKENS, NULL, &err);
    if (!s) return;
    int32_t ids[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)(i * 5 % model->vocab);
    if (aq_session_forward(s, ids, TOKENS, AQ_PROMPT_END, &err)) {
        const float *logits = aq_session_logits(s, 0, TOKENS);
        volatile float sink = 0;
        for (size_t i = 0; i < TOKENS * model->vocab; i++) sink = sink + logits[i];
        double nll[TOKENS];
        aq_session_nll(s, ids, TOKENS, nll);
        aq_session_forward(s, ids, 1, AQ_GENERATED, &err);
    }
    aq_session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct aq_pool *pool;
    struct aq_error err;
    if (!pool) pool = aq_pool_create(1, NULL, 0, &err);
    if (!pool) abort();
    if (size > LARGEST) return 0;
    const char *path = fuzz_file(data, size);
    static const char *const sets[] = {"scalar", "auto"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const struct aq_kernels *kernels = aq_kernels_select(sets[i], &err);
        struct aq_model model;
        if (!kernels) abort();
        if (!aq_model_load(&model, path, kernels, pool, &err)) {
            if (!err.code[0] || !err.message[0]) abort(); // a refusal always says why
            break;
        }
        run(&model, pool);
        aq_model_free(&model);
    }
    return 0;
}
