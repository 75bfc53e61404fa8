#include "split.h"

#include <string.h>

#include <openssl/crypto.h>

/** Shorter roots are not worth it, and not what the bounds in `ifma.c` were made for. */
#define MIN_ROOT_BITS 64

typedef unsigned __int128 wide;

/* Digits and words. */

/** `count` digits of a number; zeros above its end. */
static void to_digits(uint64_t *digits, size_t count, number value, size_t first) {
  for (size_t i = 0; i < count; i++) {
    size_t bit = (first + i) * IFMA_DIGIT_BITS;
    size_t word = bit / 64;
    uint64_t low = word < value.count ? value.words[word] : 0;
    uint64_t high = word + 1 < value.count ? value.words[word + 1] : 0;
    digits[i] = (uint64_t)(((wide)high << 64 | low) >> (bit % 64)) & IFMA_DIGIT_MASK;
  }
}

/** `count` words of digits below 2^52; what does not fit is zero. */
static void to_words(uint64_t *words, size_t count, const uint64_t *digits, size_t length) {
  memset(words, 0, count * sizeof *words);
  for (size_t i = 0; i < length; i++) {
    size_t bit = i * IFMA_DIGIT_BITS;
    wide placed = (wide)digits[i] << (bit % 64);
    if (bit / 64 < count) words[bit / 64] |= (uint64_t)placed;
    if (bit / 64 + 1 < count) words[bit / 64 + 1] |= (uint64_t)(placed >> 64);
  }
}

/* Set-up, on OpenSSL's numbers. */

static bool digits_of_bignum(uint64_t *digits, size_t count, const BIGNUM *value) {
  uint64_t words[SPLIT_MAX_WORDS];
  bool done = bignum_to_words(value, words, SPLIT_MAX_WORDS);
  if (done) to_digits(digits, count, (number){words, SPLIT_MAX_WORDS}, 0);
  OPENSSL_cleanse(words, sizeof words);
  return done;
}

/**
 * The root of a square by Newton's iteration (H. Cohen, *A Course in Computational Algebraic Number
 * Theory*, algorithm 1.7.1); `*exact` tells whether `value` is one.
 */
static bool square_root(BIGNUM *root, const BIGNUM *value, bool *exact, BN_CTX *ctx) {
  BN_CTX_start(ctx);
  BIGNUM *next = BN_CTX_get(ctx);
  BIGNUM *square = BN_CTX_get(ctx);
  bool done = square != NULL && BN_set_word(next, 1) == 1 &&
              BN_lshift(next, next, (BN_num_bits(value) + 1) / 2) == 1;
  do {
    done = done && BN_copy(root, next) != NULL && BN_div(next, NULL, value, root, ctx) == 1 &&
           BN_add(next, next, root) == 1 && BN_rshift1(next, next) == 1;
  } while (done && BN_cmp(next, root) < 0);
  done = done && BN_sqr(square, root, ctx) == 1;
  *exact = done && BN_cmp(square, value) == 0;
  BN_CTX_end(ctx);
  return done;
}

/** `-n⁻¹ mod 2^52` of an odd number, each step doubling the bits that are right. */
static uint64_t negative_inverse(uint64_t n) {
  uint64_t inverse = n;
  for (int i = 0; i < 5; i++) inverse *= 2 - n * inverse;
  return (0 - inverse) & IFMA_DIGIT_MASK;
}

static bool prepare_root(ifma_modulus *m, const BIGNUM *root, BN_CTX *ctx) {
  size_t bits = (size_t)BN_num_bits(root);
  m->digits = (bits + IFMA_SLACK_BITS + IFMA_DIGIT_BITS - 1) / IFMA_DIGIT_BITS;
  m->vectors = (m->digits + IFMA_LANES - 1) / IFMA_LANES;
  BN_CTX_start(ctx);
  BIGNUM *power = BN_CTX_get(ctx);
  BIGNUM *correction = BN_CTX_get(ctx);
  bool done = correction != NULL && BN_set_word(power, 1) == 1 &&
              BN_lshift(power, power, (int)m->digits * IFMA_DIGIT_BITS) == 1 &&
              BN_sub(correction, BN_value_one(), power) == 1 &&
              BN_nnmod(correction, correction, root, ctx) == 1 &&
              digits_of_bignum(m->modulus, m->digits, root) &&
              digits_of_bignum(m->correction, m->digits, correction);
  m->inverse = negative_inverse(m->modulus[0]);
  BN_CTX_end(ctx);
  return done;
}

/** `R^exponent`, both parts below n. */
static bool set_power_of_r(const split_ring *s, uint64_t *result, int exponent,
                           const BIGNUM *modulus, const BIGNUM *root, BN_CTX *ctx) {
  size_t half = split_length(s) / 2;
  BN_CTX_start(ctx);
  BIGNUM *low = BN_CTX_get(ctx);
  BIGNUM *high = BN_CTX_get(ctx);
  bool done = high != NULL && BN_set_word(low, 1) == 1 &&
              BN_lshift(low, low, exponent * (int)s->modulus.digits * IFMA_DIGIT_BITS) == 1 &&
              BN_nnmod(low, low, modulus, ctx) == 1 && BN_div(high, low, low, root, ctx) == 1 &&
              digits_of_bignum(result, half, low) && digits_of_bignum(result + half, half, high);
  BN_CTX_end(ctx);
  return done;
}

