/**
 * duoveil's native arithmetic: what `common/src/modular/native.ts` calls, and nobody else.
 *
 * It uses the OpenSSL that the node executable carries and nothing else. There is no state but in
 * the handles that are given out, so it may be loaded in any number of worker threads.
 * This file reads arguments and names the operations; the arithmetic is in the other files.
 */
#include <openssl/crypto.h>

#include "jacobi.h"
#include "jobs.h"

/** `native.ts` refuses an addon that was built for another version of these functions. */
#define INTERFACE_VERSION 2
#define MAX_ARGUMENTS 6
#define MAX_EXPONENT_BITS (1 << 20)
/** Fewer inverses than this to a share cost more in inversions than a second thread saves. */
#define INVERSES_PER_SHARE 32

/* Handles: plain objects that wrap a pointer, tagged so that none is taken for another. */

static const napi_type_tag RING_TAG = {0x6475756f7665696cULL, 0x72696e672d2d2d31ULL};
static const napi_type_tag COMB_TAG = {0x6475756f7665696cULL, 0x636f6d622d2d2d31ULL};

static bool read_arguments(napi_env env, napi_callback_info info, napi_value *arguments) {
  size_t count = MAX_ARGUMENTS;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) == napi_ok) return true;
  throw_failure(env);
  return false;
}

static void *unwrap(napi_env env, napi_value handle, const napi_type_tag *tag) {
  napi_valuetype type;
  bool tagged = false;
  void *data = NULL;
  if (napi_typeof(env, handle, &type) == napi_ok && type == napi_object &&
      napi_check_object_type_tag(env, handle, tag, &tagged) == napi_ok && tagged &&
      napi_unwrap(env, handle, &data) == napi_ok) {
    return data;
  }
  napi_throw_type_error(env, NULL, "a handle of this addon was expected");
  return NULL;
}

/** An object that owns `data` from now on; on failure `data` is still the caller's. */
static bool wrap(napi_env env, void *data, napi_finalize finalize, const napi_type_tag *tag,
                 napi_value *handle) {
  if (napi_create_object(env, handle) != napi_ok ||
      napi_type_tag_object(env, *handle, tag) != napi_ok) {
    return false;
  }
  return napi_wrap(env, *handle, data, finalize, NULL, NULL) == napi_ok;
}

static void finalize_ring(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  ring_release(data);
}

static void finalize_comb(napi_env env, void *data, void *hint) {
  (void)hint;
  int64_t total;
  napi_adjust_external_memory(env, -(int64_t)((comb *)data)->table.bytes, &total);
  comb_release(data);
}

/* Arguments that are not BigInts. */

static bool read_flag(napi_env env, napi_value value, bool *flag) {
  if (napi_get_value_bool(env, value, flag) == napi_ok) return true;
  napi_throw_type_error(env, NULL, "a boolean was expected");
  return false;
}

static bool read_size(napi_env env, napi_value value, size_t *size) {
  uint32_t read = 0;
  if (napi_get_value_uint32(env, value, &read) == napi_ok) {
    *size = read;
    return true;
  }
  napi_throw_type_error(env, NULL, "a number was expected");
  return false;
}

/** An array with the length of each list, as the ends of the lists in what they are made of. */
static bool read_lengths(napi_env env, napi_value array, batch *b) {
  uint32_t count = 0;
  if (napi_get_array_length(env, array, &count) != napi_ok) {
    napi_throw_type_error(env, NULL, "an array was expected");
    return false;
  }
  b->items = count;
  b->ends = OPENSSL_zalloc((b->items + 1) * sizeof *b->ends);
  if (b->ends == NULL) {
    throw_failure(env);
    return false;
  }
  size_t end = 0;
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    size_t length;
    if (napi_get_element(env, array, i, &element) != napi_ok) {
      throw_failure(env);
      return false;
    }
    if (!read_size(env, element, &length)) return false;
    end += length;
    b->ends[i] = end;
  }
  if (end == b->values.count) return true;
  napi_throw_range_error(env, NULL, "lengths do not add up");
  return false;
}

static number_bounds elements_of(const ring *r) {
  return (number_bounds){
      .below = {r->modulus_words, r->words},
      .message = "value is not in [0, modulus)",
  };
}

static const number_bounds EXPONENT = {.message = "exponent is out of range"};

static bool read_exponents(napi_env env, napi_value array, batch *b) {
  if (!number_list_read(env, array, &EXPONENT, &b->exponents)) return false;
  if (b->exponents.count == b->values.count) return true;
  napi_throw_range_error(env, NULL, "there must be as many exponents as bases");
  return false;
}

