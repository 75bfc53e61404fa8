#include "jobs.h"

#include <openssl/crypto.h>

/** One work item of a batch. */
typedef struct {
  batch *batch;
  napi_async_work work;
} worker;

batch *batch_create(napi_env env, const operation *op, ring *r) {
  batch *b = OPENSSL_zalloc(sizeof *b);
  if (b == NULL) {
    throw_failure(env);
    return NULL;
  }
  b->operation = op;
  b->ring = r == NULL ? NULL : ring_retain(r);
  atomic_init(&b->next, 0);
  atomic_init(&b->outcome, ITEM_DONE);
  return b;
}

bool batch_reserve(napi_env env, batch *b, size_t count, size_t words) {
  b->result_count = count;
  b->result_words = words;
  // Never a size of zero, for which OpenSSL returns NULL.
  b->results = OPENSSL_zalloc((count * words + 1) * sizeof *b->results);
  if (b->results == NULL) throw_failure(env);
  return b->results != NULL;
}

void batch_free(batch *b) {
  if (b == NULL) return;
  number_list_free(&b->modulus);
  number_list_free(&b->values);
  number_list_free(&b->exponents);
  OPENSSL_clear_free(b->results, (b->result_count * b->result_words + 1) * sizeof *b->results);
  OPENSSL_free(b->ends);
  comb_release(b->comb);
  ring_release(b->ring);
  OPENSSL_free(b);
}

/** On a pool thread: take items until none is left or one has failed. */
static void execute(napi_env env, void *data) {
  (void)env;
  batch *b = ((worker *)data)->batch;
  // Freeing the context wipes every number that was made in it.
  BN_CTX *ctx = BN_CTX_new();
  if (ctx == NULL) atomic_store(&b->outcome, ITEM_FAILED);
  while (ctx != NULL && atomic_load(&b->outcome) == ITEM_DONE) {
    size_t item = atomic_fetch_add(&b->next, 1);
    if (item >= b->items) break;
    item_outcome outcome = b->operation->run(b, item, ctx);
    if (outcome != ITEM_DONE) atomic_store(&b->outcome, outcome);
  }
  BN_CTX_free(ctx);
}

static bool create_error(napi_env env, item_outcome outcome, napi_value *error) {
  const char *text =
      outcome == ITEM_NOT_INVERTIBLE ? "value is not invertible" : "native arithmetic failed";
  napi_value message;
  if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok) return false;
  napi_status status = outcome == ITEM_NOT_INVERTIBLE
                           ? napi_create_range_error(env, NULL, message, error)
                           : napi_create_error(env, NULL, message, error);
  return status == napi_ok;
}

/**
 * All work items are through. Where a call fails here, the environment is going down, and there is
 * nobody left to tell.
 */
static void settle(napi_env env, batch *b) {
  napi_value value;
  item_outcome outcome = (item_outcome)atomic_load(&b->outcome);
  if (outcome == ITEM_DONE && b->operation->settle(env, b, &value)) {
    napi_resolve_deferred(env, b->deferred, value);
    return;
  }
  if (outcome == ITEM_DONE) outcome = ITEM_FAILED;
  if (create_error(env, outcome, &value)) napi_reject_deferred(env, b->deferred, value);
}

static void complete(napi_env env, napi_status status, void *data) {
  worker *w = data;
  batch *b = w->batch;
  if (status != napi_ok) atomic_store(&b->outcome, ITEM_FAILED);
  napi_delete_async_work(env, w->work);
  OPENSSL_free(w);
  if (--b->running > 0) return;
  settle(env, b);
  batch_free(b);
}

static bool start_worker(napi_env env, batch *b, napi_value name) {
  worker *w = OPENSSL_zalloc(sizeof *w);
  if (w == NULL) return false;
  w->batch = b;
  if (napi_create_async_work(env, NULL, name, execute, complete, w, &w->work) != napi_ok) {
    OPENSSL_free(w);
    return false;
  }
  if (napi_queue_async_work(env, w->work) != napi_ok) {
    napi_delete_async_work(env, w->work);
    OPENSSL_free(w);
    return false;
  }
  b->running++;
  return true;
}

napi_value batch_start(napi_env env, batch *b, size_t workers) {
  napi_value name;
  napi_value promise;
  if (napi_create_string_utf8(env, b->operation->name, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &b->deferred, &promise) != napi_ok) {
    throw_failure(env);
    batch_free(b);
    return NULL;
  }
  if (workers > b->items) workers = b->items;
  // Any one worker does all the items if it must; only the first has to start. No `complete` runs
  // before this function has returned.
  bool started = start_worker(env, b, name);
  for (size_t i = 1; started && i < workers; i++) {
    if (!start_worker(env, b, name)) break;
  }
  if (!started) {
    atomic_store(&b->outcome, ITEM_FAILED);
    settle(env, b);
    batch_free(b);
  }
  return promise;
}
