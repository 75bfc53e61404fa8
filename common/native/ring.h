/** Arithmetic modulo one odd number, on OpenSSL's Montgomery multiplication. */
#ifndef DUOVEIL_RING_H
#define DUOVEIL_RING_H

#include <stdatomic.h>

#include "words.h"

/** Larger moduli are refused, so that sizes stay far from any overflow. */
#define MAX_MODULUS_BITS 32768
#define MAX_MODULUS_WORDS (MAX_MODULUS_BITS / 64)

/**
 * Read-only once made, so any number of threads may use it; whoever holds it counts as a reference.
 * Montgomery form of `a` is `aR`, `R = 2^(64 words)`; `mont_multiply(a, b)` is `abR⁻¹`.
 */
typedef struct {
  atomic_size_t references;
  BIGNUM *modulus;
  BN_MONT_CTX *mont;
  /** `R`: one in Montgomery form. */
  BIGNUM *one;
  /** `R²`: multiplying by it puts a number into Montgomery form. */
  BIGNUM *shift;
  /** The modulus again, for comparing. */
  uint64_t *modulus_words;
  size_t words;
} ring;

/** NULL if memory runs out. The modulus is odd, > 1 and within `MAX_MODULUS_BITS`. */
ring *ring_create(number modulus);
ring *ring_retain(ring *r);
void ring_release(ring *r);

/**
 * `abR⁻¹`; squares faster where `a == b`. The result may be an operand.
 *
 * OpenSSL's assembly takes operands of exactly as many words as the modulus; others go a slower way
 * to the same result. Uniform values are that long but for a chance of 2^-64, so this says nothing
 * about them in practice.
 */
bool mont_multiply(const ring *r, BIGNUM *result, const BIGNUM *a, const BIGNUM *b, BN_CTX *ctx);

bool ring_multiply(const ring *r, BIGNUM *result, number a, number b, BN_CTX *ctx);
/** The product of `factors[from .. to)`; 1 if there are none. */
bool ring_product(const ring *r, BIGNUM *result, const number_list *factors, size_t from, size_t to,
                  BN_CTX *ctx);
/** `base^exponent`; in time that does not depend on the exponent's bits where it is secret. */
bool ring_power(const ring *r, BIGNUM *result, number base, number exponent, bool secret,
                BN_CTX *ctx);

typedef enum { INVERTED, NOT_INVERTIBLE, INVERSION_FAILED } inversion;

/** The inverses of `values[from .. to)`, `r->words` words each. */
inversion ring_inverses(const ring *r, uint64_t *results, const number_list *values, size_t from,
                        size_t to, BN_CTX *ctx);

#endif
