// One sequence through the model: KV cache, working memory, a forward pass over chunks of tokens, logits.
#ifndef AQ_FORWARD_H
#define AQ_FORWARD_H

#include "model.h"
#include "threadpool.h"

#include <stdatomic.h>

struct aq_session;

// What the tokens of a pass are: a piece of a prompt that goes on, its last piece, or tokens that were generated. Only
// packs with pruning or 4-bit tokens make a difference.
enum aq_pass { AQ_PROMPT, AQ_PROMPT_END, AQ_GENERATED };

// context: positions of the KV cache; chunk: most tokens of one forward pass; logit_rows: most rows of one
// aq_session_logits. stop: when it turns true a pass ends early, with the error "stopped".
struct aq_session *aq_session_create(const struct aq_model *model, struct aq_pool *pool, size_t context, size_t chunk,
                                     size_t logit_rows, const atomic_bool *stop, struct aq_error *err);
void aq_session_free(struct aq_session *s);

// Most tokens of one pass: `chunk`, or the context where the pack wants a prompt in one piece.
size_t aq_session_chunk(const struct aq_session *s);

// Empties the cache.
void aq_session_reset(struct aq_session *s);

// Runs `count` <= aq_session_chunk tokens at the next positions. Their final hidden states stay for aq_session_logits.
bool aq_session_forward(struct aq_session *s, const int32_t *ids, size_t count, enum aq_pass pass,
                        struct aq_error *err);

// Whether token `row` of the last pass went through all layers.
bool aq_session_stayed(const struct aq_session *s, size_t row);
// Rows x layers that ran since the last reset, as a share of all: 1 without pruning. A row that leaves after a layer's
// attention counts for half of that layer.
double aq_session_row_share(const struct aq_session *s);

// Logits of `rows` <= logit_rows tokens of the last pass, from token `first` on: f32 [rows][vocab], valid until the
// next call.
const float *aq_session_logits(struct aq_session *s, size_t first, size_t rows);

// out[i] = negative log-likelihood of targets[i] given row i of the last aq_session_logits.
void aq_session_nll(struct aq_session *s, const int32_t *targets, size_t rows, double *out);

#endif
