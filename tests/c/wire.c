#include "wire.h"

#include <stdlib.h>
#include <string.h>

static void put_bytes(message* m, const void* bytes, size_t size) {
  if (m->size + size > m->capacity) {
    m->capacity = 2 * (m->size + size) + 64;
    m->bytes = realloc(m->bytes, m->capacity);
    if (m->bytes == NULL) abort();
  }
  if (size > 0) memcpy(m->bytes + m->size, bytes, size);
  m->size += size;
}

static void put_varint(message* m, uint64_t value) {
  uint8_t byte;
  while (value >= 0x80) {
    byte = (uint8_t)(value | 0x80);
    put_bytes(m, &byte, 1);
    value >>= 7;
  }
  byte = (uint8_t)value;
  put_bytes(m, &byte, 1);
}

static void put_key(message* m, uint32_t field, uint32_t wire_type) {
  put_varint(m, (uint64_t)field << 3 | wire_type);
}

void put_integer(message* m, uint32_t field, uint64_t value) {
  put_key(m, field, 0);
  put_varint(m, value);
}

void put_double(message* m, uint32_t field, double value) {
  put_key(m, field, 1);
  put_bytes(m, &value, sizeof(value));
}

void put_text(message* m, uint32_t field, const char* text) {
  put_key(m, field, 2);
  put_varint(m, strlen(text));
  put_bytes(m, text, strlen(text));
}

void put_integers(message* m, uint32_t field, const uint64_t* values, size_t count) {
  message body = {0};
  size_t i;
  for (i = 0; i < count; ++i) put_varint(&body, values[i]);
  put_message(m, field, &body);
}

void put_doubles(message* m, uint32_t field, const double* values, size_t count) {
  message body = {0};
  put_bytes(&body, values, count * sizeof(double));
  put_message(m, field, &body);
}

void put_message(message* m, uint32_t field, message* inner) {
  put_key(m, field, 2);
  put_varint(m, inner->size);
  put_bytes(m, inner->bytes, inner->size);
  clear_message(inner);
}

void clear_message(message* m) {
  free(m->bytes);
  memset(m, 0, sizeof(*m));
}

static uint64_t take_varint(const uint8_t* bytes, size_t size, size_t* at) {
  uint64_t value = 0;
  int shift = 0;
  while (*at < size) {
    uint8_t byte = bytes[(*at)++];
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  return value;
}

uint64_t find_integer(const uint8_t* bytes, size_t size, uint32_t field, uint64_t fallback) {
  size_t at = 0;
  while (at < size) {
    uint64_t key = take_varint(bytes, size, &at);
    uint64_t value;
    switch (key & 7) {
      case 0:
        value = take_varint(bytes, size, &at);
        if (key >> 3 == field) return value;
        break;
      case 1:
        at += 8;
        break;
      case 2:
        value = take_varint(bytes, size, &at);
        at += value;
        break;
      default:
        at += 4;
    }
  }
  return fallback;
}
