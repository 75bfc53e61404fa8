/**
 * Batches on libuv's thread pool.
 *
 * A batch is a list of independent items. As many work items as there are cores to use are queued,
 * and each takes the next item until none is left: no core waits for an unlucky share. The
 * JavaScript thread copies numbers in before and out after, and touches nothing in between.
 */
#ifndef DUOVEIL_JOBS_H
#define DUOVEIL_JOBS_H

#include "comb.h"

typedef struct batch batch;

typedef enum { ITEM_DONE, ITEM_NOT_INVERTIBLE, ITEM_FAILED } item_outcome;

/** What a batch computes. */
typedef struct {
  const char *name;
  /** Work out one item, on any thread. */
  item_outcome (*run)(batch *b, size_t item, BN_CTX *ctx);
  /** The value that the batch's promise resolves to; on failure, false. JavaScript thread. */
  bool (*settle)(napi_env env, batch *b, napi_value *value);
} operation;

/** Inputs and results; which of them an operation uses is its own business. */
struct batch {
  const operation *operation;
  ring *ring;
  comb *comb;
  number_list modulus;
  /** Values, factors or bases. */
  number_list values;
  number_list exponents;
  /** Item `i` is made of the inputs `ends[i - 1] .. ends[i]`. */
  size_t *ends;
  size_t items;
  bool secret;
  size_t max_exponent_bits;
  /** `result_count` results of `result_words` each. */
  uint64_t *results;
  size_t result_count;
  size_t result_words;

  /** What `jobs.c` keeps. */
  atomic_size_t next;
  atomic_int outcome;
  size_t running;
  napi_deferred deferred;
};

batch *batch_create(napi_env env, const operation *op, ring *r);
/** Room for the results; an exception is pending if there is none. */
bool batch_reserve(napi_env env, batch *b, size_t count, size_t words);
void batch_free(batch *b);

/** Start on up to `workers` threads and give the batch away; NULL if an exception is pending. */
napi_value batch_start(napi_env env, batch *b, size_t workers);

#endif
