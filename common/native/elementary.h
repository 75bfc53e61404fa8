/** Products, single powers and inverses of plain numbers modulo one odd number. */
#ifndef DUOVEIL_ELEMENTARY_H
#define DUOVEIL_ELEMENTARY_H

#include "ring.h"

/* Results are `r->words` words each. */

bool ring_multiply(const ring *r, uint64_t *result, number a, number b, BN_CTX *ctx);
/** The product of `factors[from .. to)`; 1 if there are none. */
bool ring_product(const ring *r, uint64_t *result, const number_list *factors, size_t from,
                  size_t to, BN_CTX *ctx);
/**
 * `base^exponent`, by OpenSSL; in time that does not depend on the exponent's bits where it is
 * secret.
 */
bool ring_power(const ring *r, uint64_t *result, number base, number exponent, bool secret,
                BN_CTX *ctx);

typedef enum { INVERTED, NOT_INVERTIBLE, INVERSION_FAILED } inversion;

/** The inverses of `values[from .. to)`. */
inversion ring_inverses(const ring *r, uint64_t *results, const number_list *values, size_t from,
                        size_t to, BN_CTX *ctx);

#endif
