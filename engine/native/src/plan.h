// The plan of a job and the token file (docs/engine-protocol.md, docs/packed-model.md).
#ifndef AQ_PLAN_H
#define AQ_PLAN_H

#include "util.h"

enum { AQ_MAX_PACKS = 64, AQ_MAX_BLOCKS = 4096, AQ_MAX_CPUS = 256 };

enum aq_block_kind { AQ_PREFILL, AQ_GENERATE, AQ_PERPLEXITY };
enum aq_convention { AQ_NO_CONVENTION, AQ_LLAMA_CPP, AQ_GPTQ };

const char *aq_block_kind_name(enum aq_block_kind kind);

struct aq_plan_pack {
    char name[65], sha256[65];
};

struct aq_plan_block {
    uint32_t index, pack, min, max; // pack: into packs
    enum aq_block_kind kind;
};

struct aq_plan {
    char attempt[129], isa[32], tokens[65];
    bool perplexity;
    unsigned threads, cpu_count;
    unsigned cpus[AQ_MAX_CPUS];
    uint32_t context, ubatch, prompt, generate, telemetry_ms, warmup_max;
    double target_spread;
    enum aq_convention convention;
    uint32_t window; // N
    uint64_t first_window, windows;
    size_t pack_count, block_count;
    struct aq_plan_pack packs[AQ_MAX_PACKS];
    struct aq_plan_block blocks[AQ_MAX_BLOCKS];
};

bool aq_plan_read(struct aq_plan *plan, const char *path, struct aq_error *err);
// text is NUL-terminated and of this length; it is changed.
bool aq_plan_parse(struct aq_plan *plan, char *text, size_t length, struct aq_error *err);

// Scored targets of a window of n ids.
uint32_t aq_window_targets(enum aq_convention convention, uint32_t n);

struct aq_tokens {
    uint32_t vocab;
    int32_t bos;
    bool adds_bos;
    uint64_t count;
    int32_t *ids;
};

bool aq_tokens_read(struct aq_tokens *tokens, const char *path, struct aq_error *err);
void aq_tokens_free(struct aq_tokens *tokens);

#endif
