#include "ring.h"

#include <openssl/bnerr.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

static void destroy(ring *r) {
  BN_free(r->modulus);
  BN_MONT_CTX_free(r->mont);
  BN_free(r->one);
  BN_free(r->shift);
  OPENSSL_free(r->modulus_words);
  OPENSSL_free(r);
}

static bool prepare(ring *r, number modulus, BN_CTX *ctx) {
  if (r->modulus == NULL || r->mont == NULL || r->one == NULL || r->shift == NULL ||
      r->modulus_words == NULL) {
    return false;
  }
  return bignum_from_number(r->modulus, modulus) &&
         bignum_to_words(r->modulus, r->modulus_words, r->words) &&
         BN_MONT_CTX_set(r->mont, r->modulus, ctx) &&
         BN_to_montgomery(r->one, BN_value_one(), r->mont, ctx) &&
         BN_to_montgomery(r->shift, r->one, r->mont, ctx);
}

ring *ring_create(number modulus) {
  ring *r = OPENSSL_zalloc(sizeof *r);
  if (r == NULL) return NULL;
  atomic_init(&r->references, 1);
  r->words = modulus.count;
  r->modulus = BN_new();
  r->mont = BN_MONT_CTX_new();
  r->one = BN_new();
  r->shift = BN_new();
  r->modulus_words = OPENSSL_malloc(modulus.count * sizeof *r->modulus_words);

  BN_CTX *ctx = BN_CTX_new();
  bool prepared = ctx != NULL && prepare(r, modulus, ctx);
  BN_CTX_free(ctx);
  if (prepared) return r;
  destroy(r);
  return NULL;
}

ring *ring_retain(ring *r) {
  atomic_fetch_add(&r->references, 1);
  return r;
}

void ring_release(ring *r) {
  if (r != NULL && atomic_fetch_sub(&r->references, 1) == 1) destroy(r);
}

bool mont_multiply(const ring *r, BIGNUM *result, const BIGNUM *a, const BIGNUM *b, BN_CTX *ctx) {
  return BN_mod_mul_montgomery(result, a, b, r->mont, ctx) == 1;
}

bool ring_multiply(const ring *r, BIGNUM *result, number a, number b, BN_CTX *ctx) {
  BN_CTX_start(ctx);
  BIGNUM *left = BN_CTX_get(ctx);
  BIGNUM *right = BN_CTX_get(ctx);
  bool done = right != NULL && bignum_from_number(left, a) && bignum_from_number(right, b) &&
              mont_multiply(r, left, left, right, ctx) &&
              mont_multiply(r, result, left, r->shift, ctx);
  BN_CTX_end(ctx);
  return done;
}

/**
 * `R^exponent`, plain, for an exponent of at least 2: as `mont_multiply(R^(i+1), R^(j+1))` is
 * `R^(i+j+1)`, it is the power `exponent - 1` of `R²`, by squaring and multiplying.
 */
static bool power_of_r(const ring *r, BIGNUM *result, size_t exponent, BN_CTX *ctx) {
  size_t power = exponent - 1;
  size_t bit = (size_t)1 << (63 - __builtin_clzll(power));
  if (BN_copy(result, r->shift) == NULL) return false;
  while ((bit >>= 1) != 0) {
    if (!mont_multiply(r, result, result, result, ctx)) return false;
    if ((power & bit) != 0 && !mont_multiply(r, result, result, r->shift, ctx)) return false;
  }
  return true;
}

bool ring_product(const ring *r, BIGNUM *result, const number_list *factors, size_t from, size_t to,
                  BN_CTX *ctx) {
  if (from == to) return BN_one(result) == 1;
  if (!bignum_from_number(result, number_at(factors, from))) return false;
  if (to - from == 1) return true;

  // Multiply the plain numbers: k of them gather R^-(k-1), which one product with R^k takes away.
  // Putting each into Montgomery form first would double the work.
  BN_CTX_start(ctx);
  BIGNUM *factor = BN_CTX_get(ctx);
  bool done = factor != NULL;
  for (size_t i = from + 1; done && i < to; i++) {
    done = bignum_from_number(factor, number_at(factors, i)) &&
           mont_multiply(r, result, result, factor, ctx);
  }
  done = done && power_of_r(r, factor, to - from, ctx) &&
         mont_multiply(r, result, result, factor, ctx);
  BN_CTX_end(ctx);
  return done;
}

