/* Writes Protocol Buffers by hand: as much of the wire format as the test's messages need. */
#ifndef SLUICE_TESTS_C_WIRE_H_
#define SLUICE_TESTS_C_WIRE_H_

#include <stddef.h>
#include <stdint.h>

/* A message being written. Grows as needed; free() its bytes. */
typedef struct message {
  uint8_t* bytes;
  size_t size;
  size_t capacity;
} message;

void put_integer(message* m, uint32_t field, uint64_t value);
void put_double(message* m, uint32_t field, double value);
void put_text(message* m, uint32_t field, const char* text);
/* Packed repeated fields. */
void put_integers(message* m, uint32_t field, const uint64_t* values, size_t count);
void put_doubles(message* m, uint32_t field, const double* values, size_t count);
/* Moves `inner` into a field of `m`. */
void put_message(message* m, uint32_t field, message* inner);
void clear_message(message* m);

/* The first varint field of a number in a message's bytes, or `fallback`. */
uint64_t find_integer(const uint8_t* bytes, size_t size, uint32_t field, uint64_t fallback);

#endif