/* What batches compute. */

static size_t item_start(const batch *b, size_t item) { return item == 0 ? 0 : b->ends[item - 1]; }

/** Where an item has one number as its result. */
static uint64_t *result_of(const batch *b, size_t item) {
  return b->results + item * b->result_words;
}

static item_outcome outcome_of(bool computed) { return computed ? ITEM_DONE : ITEM_FAILED; }

static item_outcome run_product(batch *b, size_t item, BN_CTX *ctx) {
  return outcome_of(ring_product(b->ring, result_of(b, item), &b->values, item_start(b, item),
                                 b->ends[item], ctx));
}

/** A power is a product of one power. */
static item_outcome run_power(batch *b, size_t item, BN_CTX *ctx) {
  return outcome_of(multi_power(b->ring, result_of(b, item), &b->values, &b->exponents, item,
                                item + 1, b->secret, ctx));
}

static item_outcome run_multi_power(batch *b, size_t item, BN_CTX *ctx) {
  return outcome_of(multi_power(b->ring, result_of(b, item), &b->values, &b->exponents,
                                item_start(b, item), b->ends[item], b->secret, ctx));
}

static item_outcome run_comb_power(batch *b, size_t item, BN_CTX *ctx) {
  return outcome_of(comb_power(b->comb, result_of(b, item), &b->exponents, item * b->comb->terms,
                               b->secret, ctx));
}

/** An item is a share of the values: each share costs one inversion. */
static item_outcome run_inverses(batch *b, size_t item, BN_CTX *ctx) {
  size_t count = b->values.count;
  size_t from = item * count / b->items;
  size_t to = (item + 1) * count / b->items;
  switch (ring_inverses(b->ring, b->results + from * b->result_words, &b->values, from, to, ctx)) {
    case INVERTED:
      return ITEM_DONE;
    case NOT_INVERTIBLE:
      return ITEM_NOT_INVERTIBLE;
    default:
      return ITEM_FAILED;
  }
}

/** The symbol plus one, as results are non-negative words. */
static item_outcome run_jacobi(batch *b, size_t item, BN_CTX *ctx) {
  int symbol = 0;
  if (!jacobi_symbol(&symbol, number_at(&b->values, item), number_at(&b->modulus, 0), ctx)) {
    return ITEM_FAILED;
  }
  b->results[item] = (uint64_t)(symbol + 1);
  return ITEM_DONE;
}

static item_outcome run_build_comb(batch *b, size_t item, BN_CTX *ctx) {
  (void)item;
  b->comb = comb_create(b->ring, &b->values, b->max_exponent_bits, ctx);
  return b->comb == NULL ? ITEM_FAILED : ITEM_DONE;
}

/* What their promises resolve to. */

static bool settle_numbers(napi_env env, batch *b, napi_value *value) {
  if (napi_create_array_with_length(env, b->result_count, value) != napi_ok) return false;
  for (size_t i = 0; i < b->result_count; i++) {
    napi_value element;
    if (napi_create_bigint_words(env, 0, b->result_words, b->results + i * b->result_words,
                                 &element) != napi_ok ||
        napi_set_element(env, *value, (uint32_t)i, element) != napi_ok) {
      return false;
    }
  }
  return true;
}

static bool settle_symbols(napi_env env, batch *b, napi_value *value) {
  if (napi_create_array_with_length(env, b->result_count, value) != napi_ok) return false;
  for (size_t i = 0; i < b->result_count; i++) {
    napi_value element;
    if (napi_create_int32(env, (int32_t)b->results[i] - 1, &element) != napi_ok ||
        napi_set_element(env, *value, (uint32_t)i, element) != napi_ok) {
      return false;
    }
  }
  return true;
}

static bool settle_comb(napi_env env, batch *b, napi_value *value) {
  if (!wrap(env, b->comb, finalize_comb, &COMB_TAG, value)) return false;
  int64_t total;
  napi_adjust_external_memory(env, (int64_t)comb_retain(b->comb)->table.bytes, &total);
  return true;
}

static const operation PRODUCTS = {"duoveil:products", run_product, settle_numbers};
static const operation POWERS = {"duoveil:powers", run_power, settle_numbers};
static const operation MULTI_POWERS = {"duoveil:multiPowers", run_multi_power, settle_numbers};
static const operation COMB_POWERS = {"duoveil:combPowers", run_comb_power, settle_numbers};
static const operation INVERSES = {"duoveil:inverses", run_inverses, settle_numbers};
static const operation JACOBI = {"duoveil:jacobi", run_jacobi, settle_symbols};
static const operation BUILD_COMB = {"duoveil:buildComb", run_build_comb, settle_comb};

