/** The Jacobi symbol, of public numbers: time depends on them. */
#ifndef DUOVEIL_JACOBI_H
#define DUOVEIL_JACOBI_H

#include "words.h"

/** `(value | n)` for an odd n > 1: -1, 0 or 1. False if memory runs out. */
bool jacobi_symbol(int *symbol, number value, number n, BN_CTX *ctx);

#endif
