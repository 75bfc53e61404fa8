/**
 * `Π base^exponent` over a list of terms, the squarings shared among all of them.
 *
 * One evaluation serves three well-known methods, which differ only in how a table is laid out:
 * Straus's simultaneous exponentiation with and without windows (E. G. Straus, Amer. Math. Monthly
 * 71, 1964; HAC 14.88; B. Möller, SAC 2001), and the comb of C. H. Lim and P. J. Lee (Crypto '94)
 * for one base or many.
 */
#ifndef DUOVEIL_MULTIEXP_H
#define DUOVEIL_MULTIEXP_H

#include "elementary.h"

/**
 * How a table is laid out and read.
 *
 * Every exponent is cut into `parts` pieces of `columns * width` bits; a piece, with the power of
 * its base that it stands for, is a *tooth*. Teeth are dealt out evenly to `groups`. A group's
 * table has an entry for every value that one column (`width` bits of each of its teeth) can take,
 * so each column costs `width` squarings altogether and one product for each group.
 */
typedef struct {
  size_t terms;
  size_t parts;
  size_t groups;
  size_t width;
  size_t columns;
} table_plan;

/** A plan, and its entries in Montgomery form. */
typedef struct {
  table_plan plan;
  unsigned char *entries;
  size_t bytes;
} power_table;

/** The cheapest plan for a table that is used once. */
table_plan plan_single_use(const ring *r, size_t terms, size_t exponent_bits, bool secret);
/** The plan with the cheapest evaluation for a table that is kept, within a budget of memory. */
table_plan plan_kept(const ring *r, size_t terms, size_t exponent_bits);

/** Fill a table for `bases[from ..]`. On failure it is empty. */
bool power_table_build(power_table *table, const ring *r, const table_plan *plan,
                       const number_list *bases, size_t from, BN_CTX *ctx);
void power_table_free(power_table *table);
/** `Π base^exponent` for `exponents[from ..]`, in Montgomery form. */
bool power_table_evaluate(const power_table *table, const ring *r, residue *result,
                          const number_list *exponents, size_t from, bool secret, BN_CTX *ctx);

/**
 * `Π bases[i]^exponents[i]` for `i` in `[from, to)`, of `r->words` words; 1 if there are none.
 *
 * A single power with a secret exponent is OpenSSL's: its exponentiation in constant time has been
 * looked at by more people than ours.
 */
bool multi_power(const ring *r, uint64_t *result, const number_list *bases,
                 const number_list *exponents, size_t from, size_t to, bool secret, BN_CTX *ctx);

#endif