/* The functions, by their JavaScript names. */

/** Odd and greater than 1; the list is the caller's to free also on failure. */
static bool read_modulus(napi_env env, napi_value value, number_list *modulus) {
  static const number_bounds bounds = {
      .max_bits = MAX_MODULUS_BITS,
      .message = "modulus must be odd, > 1 and of at most 32768 bits",
  };
  if (!number_read(env, value, &bounds, modulus)) return false;
  number read = number_at(modulus, 0);
  if (number_bits(read) > 1 && number_bit(read, 0) == 1) return true;
  napi_throw_range_error(env, NULL, bounds.message);
  return false;
}

/** createRing(modulus, maySplit) */
static napi_value create_ring(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  number_list modulus;
  ring *r = NULL;
  napi_value handle = NULL;
  bool may_split = false;
  if (read_modulus(env, arguments[0], &modulus) && read_flag(env, arguments[1], &may_split)) {
    r = ring_create(number_at(&modulus, 0), may_split);
    if (r == NULL || !wrap(env, r, finalize_ring, &RING_TAG, &handle)) {
      throw_failure(env);
      ring_release(r);
      handle = NULL;
    }
  }
  number_list_free(&modulus);
  return handle;
}

/** multiply(ring, a, b), at once. */
static napi_value multiply(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  ring *r = unwrap(env, arguments[0], &RING_TAG);
  if (r == NULL) return NULL;

  number_bounds bounds = elements_of(r);
  number_list a = {0};
  number_list b = {0};
  napi_value product = NULL;
  if (number_read(env, arguments[1], &bounds, &a) && number_read(env, arguments[2], &bounds, &b)) {
    uint64_t words[MAX_MODULUS_WORDS];
    BN_CTX *ctx = BN_CTX_new();
    if (ctx == NULL || !ring_multiply(r, words, number_at(&a, 0), number_at(&b, 0), ctx) ||
        napi_create_bigint_words(env, 0, r->words, words, &product) != napi_ok) {
      throw_failure(env);
      product = NULL;
    }
    OPENSSL_cleanse(words, r->words * sizeof *words);
    BN_CTX_free(ctx);
  }
  number_list_free(&a);
  number_list_free(&b);
  return product;
}

/** Start a batch whose arguments were all read, or drop it. */
static napi_value start_if(napi_env env, bool ready, batch *b, size_t workers) {
  if (ready) return batch_start(env, b, workers);
  batch_free(b);
  return NULL;
}

/** A batch in the ring that is the first argument; NULL with an exception pending. */
static batch *ring_batch(napi_env env, napi_value handle, const operation *op) {
  ring *r = unwrap(env, handle, &RING_TAG);
  return r == NULL ? NULL : batch_create(env, op, r);
}

/** products(ring, factors, lengths, workers) */
static napi_value products(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = ring_batch(env, arguments[0], &PRODUCTS);
  if (b == NULL) return NULL;
  number_bounds bounds = elements_of(b->ring);
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[1], &bounds, &b->values) &&
               read_lengths(env, arguments[2], b) && read_size(env, arguments[3], &workers) &&
               batch_reserve(env, b, b->items, b->ring->words);
  return start_if(env, ready, b, workers);
}

/** powers(ring, bases, exponents, secret, workers) */
static napi_value powers(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = ring_batch(env, arguments[0], &POWERS);
  if (b == NULL) return NULL;
  number_bounds bounds = elements_of(b->ring);
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[1], &bounds, &b->values) &&
               read_exponents(env, arguments[2], b) && read_flag(env, arguments[3], &b->secret) &&
               read_size(env, arguments[4], &workers) &&
               batch_reserve(env, b, b->values.count, b->ring->words);
  b->items = b->values.count;
  return start_if(env, ready, b, workers);
}

/** multiPowers(ring, bases, exponents, lengths, secret, workers) */
static napi_value multi_powers(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = ring_batch(env, arguments[0], &MULTI_POWERS);
  if (b == NULL) return NULL;
  number_bounds bounds = elements_of(b->ring);
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[1], &bounds, &b->values) &&
               read_exponents(env, arguments[2], b) && read_lengths(env, arguments[3], b) &&
               read_flag(env, arguments[4], &b->secret) &&
               read_size(env, arguments[5], &workers) &&
               batch_reserve(env, b, b->items, b->ring->words);
  return start_if(env, ready, b, workers);
}

