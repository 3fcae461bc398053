// One sequence through the model: KV cache, working memory, a forward pass over chunks of tokens, logits.
#ifndef AQ_FORWARD_H
#define AQ_FORWARD_H

#include "model.h"
#include "threadpool.h"

#include <stdatomic.h>

struct aq_session;

// context: positions of the KV cache; chunk: most tokens of one forward pass; logit_rows: most rows of one
// aq_session_logits. stop: when it turns true a pass ends early, with the error "stopped".
struct aq_session *aq_session_create(const struct aq_model *model, struct aq_pool *pool, size_t context, size_t chunk,
                                     size_t logit_rows, const atomic_bool *stop, struct aq_error *err);
void aq_session_free(struct aq_session *s);

// Empties the cache.
void aq_session_reset(struct aq_session *s);

// Runs `count` <= chunk tokens at the next positions. Their final hidden states stay for aq_session_logits.
bool aq_session_forward(struct aq_session *s, const int32_t *ids, size_t count, struct aq_error *err);

// Logits of `rows` <= logit_rows tokens of the last pass, from token `first` on: f32 [rows][vocab], valid until the
// next call.
const float *aq_session_logits(struct aq_session *s, size_t first, size_t rows);

// out[i] = negative log-likelihood of targets[i] given row i of the last aq_session_logits.
void aq_session_nll(struct aq_session *s, const int32_t *targets, size_t rows, double *out);

#endif