bool ring_power(const ring *r, BIGNUM *result, number base, number exponent, bool secret,
                BN_CTX *ctx) {
  BN_CTX_start(ctx);
  BIGNUM *b = BN_CTX_get(ctx);
  BIGNUM *e = BN_CTX_get(ctx);
  bool done = e != NULL && bignum_from_number(b, base) && bignum_from_number(e, exponent);
  if (done && secret) {
    BN_set_flags(e, BN_FLG_CONSTTIME);
    done = BN_mod_exp_mont_consttime(result, b, e, r->modulus, ctx, r->mont) == 1;
  } else if (done) {
    done = BN_mod_exp_mont(result, b, e, r->modulus, ctx, r->mont) == 1;
  }
  BN_CTX_end(ctx);
  return done;
}

/** OpenSSL reports "no inverse" through the thread's error queue, which must not keep it. */
static inversion invert(const ring *r, BIGNUM *result, const BIGNUM *value, BN_CTX *ctx) {
  ERR_set_mark();
  bool done = BN_mod_inverse(result, value, r->modulus, ctx) != NULL;
  unsigned long error = ERR_peek_last_error();
  ERR_pop_to_mark();
  if (done) return INVERTED;
  return ERR_GET_LIB(error) == ERR_LIB_BN && ERR_GET_REASON(error) == BN_R_NO_INVERSE
             ? NOT_INVERTIBLE
             : INVERSION_FAILED;
}

/**
 * P. L. Montgomery's trick (Math. Comp. 48, 1987, §10.3.1): one inversion and three products for
 * each value. On plain numbers, `prefix[i] = a_0 ⋯ a_i R^-i`, and the inverse of the last prefix
 * carries `R^i`: the powers of R cancel in every result, and nothing is ever converted.
 */
inversion ring_inverses(const ring *r, uint64_t *results, const number_list *values, size_t from,
                        size_t to, BN_CTX *ctx) {
  if (from == to) return INVERTED;
  inversion outcome = INVERSION_FAILED;
  BN_CTX_start(ctx);
  BIGNUM *value = BN_CTX_get(ctx);
  BIGNUM *suffix = BN_CTX_get(ctx);
  BIGNUM *inverse = BN_CTX_get(ctx);
  size_t count = to - from;
  BIGNUM **prefix = OPENSSL_malloc(count * sizeof *prefix);
  if (inverse == NULL || prefix == NULL) goto done;

  for (size_t i = 0; i < count; i++) {
    prefix[i] = BN_CTX_get(ctx);
    if (prefix[i] == NULL || !bignum_from_number(value, number_at(values, from + i))) goto done;
    if (i == 0 ? BN_copy(prefix[0], value) == NULL
               : !mont_multiply(r, prefix[i], prefix[i - 1], value, ctx)) {
      goto done;
    }
  }
  inversion inverted = invert(r, suffix, prefix[count - 1], ctx);
  if (inverted != INVERTED) {
    outcome = inverted;
    goto done;
  }
  for (size_t i = count - 1; i > 0; i--) {
    if (!mont_multiply(r, inverse, prefix[i - 1], suffix, ctx) ||
        !bignum_to_words(inverse, results + i * r->words, r->words) ||
        !bignum_from_number(value, number_at(values, from + i)) ||
        !mont_multiply(r, suffix, suffix, value, ctx)) {
      goto done;
    }
  }
  if (bignum_to_words(suffix, results, r->words)) outcome = INVERTED;

done:
  OPENSSL_free(prefix);
  BN_CTX_end(ctx);
  return outcome;
}
