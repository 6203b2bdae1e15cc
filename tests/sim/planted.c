#include "tests/sim/planted.h"

#include <ctype.h>
#include <string.h>

#ifdef LEAT_PLANTED

enum planted planted_bug;

static const char *const names[] = {
#define X(name, text) #name,
    PLANTED_BUGS(X) PLANTED_RAFT_BUGS(X)
#undef X
};

static const char *const texts[] = {
#define X(name, text) text,
    PLANTED_BUGS(X) PLANTED_RAFT_BUGS(X)
#undef X
};

#define X(name, text) +1
enum { CLUSTER_COUNT = 0 PLANTED_BUGS(X) };
#undef X

int planted_count(void) { return CLUSTER_COUNT - 1; }

const char *planted_name(int number)
{
    static char name[64];
    size_t i = 0;

    for (const char *c = names[number]; *c != '\0' && i < sizeof name - 1; c++)
        name[i++] = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    name[i] = '\0';
    return name;
}

const char *planted_text(int number) { return texts[number]; }

bool planted_choose(const char *name)
{
    for (int i = 1; i < PLANTED_COUNT; i++) {
        if (strcmp(planted_name(i), name) == 0) {
            planted_bug = (enum planted)i;
            return true;
        }
    }
    return false;
}

#else

int planted_count(void) { return 0; }

const char *planted_name(int number) { return ""; }

const char *planted_text(int number) { return ""; }

bool planted_choose(const char *name) { return false; }

#endif
