#include "elementary.h"

#include <openssl/bnerr.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

bool ring_multiply(const ring *r, uint64_t *result, number a, number b, BN_CTX *ctx) {
  residue factors[2];
  bool done = residues_create(r, factors, 2) && residue_read(r, &factors[0], a) &&
              residue_enter(r, &factors[1], b, ctx) &&
              residue_multiply(r, &factors[0], &factors[0], &factors[1], ctx) &&
              residue_write(r, result, &factors[0]);
  residues_free(factors, 2);
  return done;
}

/**
 * `R^exponent`, plain, for an exponent of at least 2: as the product of `R^(i+1)` and `R^(j+1)`
 * comes out as `R^(i+j+1)`, it is the power `exponent - 1` of `R²`, by squaring and multiplying.
 */
static bool power_of_r(const ring *r, residue *result, size_t exponent, BN_CTX *ctx) {
  size_t power = exponent - 1;
  size_t bit = (size_t)1 << (63 - __builtin_clzll(power));
  if (!residue_copy(r, result, &r->shift)) return false;
  while ((bit >>= 1) != 0) {
    if (!residue_multiply(r, result, result, result, ctx)) return false;
    if ((power & bit) != 0 && !residue_multiply(r, result, result, &r->shift, ctx)) return false;
  }
  return true;
}

static bool product_of_many(const ring *r, residue *product, residue *factor,
                            const number_list *factors, size_t from, size_t to, BN_CTX *ctx) {
  // Multiply the plain numbers: k of them gather R^-(k-1), which one product with R^k takes away.
  // Putting each into Montgomery form first would double the work.
  bool done = residue_read(r, product, number_at(factors, from));
  for (size_t i = from + 1; done && i < to; i++) {
    done = residue_read(r, factor, number_at(factors, i)) &&
           residue_multiply(r, product, product, factor, ctx);
  }
  return done && (to - from == 1 || (power_of_r(r, factor, to - from, ctx) &&
                                     residue_multiply(r, product, product, factor, ctx)));
}

bool ring_product(const ring *r, uint64_t *result, const number_list *factors, size_t from,
                  size_t to, BN_CTX *ctx) {
  if (from == to) return residue_write(r, result, &r->unit);
  residue numbers[2];
  bool done = residues_create(r, numbers, 2) &&
              product_of_many(r, &numbers[0], &numbers[1], factors, from, to, ctx) &&
              residue_write(r, result, &numbers[0]);
  residues_free(numbers, 2);
  return done;
}

bool ring_power(const ring *r, uint64_t *result, number base, number exponent, bool secret,
                BN_CTX *ctx) {
  BN_CTX_start(ctx);
  BIGNUM *b = BN_CTX_get(ctx);
  BIGNUM *e = BN_CTX_get(ctx);
  BIGNUM *power = BN_CTX_get(ctx);
  bool done = power != NULL && bignum_from_number(b, base) && bignum_from_number(e, exponent);
  if (done && secret) {
    BN_set_flags(e, BN_FLG_CONSTTIME);
    done = BN_mod_exp_mont_consttime(power, b, e, r->modulus, ctx, r->mont) == 1;
  } else if (done) {
    done = BN_mod_exp_mont(power, b, e, r->modulus, ctx, r->mont) == 1;
  }
  done = done && bignum_to_words(power, result, r->words);
  BN_CTX_end(ctx);
  return done;
}

/**
 * The inverse of a number as it is, in place. OpenSSL reports "no inverse" through the thread's
 * error queue, which must not keep it.
 */
static inversion invert(const ring *r, residue *value, uint64_t *scratch, BN_CTX *ctx) {
  inversion outcome = INVERSION_FAILED;
  BN_CTX_start(ctx);
  BIGNUM *whole = BN_CTX_get(ctx);
  if (whole != NULL && residue_write(r, scratch, value) &&
      bignum_from_number(whole, (number){scratch, r->words})) {
    ERR_set_mark();
    bool inverted = BN_mod_inverse(whole, whole, r->modulus, ctx) != NULL;
    unsigned long error = ERR_peek_last_error();
    ERR_pop_to_mark();
    if (inverted) {
      bool read = bignum_to_words(whole, scratch, r->words) &&
                  residue_read(r, value, (number){scratch, r->words});
      outcome = read ? INVERTED : INVERSION_FAILED;
    } else if (ERR_GET_LIB(error) == ERR_LIB_BN && ERR_GET_REASON(error) == BN_R_NO_INVERSE) {
      outcome = NOT_INVERTIBLE;
    }
  }
  BN_CTX_end(ctx);
  return outcome;
}

/** `prefix[i] = a_0 ⋯ a_i R^-i`; the last value that was read is left in `value`. */
static bool multiply_prefixes(const ring *r, residue *prefix, residue *value,
                              const number_list *values, size_t from, size_t count, BN_CTX *ctx) {
  bool done = residue_read(r, &prefix[0], number_at(values, from));
  for (size_t i = 1; done && i < count; i++) {
    done = residue_read(r, value, number_at(values, from + i)) &&
           residue_multiply(r, &prefix[i], &prefix[i - 1], value, ctx);
  }
  return done;
}

/** From the last prefix's inverse, which is used up, all inverses. */
static bool unfold(const ring *r, uint64_t *results, const residue *prefix, residue *suffix,
                   residue *value, const number_list *values, size_t from, size_t count,
                   BN_CTX *ctx) {
  bool done = true;
  for (size_t i = count - 1; done && i > 0; i--) {
    done = residue_multiply(r, value, &prefix[i - 1], suffix, ctx) &&
           residue_write(r, results + i * r->words, value) &&
           residue_read(r, value, number_at(values, from + i)) &&
           residue_multiply(r, suffix, suffix, value, ctx);
  }
  return done && residue_write(r, results, suffix);
}

/**
 * P. L. Montgomery's trick (Math. Comp. 48, 1987, §10.3.1): one inversion and three products for
 * each value. On plain numbers, the inverse of the last prefix carries `R^i`: the powers of R
 * cancel in every result, and nothing is ever converted.
 */
inversion ring_inverses(const ring *r, uint64_t *results, const number_list *values, size_t from,
                        size_t to, BN_CTX *ctx) {
  if (from == to) return INVERTED;
  size_t count = to - from;
  inversion outcome = INVERSION_FAILED;
  // The prefixes, and two more.
  residue *numbers = OPENSSL_zalloc((count + 2) * sizeof *numbers);
  if (numbers == NULL) return outcome;
  residue *value = &numbers[count];
  residue *suffix = &numbers[count + 1];
  if (residues_create(r, numbers, count + 2) &&
      multiply_prefixes(r, numbers, value, values, from, count, ctx) &&
      residue_copy(r, suffix, &numbers[count - 1])) {
    outcome = invert(r, suffix, results, ctx);
    if (outcome == INVERTED &&
        !unfold(r, results, numbers, suffix, value, values, from, count, ctx)) {
      outcome = INVERSION_FAILED;
    }
  }
  residues_free(numbers, count + 2);
  OPENSSL_free(numbers);
  return outcome;
}
