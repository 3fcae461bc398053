// A token file: ids that are read lie in the vocabulary.
#include "../src/plan.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct aq_tokens tokens;
    struct aq_error err = {0};
    if (!aq_tokens_read(&tokens, fuzz_file(data, size), &err)) {
        if (!err.message[0] || tokens.ids) abort();
        return 0;
    }
    for (uint64_t i = 0; i < tokens.count; i++)
        if (tokens.ids[i] < 0 || (uint32_t)tokens.ids[i] >= tokens.vocab) abort();
    aq_tokens_free(&tokens);
    return 0;
}