static bool prepare(split_ring *s, const BIGNUM *modulus, const BIGNUM *root, BN_CTX *ctx) {
  s->root_words = ((size_t)BN_num_bits(root) + 63) / 64;
  s->square_words = ((size_t)BN_num_bits(modulus) + 63) / 64;
  return prepare_root(&s->modulus, root, ctx) &&
         set_power_of_r(s, s->unit, 0, modulus, root, ctx) &&
         set_power_of_r(s, s->one, 1, modulus, root, ctx) &&
         set_power_of_r(s, s->shift, 2, modulus, root, ctx) &&
         bignum_to_words(root, s->root, s->root_words) &&
         bignum_to_words(modulus, s->square, s->square_words);
}

bool split_create(const BIGNUM *modulus, split_ring **result, BN_CTX *ctx) {
  *result = NULL;
  int bits = BN_num_bits(modulus);
  // Odd squares are 1 modulo 8: for most other numbers the root is spared.
  if (bits < 2 * MIN_ROOT_BITS || bits > 2 * SPLIT_MAX_ROOT_BITS || BN_mod_word(modulus, 8) != 1) {
    return true;
  }
  BN_CTX_start(ctx);
  BIGNUM *root = BN_CTX_get(ctx);
  split_ring *s = OPENSSL_zalloc(sizeof *s);
  bool exact = false;
  bool done = root != NULL && s != NULL && square_root(root, modulus, &exact, ctx) &&
              (!exact || prepare(s, modulus, root, ctx));
  if (done && exact) {
    *result = s;
  } else {
    split_free(s);
  }
  BN_CTX_end(ctx);
  return done;
}

void split_free(split_ring *s) { OPENSSL_clear_free(s, sizeof *s); }

size_t split_length(const split_ring *s) { return 2 * IFMA_LANES * s->modulus.vectors; }

/* Numbers. */

/** Digit by digit, with carries; what is added has digits of at most 52 bits. */
static void add(uint64_t *sum, const uint64_t *added, size_t count) {
  uint64_t carry = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t digit = sum[i] + added[i] + carry;
    sum[i] = digit & IFMA_DIGIT_MASK;
    carry = digit >> IFMA_DIGIT_BITS;
  }
}

void split_read(const split_ring *s, uint64_t *result, number value) {
  // No division is needed: value = x + yR, with x and y of half the length, is xRR⁻¹ + yR²R⁻¹.
  const size_t half = split_length(s) / 2;
  uint64_t part[SPLIT_MAX_DIGITS] = {0};
  to_digits(part, s->modulus.digits, value, s->modulus.digits);
  ifma_multiply(&s->modulus, result, part, s->shift);
  to_digits(part, s->modulus.digits, value, 0);
  ifma_multiply(&s->modulus, part, part, s->one);
  add(result, part, half);
  add(result + half, part + half, half);
  OPENSSL_cleanse(part, sizeof part);
}

/** `sum + a·b`, whose length is that of a and b together; `sum` has no more words than a. */
static void multiply_add(uint64_t *result, const uint64_t *a, const uint64_t *b,
                         const uint64_t *sum, size_t words) {
  memcpy(result, sum, words * sizeof *sum);
  memset(result + words, 0, words * sizeof *sum);
  for (size_t i = 0; i < words; i++) {
    uint64_t carry = 0;
    for (size_t j = 0; j < words; j++) {
      wide product = (wide)a[j] * b[i] + result[i + j] + carry;
      result[i + j] = (uint64_t)product;
      carry = (uint64_t)(product >> 64);
    }
    result[i + words] = carry;
  }
}

/** Take n² off where it fits. */
static void subtract_square(const split_ring *s, uint64_t *value, size_t words) {
  uint64_t difference[SPLIT_MAX_WORDS + 2];
  uint64_t borrow = 0;
  for (size_t i = 0; i < words; i++) {
    wide digit = (wide)value[i] - (i < s->square_words ? s->square[i] : 0) - borrow;
    difference[i] = (uint64_t)digit;
    borrow = (uint64_t)(digit >> 64) & 1;
  }
  for (size_t i = 0; i < words; i++) {
    value[i] = (value[i] & (0 - borrow)) | (difference[i] & (borrow - 1));
  }
  OPENSSL_cleanse(difference, words * sizeof *difference);
}

void split_write(const split_ring *s, uint64_t *words, const uint64_t *value) {
  const size_t half = split_length(s) / 2;
  // Parts of up to 4n may be a word longer than n.
  const size_t length = s->root_words + 1;
  uint64_t low[SPLIT_MAX_WORDS / 2 + 1];
  uint64_t high[SPLIT_MAX_WORDS / 2 + 1];
  uint64_t root[SPLIT_MAX_WORDS / 2 + 1] = {0};
  uint64_t whole[SPLIT_MAX_WORDS + 2];
  to_words(low, length, value, half);
  to_words(high, length, value + half, half);
  memcpy(root, s->root, s->root_words * sizeof *root);
  multiply_add(whole, high, root, low, length);
  // low + high·n ≤ 4n² + 4n
  for (int i = 0; i < 4; i++) subtract_square(s, whole, 2 * length);
  memcpy(words, whole, s->square_words * sizeof *words);
  OPENSSL_cleanse(low, sizeof low);
  OPENSSL_cleanse(high, sizeof high);
  OPENSSL_cleanse(whole, sizeof whole);
}
