/**
 * Numbers on their way between JavaScript, OpenSSL and this addon.
 *
 * A BigInt crosses as little-endian 64-bit words. Most numbers here are secret or stand next to
 * secrets, so every buffer is wiped before it is given back.
 */
#ifndef DUOVEIL_WORDS_H
#define DUOVEIL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <node_api.h>
#include <openssl/bn.h>

/** A non-negative number: `count` words, the highest not zero. */
typedef struct {
  const uint64_t *words;
  size_t count;
} number;

/** Many numbers in one buffer: number `i` lies in `words[start[i] .. start[i + 1])`. */
typedef struct {
  uint64_t *words;
  size_t *start;
  size_t count;
} number_list;

/** What `number_list_read` accepts. */
typedef struct {
  /** Every number is smaller than this one; no bound if its count is 0. */
  number below;
  /** Every number has at most so many bits; no bound if 0. */
  size_t max_bits;
  /** The message of the RangeError for a number that is not accepted. */
  const char *message;
} number_bounds;

/**
 * Copy an array of BigInts. On failure a JavaScript exception is pending and the list is empty;
 * `number_list_free` is safe either way.
 */
bool number_list_read(napi_env env, napi_value array, const number_bounds *bounds,
                      number_list *list);
/** The same for a single BigInt. */
bool number_read(napi_env env, napi_value value, const number_bounds *bounds, number_list *list);
void number_list_free(number_list *list);
number number_at(const number_list *list, size_t index);

/** Length in bits; 0 for zero. */
size_t number_bits(number value);
/** Bit `position`; 0 above the number's end. Reads one word and does not branch on the bit. */
unsigned number_bit(number value, size_t position);

bool bignum_from_number(BIGNUM *result, number value);
/** Write exactly `count` words, zeros on top. */
bool bignum_to_words(const BIGNUM *value, uint64_t *words, size_t count);

/** Leave an exception pending where a Node-API call failed; keeps one that is pending already. */
void throw_failure(napi_env env);

#endif
