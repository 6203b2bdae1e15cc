#include "base/error.h"

#include <stddef.h>

struct err_entry {
    int code;
    bool retriable;
    const char *name;
    const char *text;
};

static const struct err_entry entries[] = {
#define X(name, code, retriable, text) {code, retriable, #name, text},
    ERR_TABLE(X)
#undef X
};

static const struct err_entry *find(int code)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (entries[i].code == code)
            return &entries[i];
    return &entries[0];
}

const char *err_name(int code)
{
    return find(code)->name;
}

const char *err_text(int code)
{
    return find(code)->text;
}

bool err_retriable(int code)
{
    return find(code)->retriable;
}

int16_t err_wire(int code)
{
    if (code < 1000)
        return (int16_t)code;
    switch (code) {
    case ERR_IO:
    case ERR_FULL:
    case ERR_EXHAUSTED:
        return ERR_KAFKA_STORAGE_ERROR;
    case ERR_DAMAGED:
        return ERR_CORRUPT_MESSAGE;
    case ERR_TOO_LARGE:
        return ERR_MESSAGE_TOO_LARGE;
    case ERR_MALFORMED:
        return ERR_INVALID_REQUEST;
    case ERR_NOT_LEADER:
        return ERR_NOT_CONTROLLER;
    default:
        return ERR_UNKNOWN_SERVER_ERROR;
    }
}