/** inverses(ring, values, workers) */
static napi_value inverses(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = ring_batch(env, arguments[0], &INVERSES);
  if (b == NULL) return NULL;
  number_bounds bounds = elements_of(b->ring);
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[1], &bounds, &b->values) &&
               read_size(env, arguments[2], &workers) &&
               batch_reserve(env, b, b->values.count, b->ring->words);
  size_t shares = (b->values.count + INVERSES_PER_SHARE - 1) / INVERSES_PER_SHARE;
  b->items = shares < workers ? shares : workers;
  // Also where no worker was asked for, one does everything.
  if (b->items == 0) b->items = 1;
  return start_if(env, ready, b, workers);
}

/** jacobi(values, n, workers) */
static napi_value jacobi(napi_env env, napi_callback_info info) {
  static const number_bounds bounds = {.message = "value must not be negative"};
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = batch_create(env, &JACOBI, NULL);
  if (b == NULL) return NULL;
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[0], &bounds, &b->values) &&
               read_modulus(env, arguments[1], &b->modulus) &&
               read_size(env, arguments[2], &workers) &&
               batch_reserve(env, b, b->values.count, 1);
  b->items = b->values.count;
  return start_if(env, ready, b, workers);
}

/** buildComb(ring, bases, maxExponentBits) */
static napi_value build_comb(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  batch *b = ring_batch(env, arguments[0], &BUILD_COMB);
  if (b == NULL) return NULL;
  number_bounds bounds = elements_of(b->ring);
  bool ready = number_list_read(env, arguments[1], &bounds, &b->values) &&
               read_size(env, arguments[2], &b->max_exponent_bits);
  if (ready && (b->values.count == 0 || b->max_exponent_bits == 0 ||
                b->max_exponent_bits > MAX_EXPONENT_BITS)) {
    napi_throw_range_error(env, NULL, "a table needs a base, and from 1 to 2^20 exponent bits");
    ready = false;
  }
  b->items = 1;
  return start_if(env, ready, b, 1);
}

/** combPowers(comb, exponents, secret, workers): an exponent for each base, result by result. */
static napi_value comb_powers(napi_env env, napi_callback_info info) {
  napi_value arguments[MAX_ARGUMENTS];
  if (!read_arguments(env, info, arguments)) return NULL;
  comb *c = unwrap(env, arguments[0], &COMB_TAG);
  if (c == NULL) return NULL;
  batch *b = batch_create(env, &COMB_POWERS, NULL);
  if (b == NULL) return NULL;
  b->comb = comb_retain(c);
  number_bounds bounds = EXPONENT;
  bounds.max_bits = c->max_exponent_bits;
  size_t workers = 0;
  bool ready = number_list_read(env, arguments[1], &bounds, &b->exponents) &&
               read_flag(env, arguments[2], &b->secret) && read_size(env, arguments[3], &workers);
  if (ready && b->exponents.count % c->terms != 0) {
    napi_throw_range_error(env, NULL, "there must be one exponent for each base");
    ready = false;
  }
  b->items = b->exponents.count / c->terms;
  ready = ready && batch_reserve(env, b, b->items, c->ring->words);
  return start_if(env, ready, b, workers);
}

static bool export_all(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"createRing", NULL, create_ring, NULL, NULL, NULL, napi_enumerable, NULL},
      {"multiply", NULL, multiply, NULL, NULL, NULL, napi_enumerable, NULL},
      {"products", NULL, products, NULL, NULL, NULL, napi_enumerable, NULL},
      {"powers", NULL, powers, NULL, NULL, NULL, napi_enumerable, NULL},
      {"multiPowers", NULL, multi_powers, NULL, NULL, NULL, napi_enumerable, NULL},
      {"inverses", NULL, inverses, NULL, NULL, NULL, napi_enumerable, NULL},
      {"jacobi", NULL, jacobi, NULL, NULL, NULL, napi_enumerable, NULL},
      {"buildComb", NULL, build_comb, NULL, NULL, NULL, napi_enumerable, NULL},
      {"combPowers", NULL, comb_powers, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_value version;
  napi_value ifma;
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) ==
             napi_ok &&
         napi_create_uint32(env, INTERFACE_VERSION, &version) == napi_ok &&
         napi_set_named_property(env, exports, "interfaceVersion", version) == napi_ok &&
         napi_get_boolean(env, ifma_available(), &ifma) == napi_ok &&
         napi_set_named_property(env, exports, "ifma", ifma) == napi_ok;
}

NAPI_MODULE_INIT() {
  if (export_all(env, exports)) return exports;
  throw_failure(env);
  return NULL;
}
