#include "ring.h"

#include <string.h>

#include <openssl/crypto.h>

static void destroy(ring *r) {
  BN_clear_free(r->modulus);
  BN_MONT_CTX_free(r->mont);
  split_free(r->split);
  residues_free(&r->one, 1);
  residues_free(&r->shift, 1);
  residues_free(&r->unit, 1);
  OPENSSL_clear_free(r->modulus_words, r->words * sizeof *r->modulus_words);
  OPENSSL_free(r);
}

static bool set_constants(ring *r, BN_CTX *ctx) {
  if (!residues_create(r, &r->one, 1) || !residues_create(r, &r->shift, 1) ||
      !residues_create(r, &r->unit, 1)) {
    return false;
  }
  if (r->split != NULL) {
    size_t bytes = r->residue_words * sizeof *r->one.digits;
    memcpy(r->one.digits, r->split->one, bytes);
    memcpy(r->shift.digits, r->split->shift, bytes);
    memcpy(r->unit.digits, r->split->unit, bytes);
    return true;
  }
  return BN_one(r->unit.bignum) == 1 &&
         BN_to_montgomery(r->one.bignum, r->unit.bignum, r->mont, ctx) == 1 &&
         BN_to_montgomery(r->shift.bignum, r->one.bignum, r->mont, ctx) == 1;
}

static bool prepare(ring *r, number modulus, bool may_split, BN_CTX *ctx) {
  if (r->modulus == NULL || r->mont == NULL || r->modulus_words == NULL) return false;
  if (!bignum_from_number(r->modulus, modulus) ||
      !bignum_to_words(r->modulus, r->modulus_words, r->words) ||
      !BN_MONT_CTX_set(r->mont, r->modulus, ctx)) {
    return false;
  }
  if (may_split && ifma_available() && !split_create(r->modulus, &r->split, ctx)) return false;
  r->residue_words = r->split != NULL ? split_length(r->split) : r->words;
  return set_constants(r, ctx);
}

ring *ring_create(number modulus, bool may_split) {
  ring *r = OPENSSL_zalloc(sizeof *r);
  if (r == NULL) return NULL;
  atomic_init(&r->references, 1);
  r->words = modulus.count;
  r->modulus = BN_new();
  r->mont = BN_MONT_CTX_new();
  r->modulus_words = OPENSSL_malloc(modulus.count * sizeof *r->modulus_words);

  BN_CTX *ctx = BN_CTX_new();
  bool prepared = ctx != NULL && prepare(r, modulus, may_split, ctx);
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

/** Digits begin with their count, for the wiping. */
bool residues_create(const ring *r, residue *residues, size_t count) {
  memset(residues, 0, count * sizeof *residues);
  bool done = true;
  for (size_t i = 0; done && i < count; i++) {
    if (r->split == NULL) {
      residues[i].bignum = BN_new();
      done = residues[i].bignum != NULL;
    } else {
      uint64_t *block = OPENSSL_zalloc((r->residue_words + 1) * sizeof *block);
      done = block != NULL;
      if (done) block[0] = r->residue_words;
      residues[i].digits = done ? block + 1 : NULL;
    }
  }
  if (!done) residues_free(residues, count);
  return done;
}

void residues_free(residue *residues, size_t count) {
  for (size_t i = 0; i < count; i++) {
    BN_clear_free(residues[i].bignum);
    if (residues[i].digits != NULL) {
      uint64_t *block = residues[i].digits - 1;
      OPENSSL_clear_free(block, (block[0] + 1) * sizeof *block);
    }
  }
  memset(residues, 0, count * sizeof *residues);
}

bool residue_multiply(const ring *r, residue *result, const residue *a, const residue *b,
                      BN_CTX *ctx) {
  if (r->split == NULL) {
    return BN_mod_mul_montgomery(result->bignum, a->bignum, b->bignum, r->mont, ctx) == 1;
  }
  if (a->digits == b->digits) {
    ifma_square(&r->split->modulus, result->digits, a->digits);
  } else {
    ifma_multiply(&r->split->modulus, result->digits, a->digits, b->digits);
  }
  return true;
}

bool residue_copy(const ring *r, residue *to, const residue *from) {
  if (r->split == NULL) return BN_copy(to->bignum, from->bignum) != NULL;
  memcpy(to->digits, from->digits, r->residue_words * sizeof *to->digits);
  return true;
}

bool residue_read(const ring *r, residue *result, number value) {
  if (r->split == NULL) return bignum_from_number(result->bignum, value);
  split_read(r->split, result->digits, value);
  return true;
}

bool residue_enter(const ring *r, residue *result, number value, BN_CTX *ctx) {
  return residue_read(r, result, value) && residue_multiply(r, result, result, &r->shift, ctx);
}

bool residue_write(const ring *r, uint64_t *words, const residue *value) {
  if (r->split == NULL) return bignum_to_words(value->bignum, words, r->words);
  split_write(r->split, words, value->digits);
  return true;
}

bool residue_leave(const ring *r, uint64_t *words, residue *value, BN_CTX *ctx) {
  return residue_multiply(r, value, value, &r->unit, ctx) && residue_write(r, words, value);
}

bool residue_store(const ring *r, uint64_t *words, const residue *value) {
  if (r->split == NULL) return bignum_to_words(value->bignum, words, r->words);
  memcpy(words, value->digits, r->residue_words * sizeof *words);
  return true;
}

bool residue_load(const ring *r, residue *value, uint64_t *words) {
  if (r->split != NULL) {
    memcpy(value->digits, words, r->residue_words * sizeof *words);
    return true;
  }
  // BN_lebin2bn skips zero bytes at the top, one by one, and so would tell entries apart. A one
  // beyond the end makes all of them equally long; BN_mask_bits takes it off again.
  words[r->words] = 1;
  int length = (int)((r->words + 1) * sizeof *words);
  return BN_lebin2bn((const unsigned char *)words, length, value->bignum) != NULL &&
         BN_mask_bits(value->bignum, (int)(64 * r->words)) == 1;
}
