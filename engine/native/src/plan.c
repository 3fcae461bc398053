#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 8, MAX_PLAN = 1 << 20 };

const char *aq_block_kind_name(enum aq_block_kind kind) {
    static const char *const names[] = {"prefill", "generate", "perplexity"};
    return names[kind];
}

uint32_t aq_window_targets(enum aq_convention convention, uint32_t n) {
    return convention == AQ_LLAMA_CPP ? n - 1 - n / 2 : n - 1;
}

// Pack names are precisions with options: w4a8+prune0.2
static bool is_pack_name(const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("+-_.", c)))
            return false;
    }
    return n > 0 && n <= 64;
}

struct line {
    size_t number, count;
    char *word[MAX_WORDS];
};

static bool wrong(const struct line *line, struct aq_error *err, const char *expected) {
    return aq_fail(err, "plan", "plan line %zu: expected `%s`", line->number, expected);
}

static bool number(const char *text, uint64_t low, uint64_t high, uint32_t *out) {
    uint64_t value;
    if (!aq_parse_u64(text, high, &value) || value < low) return false;
    *out = (uint32_t)value;
    return true;
}

static bool parse_cpus(struct aq_plan *plan, char *list) {
    char *rest = NULL;
    for (char *item = strtok_r(list, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        uint32_t cpu;
        if (plan->cpu_count == AQ_MAX_CPUS || !number(item, 0, 1023, &cpu)) return false;
        plan->cpus[plan->cpu_count++] = cpu;
    }
    return plan->cpu_count > 0;
}

static bool parse_pack(struct aq_plan *plan, const struct line *line, struct aq_error *err) {
    if (line->count != 3 || !is_pack_name(line->word[1]) || !aq_is_sha256(line->word[2]))
        return wrong(line, err, "pack NAME SHA256");
    if (plan->pack_count == AQ_MAX_PACKS) return aq_fail(err, "plan", "more than %d packs", AQ_MAX_PACKS);
    for (size_t i = 0; i < plan->pack_count; i++)
        if (strcmp(plan->packs[i].name, line->word[1]) == 0)
            return aq_fail(err, "plan", "plan line %zu: pack %s is named twice", line->number, line->word[1]);
    struct aq_plan_pack *pack = &plan->packs[plan->pack_count++];
    strcpy(pack->name, line->word[1]);
    strcpy(pack->sha256, line->word[2]);
    return true;
}

static bool parse_block(struct aq_plan *plan, const struct line *line, struct aq_error *err) {
    static const char form[] = "block INDEX PACK prefill|generate|perplexity MIN MAX";
    struct aq_plan_block block = {0};
    if (line->count != 6 || !number(line->word[1], 0, 1000000, &block.index) ||
        !number(line->word[4], 1, 100000, &block.min) || !number(line->word[5], block.min, 100000, &block.max))
        return wrong(line, err, form);
    while (block.pack < plan->pack_count && strcmp(plan->packs[block.pack].name, line->word[2]) != 0) block.pack++;
    if (block.pack == plan->pack_count)
        return aq_fail(err, "plan", "plan line %zu: no pack line before names the pack of this block", line->number);
    int kind = 0;
    while (kind <= AQ_PERPLEXITY && strcmp(line->word[3], aq_block_kind_name((enum aq_block_kind)kind)) != 0) kind++;
    if (kind > AQ_PERPLEXITY) return wrong(line, err, form);
    block.kind = (enum aq_block_kind)kind;
    if (plan->block_count == AQ_MAX_BLOCKS) return aq_fail(err, "plan", "more than %d blocks", AQ_MAX_BLOCKS);
    for (size_t i = 0; i < plan->block_count; i++)
        if (plan->blocks[i].index == block.index)
            return aq_fail(err, "plan", "plan line %zu: block %u is there twice", line->number, block.index);
    plan->blocks[plan->block_count++] = block;
    return true;
}

static bool parse_convention(struct aq_plan *plan, const struct line *line, struct aq_error *err) {
    if (line->count == 3 && number(line->word[2], 4, 1 << 20, &plan->window)) {
        plan->convention = strcmp(line->word[1], "llama.cpp") == 0 ? AQ_LLAMA_CPP
                           : strcmp(line->word[1], "gptq") == 0    ? AQ_GPTQ
                                                                   : AQ_NO_CONVENTION;
        if (plan->convention != AQ_NO_CONVENTION) return true;
    }
    return wrong(line, err, "convention llama.cpp|gptq N");
}

static bool parse_line(struct aq_plan *plan, const struct line *line, struct aq_error *err) {
    const char *key = line->word[0];
    char *value = line->word[1];
    bool two = line->count == 2;
    if (strcmp(key, "attempt") == 0) {
        if (!two || !aq_is_name(value)) return wrong(line, err, "attempt ID");
        strcpy(plan->attempt, value);
        return true;
    }
    if (strcmp(key, "kind") == 0) {
        plan->perplexity = two && strcmp(value, "perplexity") == 0;
        return plan->perplexity || (two && strcmp(value, "timing") == 0) || wrong(line, err, "kind timing|perplexity");
    }
    if (strcmp(key, "isa") == 0) {
        if (!two || !aq_is_name(value) || strlen(value) >= sizeof plan->isa) return wrong(line, err, "isa auto|NAME");
        strcpy(plan->isa, value);
        return true;
    }
    if (strcmp(key, "tokens") == 0) {
        if (!two || !aq_is_sha256(value)) return wrong(line, err, "tokens SHA256");
        strcpy(plan->tokens, value);
        return true;
    }
    if (strcmp(key, "windows") == 0)
        return (line->count == 3 && aq_parse_u64(value, 1u << 30, &plan->first_window) &&
                aq_parse_u64(line->word[2], 1u << 24, &plan->windows) && plan->windows > 0) ||
               wrong(line, err, "windows FIRST COUNT");
    if (strcmp(key, "target-spread") == 0)
        return (two && aq_parse_fraction(value, &plan->target_spread)) || wrong(line, err, "target-spread FRACTION");
    if (strcmp(key, "cpus") == 0) return (two && parse_cpus(plan, value)) || wrong(line, err, "cpus N,N,...");
    if (strcmp(key, "convention") == 0) return parse_convention(plan, line, err);
    if (strcmp(key, "pack") == 0) return parse_pack(plan, line, err);
    if (strcmp(key, "block") == 0) return parse_block(plan, line, err);
    const struct {
        const char *key;
        uint32_t low, high, *out;
    } numbers[] = {
        {"threads", 1, 256, &plan->threads},        {"context", 1, 1 << 24, &plan->context},
        {"ubatch", 1, 1 << 16, &plan->ubatch},      {"prompt", 1, 1 << 20, &plan->prompt},
        {"generate", 1, 1 << 20, &plan->generate},  {"telemetry-ms", 50, 3600000, &plan->telemetry_ms},
        {"warmup-max", 0, 1000, &plan->warmup_max},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(key, numbers[i].key) == 0) {
            if (two && number(value, numbers[i].low, numbers[i].high, numbers[i].out)) return true;
            return aq_fail(err, "plan", "plan line %zu: %s needs one number from %u to %u", line->number,
                           numbers[i].key, numbers[i].low, numbers[i].high);
        }
    return aq_fail(err, "plan", "plan line %zu: unknown key (update the engine, or the plan is damaged)", line->number);
}

// What the blocks need must be there, and fit the context.
static bool check(const struct aq_plan *plan, struct aq_error *err) {
    if (!plan->attempt[0]) return aq_fail(err, "plan", "the plan has no attempt line");
    if (!plan->block_count) return aq_fail(err, "plan", "the plan has no block line");
    for (size_t i = 0; i < plan->block_count; i++) {
        const struct aq_plan_block *block = &plan->blocks[i];
        if (block->kind == AQ_PREFILL && (!plan->prompt || plan->prompt > plan->context))
            return aq_fail(err, "plan", "prefill blocks need `prompt`, at most `context` (%u)", plan->context);
        if (block->kind == AQ_GENERATE && (!plan->generate || plan->generate > plan->context))
            return aq_fail(err, "plan", "generate blocks need `generate`, at most `context` (%u)", plan->context);
        if (block->kind == AQ_PERPLEXITY &&
            (!plan->tokens[0] || plan->convention == AQ_NO_CONVENTION || !plan->windows))
            return aq_fail(err, "plan", "perplexity blocks need `tokens`, `convention` and `windows`");
        if (block->kind == AQ_PERPLEXITY && plan->window > plan->context)
            return aq_fail(err, "plan", "windows of %u ids need a `context` of as many", plan->window);
    }
    return true;
}

bool aq_plan_parse(struct aq_plan *plan, char *text, size_t length, struct aq_error *err) {
    *plan = (struct aq_plan){.isa = "auto",
                             .threads = 1,
                             .context = 512,
                             .ubatch = 512,
                             .telemetry_ms = 500,
                             .warmup_max = 5,
                             .target_spread = 0.02};
    if (memchr(text, 0, length)) return aq_fail(err, "plan", "the plan contains a NUL byte");
    size_t number = 0;
    for (char *at = text, *next; *at; at = next) {
        char *end = strchr(at, '\n');
        next = end ? end + 1 : at + strlen(at);
        if (end) *end = 0;
        struct line line = {.number = ++number};
        char *rest = NULL;
        for (char *word = strtok_r(at, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
            if (line.count == MAX_WORDS) return aq_fail(err, "plan", "plan line %zu has too many values", number);
            line.word[line.count++] = word;
        }
        if (number == 1) {
            if (line.count != 2 || strcmp(line.word[0], "agilequant-plan") != 0 || strcmp(line.word[1], "1") != 0)
                return wrong(&line, err, "agilequant-plan 1");
        } else if (line.count && !parse_line(plan, &line, err)) {
            return false;
        }
    }
    return number ? check(plan, err) : aq_fail(err, "plan", "the plan is empty");
}

bool aq_plan_read(struct aq_plan *plan, const char *path, struct aq_error *err) {
    size_t length;
    char *text = aq_read_file(path, MAX_PLAN, &length);
    if (!text) return aq_fail(err, "plan", "cannot read %s: %s", path, strerror(errno));
    bool ok = aq_plan_parse(plan, text, length, err);
    free(text);
    return ok;
}

static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

bool aq_tokens_read(struct aq_tokens *tokens, const char *path, struct aq_error *err) {
    enum { HEADER = 32 };
    *tokens = (struct aq_tokens){0};
    size_t length;
    char *text = aq_read_file(path, (size_t)1 << 30, &length);
    if (!text) return aq_fail(err, "tokens", "cannot read token file %s: %s", path, strerror(errno));
    const uint8_t *p = (const uint8_t *)text;
    bool ok = false;
    if (length < HEADER || memcmp(p, "AQTK", 4) != 0 || u32_at(p + 4) != 1) {
        aq_fail(err, "tokens", "%s is not a token file of version 1", path);
        goto end;
    }
    tokens->vocab = u32_at(p + 8);
    tokens->bos = (int32_t)u32_at(p + 12);
    tokens->adds_bos = u32_at(p + 16) & 1;
    tokens->count = (uint64_t)u32_at(p + 24) | (uint64_t)u32_at(p + 28) << 32;
    if (tokens->count != (length - HEADER) / 4 || (length - HEADER) % 4) {
        aq_fail(err, "tokens", "%s says %llu ids but holds %zu; it was cut off", path,
                (unsigned long long)tokens->count, (length - HEADER) / 4);
        goto end;
    }
    if (tokens->bos < -1 || tokens->bos >= (int64_t)tokens->vocab || (tokens->adds_bos && tokens->bos < 0)) {
        aq_fail(err, "tokens", "%s: BOS id %d does not fit a vocabulary of %u", path, tokens->bos, tokens->vocab);
        goto end;
    }
    tokens->ids = malloc(tokens->count ? tokens->count * sizeof *tokens->ids : 1);
    if (!tokens->ids) {
        aq_fail(err, "memory", "out of memory for %s", path);
        goto end;
    }
    for (uint64_t i = 0; i < tokens->count; i++) {
        tokens->ids[i] = (int32_t)u32_at(p + HEADER + 4 * i);
        if (tokens->ids[i] < 0 || (uint32_t)tokens->ids[i] >= tokens->vocab) {
            aq_fail(err, "tokens", "%s: id %d at %llu is outside the vocabulary of %u", path, tokens->ids[i],
                    (unsigned long long)i, tokens->vocab);
            goto end;
        }
    }
    ok = true;
end:
    free(text);
    if (!ok) aq_tokens_free(tokens);
    return ok;
}

void aq_tokens_free(struct aq_tokens *tokens) {
    free(tokens->ids);
    *tokens = (struct aq_tokens){0};
}
