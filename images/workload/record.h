/* One record of the log: 512 bytes, so that a disk sector holds exactly one. */
#ifndef RECORD_H
#define RECORD_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_BYTES = 512, ID_MAX = 40, BOOT_DIGITS = 16 };

struct record {
    char magic[8];
    uint64_t index;
    char id[48];
    char boot[24];
    char unused[RECORD_BYTES - 8 - 8 - 48 - 24 - 4];
    uint32_t crc;
};
_Static_assert(sizeof(struct record) == RECORD_BYTES, "a record fills one sector");

static const char RECORD_MAGIC[8] = "WORKLOG1";

static inline uint32_t record_crc(const struct record *record)
{
    const unsigned char *bytes = (const unsigned char *)record;
    uint32_t crc = 0xffffffffu;
    size_t i;
    int bit;

    for (i = 0; i < offsetof(struct record, crc); i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static inline void record_fill(struct record *record, uint64_t index, const char *id, const char *boot)
{
    memset(record, 0, sizeof *record);
    memcpy(record->magic, RECORD_MAGIC, sizeof record->magic);
    record->index = index;
    snprintf(record->id, sizeof record->id, "%s", id);
    snprintf(record->boot, sizeof record->boot, "%s", boot);
    record->crc = record_crc(record);
}

static inline int record_is_valid(const struct record *record, uint64_t index)
{
    return memcmp(record->magic, RECORD_MAGIC, sizeof record->magic) == 0 && record->index == index &&
           memchr(record->id, '\0', ID_MAX + 1) != NULL && record->crc == record_crc(record);
}

#endif
