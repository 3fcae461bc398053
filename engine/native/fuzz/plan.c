// A job's plan: what parses must keep to its limits.
#include "../src/plan.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct aq_plan plan;
    struct aq_error err = {0};
    if (!aq_plan_read(&plan, fuzz_file(data, size), &err)) {
        if (strcmp(err.code, "plan") != 0 || !err.message[0]) abort();
        return 0;
    }
    if (plan.block_count > AQ_MAX_BLOCKS || plan.pack_count > AQ_MAX_PACKS || plan.cpu_count > AQ_MAX_CPUS) abort();
    for (size_t i = 0; i < plan.block_count; i++) {
        const struct aq_plan_block *block = &plan.blocks[i];
        if (block->pack >= plan.pack_count || block->min > block->max) abort();
        if (block->kind == AQ_PERPLEXITY &&
            (plan.window > plan.context || aq_window_targets(plan.convention, plan.window) >= plan.window))
            abort();
    }
    return 0;
}
