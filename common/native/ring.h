/** Numbers modulo one odd number, as products are computed of them. */
#ifndef DUOVEIL_RING_H
#define DUOVEIL_RING_H

#include <stdatomic.h>

#include "split.h"

/** Larger moduli are refused, so that sizes stay far from any overflow. */
#define MAX_MODULUS_BITS 32768
#define MAX_MODULUS_WORDS (MAX_MODULUS_BITS / 64)

/**
 * A number of a ring: digits where the ring is a split one, else an OpenSSL number; the other one
 * is NULL. It may be in Montgomery form or not; who has it knows.
 */
typedef struct {
  BIGNUM *bignum;
  uint64_t *digits;
} residue;

/**
 * Read-only once made, so any number of threads may use it; whoever holds it counts as a reference.
 * Montgomery form of `a` is `aR`, R being a power of two; `residue_multiply(a, b)` is `abR⁻¹`.
 */
typedef struct {
  atomic_size_t references;
  BIGNUM *modulus;
  /** For the powers that are always OpenSSL's. */
  BN_MONT_CTX *mont;
  /** Squares on processors with IFMA; NULL for all others, which OpenSSL multiplies. */
  split_ring *split;
  /** `R`: one in Montgomery form. */
  residue one;
  /** `R²`: multiplying by it puts a number into Montgomery form. */
  residue shift;
  /** 1: multiplying by it takes a number out of Montgomery form. */
  residue unit;
  /** The modulus again, for comparing. */
  uint64_t *modulus_words;
  size_t words;
  /** 64-bit words of a residue in a table. */
  size_t residue_words;
} ring;

/**
 * NULL if memory runs out. The modulus is odd, > 1 and within `MAX_MODULUS_BITS`.
 * @param may_split false leaves all products to OpenSSL
 */
ring *ring_create(number modulus, bool may_split);
ring *ring_retain(ring *r);
void ring_release(ring *r);

/** Make room for numbers; on failure there are none. */
bool residues_create(const ring *r, residue *residues, size_t count);
/** Wipe and free; also what was never made and is zero. */
void residues_free(residue *residues, size_t count);

/**
 * `abR⁻¹`; squares faster where `a == b`. The result may be an operand.
 *
 * OpenSSL's assembly takes operands of exactly as many words as the modulus; others go a slower way
 * to the same result. Uniform values are that long but for a chance of 2^-64, so this says nothing
 * about them in practice.
 */
bool residue_multiply(const ring *r, residue *result, const residue *a, const residue *b,
                      BN_CTX *ctx);
bool residue_copy(const ring *r, residue *to, const residue *from);

/** A number as it is, and in Montgomery form. */
bool residue_read(const ring *r, residue *result, number value);
bool residue_enter(const ring *r, residue *result, number value, BN_CTX *ctx);
/** `r->words` words of a number as it is, in `[0, modulus)`; and of one in Montgomery form. */
bool residue_write(const ring *r, uint64_t *words, const residue *value);
bool residue_leave(const ring *r, uint64_t *words, residue *value, BN_CTX *ctx);

/** `r->residue_words` words for a table, and back; `words` has room for one more. */
bool residue_store(const ring *r, uint64_t *words, const residue *value);
bool residue_load(const ring *r, residue *value, uint64_t *words);

#endif
