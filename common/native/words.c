#include "words.h"

#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are handed to OpenSSL as little-endian bytes: use the portable engine here"
#endif

void throw_failure(napi_env env) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    napi_throw_error(env, NULL, "native arithmetic failed");
  }
}

static bool number_less(number a, number b) {
  if (a.count != b.count) return a.count < b.count;
  for (size_t i = a.count; i-- > 0;) {
    if (a.words[i] != b.words[i]) return a.words[i] < b.words[i];
  }
  return false;
}

static bool accepted(number value, const number_bounds *bounds) {
  if (bounds->below.count != 0 && !number_less(value, bounds->below)) return false;
  return bounds->max_bits == 0 || number_bits(value) <= bounds->max_bits;
}

/** Append one BigInt. `capacity` counts words; growing wipes what it leaves behind. */
static bool append(napi_env env, napi_value value, const number_bounds *bounds, number_list *list,
                   size_t *capacity) {
  size_t count = 0;
  napi_status status = napi_get_value_bigint_words(env, value, NULL, &count, NULL);
  if (status == napi_bigint_expected) {
    napi_throw_type_error(env, NULL, "a bigint was expected");
    return false;
  }
  if (status != napi_ok) {
    throw_failure(env);
    return false;
  }

  size_t used = list->start[list->count];
  if (used + count > *capacity) {
    size_t wanted = 2 * (used + count);
    uint64_t *words =
        OPENSSL_clear_realloc(list->words, *capacity * sizeof *words, wanted * sizeof *words);
    if (words == NULL) {
      throw_failure(env);
      return false;
    }
    list->words = words;
    *capacity = wanted;
  }

  int sign = 0;
  if (count > 0 && napi_get_value_bigint_words(env, value, &sign, &count, list->words + used) !=
                       napi_ok) {
    throw_failure(env);
    return false;
  }
  number read = {list->words + used, count};
  list->start[++list->count] = used + count;
  // BN_lebin2bn takes its length as an int.
  if (sign != 0 || count > INT_MAX / sizeof(uint64_t) || !accepted(read, bounds)) {
    napi_throw_range_error(env, NULL, bounds->message);
    return false;
  }
  return true;
}

static bool prepare(napi_env env, size_t count, number_list *list) {
  *list = (number_list){0};
  list->start = OPENSSL_zalloc((count + 1) * sizeof *list->start);
  if (list->start == NULL) throw_failure(env);
  return list->start != NULL;
}

bool number_list_read(napi_env env, napi_value array, const number_bounds *bounds,
                      number_list *list) {
  *list = (number_list){0};
  bool is_array = false;
  uint32_t length = 0;
  if (napi_is_array(env, array, &is_array) != napi_ok) {
    throw_failure(env);
    return false;
  }
  if (!is_array) {
    napi_throw_type_error(env, NULL, "an array was expected");
    return false;
  }
  if (napi_get_array_length(env, array, &length) != napi_ok) {
    throw_failure(env);
    return false;
  }
  if (!prepare(env, length, list)) return false;

  size_t capacity = 0;
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    if (napi_get_element(env, array, i, &element) != napi_ok) {
      throw_failure(env);
      return false;
    }
    if (!append(env, element, bounds, list, &capacity)) return false;
  }
  return true;
}

bool number_read(napi_env env, napi_value value, const number_bounds *bounds, number_list *list) {
  size_t capacity = 0;
  return prepare(env, 1, list) && append(env, value, bounds, list, &capacity);
}

void number_list_free(number_list *list) {
  // Only the part in use was ever written to.
  if (list->words != NULL) {
    OPENSSL_clear_free(list->words, list->start[list->count] * sizeof *list->words);
  }
  OPENSSL_free(list->start);
  *list = (number_list){0};
}

number number_at(const number_list *list, size_t index) {
  size_t start = list->start[index];
  size_t count = list->start[index + 1] - start;
  return (number){count == 0 ? NULL : list->words + start, count};
}

size_t number_bits(number value) {
  if (value.count == 0) return 0;
  return 64 * value.count - (size_t)__builtin_clzll(value.words[value.count - 1]);
}

unsigned number_bit(number value, size_t position) {
  size_t word = position / 64;
  return word < value.count ? (unsigned)(value.words[word] >> (position % 64)) & 1 : 0;
}

bool bignum_from_number(BIGNUM *result, number value) {
  if (value.count == 0) {
    BN_zero(result);
    return true;
  }
  return BN_lebin2bn((const unsigned char *)value.words, (int)(value.count * sizeof(uint64_t)),
                     result) != NULL;
}

bool bignum_to_words(const BIGNUM *value, uint64_t *words, size_t count) {
  int length = (int)(count * sizeof *words);
  return BN_bn2lebinpad(value, (unsigned char *)words, length) == length;
}
