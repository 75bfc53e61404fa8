/**
 * Arithmetic modulo a square n², where the processor has AVX-512 IFMA.
 *
 * All that this software spends its time on is done modulo `N²` or `p²`. A number modulo n² is
 * written as `low + high·n`; a product then takes products and reductions of half the length only,
 * and about half of the work of one that knows nothing about the modulus (`ifma.c` has the
 * equations).
 *
 * Nothing but `split_create` branches on, or addresses memory by, what a number is.
 */
#ifndef DUOVEIL_SPLIT_H
#define DUOVEIL_SPLIT_H

#include "ifma.h"
#include "words.h"

#define SPLIT_MAX_DIGITS (2 * IFMA_MAX_DIGITS)
#define SPLIT_MAX_ROOT_BITS (IFMA_MAX_DIGITS * IFMA_DIGIT_BITS - IFMA_SLACK_BITS)
#define SPLIT_MAX_WORDS (2 * (SPLIT_MAX_ROOT_BITS + 63) / 64)

/**
 * Read-only once made. Numbers are `split_length` digits, as `ifma.h` says; Montgomery form of `a`
 * is `aR`, `R = 2^(52 digits)`.
 */
typedef struct {
  ifma_modulus modulus;
  /** 1, R and R², both parts below n. */
  uint64_t unit[SPLIT_MAX_DIGITS];
  uint64_t one[SPLIT_MAX_DIGITS];
  uint64_t shift[SPLIT_MAX_DIGITS];
  /** n and n² as 64-bit words. */
  uint64_t root[SPLIT_MAX_WORDS];
  size_t root_words;
  uint64_t square[SPLIT_MAX_WORDS];
  size_t square_words;
} split_ring;

/**
 * The arithmetic modulo `modulus`; `*result` is NULL where that is not the square of a number of a
 * suitable length. False if memory runs out. Whether the processor can do it is not asked.
 */
bool split_create(const BIGNUM *modulus, split_ring **result, BN_CTX *ctx);
void split_free(split_ring *s);

/** Digits of a number. */
size_t split_length(const split_ring *s);

/** Neither to nor from Montgomery form: the number as it is. It is below n². */
void split_read(const split_ring *s, uint64_t *result, number value);
/** `s->square_words` words of a number in `[0, n²)`. */
void split_write(const split_ring *s, uint64_t *words, const uint64_t *value);

#endif
