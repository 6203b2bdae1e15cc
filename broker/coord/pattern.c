/* A pattern becomes a program for a machine that is in many states at once
 * (Thompson, 1968): each step of it reads one byte or branches, and all threads
 * move over the id together, so nothing is tried twice.
 *
 * Parsing writes the program as it goes.  What a postfix operator needs twice
 * (x{2,4}) is parsed again from its text, which may be long though it makes few
 * steps ([aaaa]): that has a bound, too. */
#include "broker/coord/pattern.h"

#include <stdlib.h>

enum {
    PROGRAM_MAX = 4096, /* steps; bounds what x{n} may multiply to */
    NESTING_MAX = 50,
    REPEAT_MAX = 1000,
    AGAIN_MAX_BYTES = 1 << 16, /* of the text, parsed again for x{n} */
};

enum step_kind {
    STEP_SET,
    STEP_BRANCH,
    STEP_BEGIN,
    STEP_END,
    STEP_EDGE,    /* between a word and what is none */
    STEP_NO_EDGE, /* anywhere else */
    STEP_MATCH,
};

struct step {
    enum step_kind kind;
    uint16_t next;   /* after this step */
    uint16_t other;  /* BRANCH: or here */
    uint8_t set[32]; /* SET: which bytes; a bit each */
};

/* The states that the machine is in, each once. */
struct states {
    uint16_t at[PROGRAM_MAX];
    uint32_t len;
    bool has[PROGRAM_MAX];
};

struct coord_pattern {
    struct step *steps; /* owned */
    uint32_t len;
    uint16_t start;
    struct states scratch[2]; /* now, and after the next byte */
};

struct parser {
    struct reader in;
    struct step *steps;
    uint32_t len;
    int depth;
    size_t again_bytes; /* parsed more than once */
    bool fold;          /* (?i) */
    bool dotall;        /* (?s) */
    bool quoted;        /* between \Q and \E */
    bool bad;
};

/* A piece of program: from `start` it goes on at whatever `end` will be. */
struct piece {
    uint16_t start;
    uint16_t end; /* a BRANCH whose targets are patched by who joins */
};

static void set_add(uint8_t set[static 32], unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++)
        set[c / 8] |= (uint8_t)(1u << c % 8);
}

static uint16_t add_step(struct parser *p, enum step_kind kind)
{
    if (p->len == PROGRAM_MAX) {
        p->bad = true;
        return 0;
    }
    p->steps[p->len] = (struct step){.kind = kind};
    return (uint16_t)p->len++;
}

/* A step that only leads on: both ways of the branch are the same. */
static uint16_t add_joint(struct parser *p) { return add_step(p, STEP_BRANCH); }

static void lead(struct parser *p, uint16_t joint, uint16_t to)
{
    p->steps[joint].next = p->steps[joint].other = to;
}

static struct piece empty(struct parser *p)
{
    uint16_t joint = add_joint(p);

    return (struct piece){joint, joint};
}

static struct piece then(struct parser *p, struct piece a, struct piece b)
{
    lead(p, a.end, b.start);
    return (struct piece){a.start, b.end};
}

static struct piece single(struct parser *p, enum step_kind kind)
{
    uint16_t step = add_step(p, kind);
    uint16_t end = add_joint(p);

    p->steps[step].next = end;
    return (struct piece){step, end};
}

/* x? if skips, x* if also loops, x+ if only loops. */
static struct piece repeat(struct parser *p, struct piece x, bool skips,
                           bool loops)
{
    uint16_t end = add_joint(p);
    uint16_t front = add_joint(p);

    p->steps[front].next = x.start;
    p->steps[front].other = skips ? end : x.start;
    p->steps[x.end].next = end;
    p->steps[x.end].other = loops ? x.start : end;
    return (struct piece){front, end};
}

/* ---- parsing -------------------------------------------------------------*/

static int peek(const struct parser *p)
{
    return reader_left(&p->in) != 0 ? *p->in.at : -1;
}

static bool take(struct parser *p, int c)
{
    if (peek(p) != c)
        return false;
    p->in.at++;
    return true;
}

static void class_add(uint8_t set[static 32], int name)
{
    if (name == 'd' || name == 'w')
        set_add(set, '0', '9');
    if (name == 'w') {
        set_add(set, 'a', 'z');
        set_add(set, 'A', 'Z');
        set_add(set, '_', '_');
    }
    if (name == 's') {
        set_add(set, '\t', '\n');
        set_add(set, '\f', '\r');
        set_add(set, ' ', ' ');
    }
}

static bool set_has(const uint8_t set[static 32], unsigned c)
{
    return (set[c / 8] & 1u << c % 8) != 0;
}

/* Letters in any case. */
static void set_fold(uint8_t set[static 32])
{
    for (unsigned c = 'a'; c <= 'z'; c++) {
        unsigned upper = c - 'a' + 'A';

        if (set_has(set, c) || set_has(set, upper)) {
            set_add(set, c, c);
            set_add(set, upper, upper);
        }
    }
}

static void set_invert(uint8_t set[static 32])
{
    for (int i = 0; i < 32; i++)
        set[i] = (uint8_t)~set[i];
}

static int hex_digit(struct parser *p)
{
    int c = read_u8(&p->in);

    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    p->bad = true;
    return 0;
}

/* \x2d or \x{2d}, ASCII only. */
static int hex(struct parser *p)
{
    bool braces = take(p, '{');
    int c = hex_digit(p);

    if (!braces || peek(p) != '}')
        c = c * 16 + hex_digit(p);
    if ((braces && !take(p, '}')) || c > 127)
        p->bad = true;
    return c;
}

/* Behind a backslash.  Returns the one byte it stands for, or -1: a class. */
static int escape(struct parser *p, uint8_t set[static 32])
{
    uint8_t other[32] = {0};
    int c = read_u8(&p->in);

    switch (c) {
    case 'd':
    case 'w':
    case 's':
        class_add(set, c);
        return -1;
    case 'D':
    case 'W':
    case 'S':
        class_add(other, c - 'A' + 'a');
        set_invert(other);
        for (int i = 0; i < 32; i++)
            set[i] |= other[i];
        return -1;
    case 'a':
        return '\a';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case 'x':
        return hex(p);
    default:
        /* Letters and digits mean things that are not known here. */
        if (p->in.bad || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
            (c >= 'A' && c <= 'Z'))
            p->bad = true;
        return c;
    }
}

static int set_item(struct parser *p, uint8_t set[static 32])
{
    return take(p, '\\') ? escape(p, set) : read_u8(&p->in);
}

/* The classes of POSIX, by what is in them. */
static const struct {
    const char *name;
    const char *ranges; /* pairs: first and last */
} posix_classes[] = {
    {"alnum", "09AZaz"},
    {"alpha", "AZaz"},
    {"ascii", "\001\177"},
    {"blank", "\t\t  "},
    {"cntrl", "\001\037\177\177"},
    {"digit", "09"},
    {"graph", "!~"},
    {"lower", "az"},
    {"print", " ~"},
    {"punct", "!/:@[`{~"},
    {"space", "\t\r  "},
    {"upper", "AZ"},
    {"word", "09AZaz__"},
    {"xdigit", "09AFaf"},
};

/* [:alpha:] or [:^alpha:], inside of brackets.  False: it is none. */
static bool parse_posix(struct parser *p, uint8_t set[static 32])
{
    const size_t len = sizeof posix_classes / sizeof *posix_classes;
    struct reader before = p->in;
    uint8_t members[32] = {0};
    bool inverted;

    if (!take(p, '[') || !take(p, ':')) {
        p->in = before;
        return false;
    }
    inverted = take(p, '^');
    for (size_t i = 0; i < len; i++) {
        size_t name = strlen(posix_classes[i].name);

        if (reader_left(&p->in) < name + 2 ||
            memcmp(p->in.at, posix_classes[i].name, name) != 0 ||
            p->in.at[name] != ':' || p->in.at[name + 1] != ']')
            continue;
        p->in.at += name + 2;
        for (const char *r = posix_classes[i].ranges; *r != '\0'; r += 2)
            set_add(members, (uint8_t)r[0], (uint8_t)r[1]);
        if (inverted)
            set_invert(members);
        for (int k = 0; k < 32; k++)
            set[k] |= members[k];
        return true;
    }
    p->bad = true;
    return true;
}

static void parse_range(struct parser *p, uint8_t set[static 32])
{
    if (parse_posix(p, set))
        return;
    int from = set_item(p, set), to = from;

    if (from < 0)
        return;
    if (reader_left(&p->in) >= 2 && p->in.at[0] == '-' && p->in.at[1] != ']') {
        p->in.at++;
        to = set_item(p, set);
        p->bad = p->bad || to < from;
    }
    if (!p->bad)
        set_add(set, (unsigned)from, (unsigned)to);
}

static struct piece one_of(struct parser *p, const uint8_t set[static 32])
{
    struct piece piece = single(p, STEP_SET);

    memcpy(p->steps[piece.start].set, set, 32);
    return piece;
}

static struct piece literal(struct parser *p, int c)
{
    uint8_t set[32] = {0};

    set_add(set, (unsigned)c, (unsigned)c);
    if (p->fold)
        set_fold(set);
    return one_of(p, set);
}

static struct piece parse_set(struct parser *p)
{
    uint8_t set[32] = {0};
    bool inverted = take(p, '^');
    bool first = true;

    while (!p->bad && (first || !take(p, ']'))) {
        p->bad = p->bad || reader_left(&p->in) == 0;
        if (!p->bad)
            parse_range(p, set);
        first = false;
    }
    if (p->fold)
        set_fold(set);
    if (inverted)
        set_invert(set);
    return one_of(p, set);
}

static struct piece parse_choice(struct parser *p);

/* Behind "(?P<" or "(?<": the name, which says nothing here. */
static void parse_name(struct parser *p)
{
    size_t len = 0;

    while (!p->bad && !take(p, '>')) {
        uint8_t word[32] = {0};
        int c = read_u8(&p->in);

        class_add(word, 'w');
        p->bad = p->bad || p->in.bad || !set_has(word, (unsigned)c);
        len++;
    }
    p->bad = p->bad || len == 0;
}

/* Behind "(?": flags, up to ")" or ":".  Returns whether a group follows. */
static bool parse_flags(struct parser *p)
{
    bool on = true, some = false;
    int c;

    while ((c = read_u8(&p->in)) != ')' && c != ':' && !p->bad) {
        if (c == 'i')
            p->fold = on;
        else if (c == 's')
            p->dotall = on;
        else if (c == '-' && on)
            on = false;
        else if (c != 'm' && c != 'U')
            p->bad = true;
        some = c != '-';
    }
    /* "(?)" and "(?i-)" say nothing; "(?:" does. */
    p->bad = p->bad || p->in.bad || (!some && (c == ')' || !on));
    return c == ':';
}

/* Behind "(?".  Returns whether a group follows. */
static bool parse_special(struct parser *p)
{
    struct reader before = p->in;

    if (take(p, '<') || (take(p, 'P') && take(p, '<'))) {
        parse_name(p);
        return true;
    }
    p->in = before;
    return parse_flags(p);
}

/* Flags hold until the end of the group that they are in. */
static struct piece parse_group(struct parser *p)
{
    struct parser outside = *p;

    if (take(p, '?') && !parse_special(p))
        return empty(p);
    if (++p->depth > NESTING_MAX)
        p->bad = true;
    struct piece piece = p->bad ? empty(p) : parse_choice(p);
    p->depth--;
    if (!take(p, ')'))
        p->bad = true;
    p->fold = outside.fold;
    p->dotall = outside.dotall;
    return piece;
}

static bool at_escape(const struct parser *p, char letter)
{
    return reader_left(&p->in) >= 2 && p->in.at[0] == '\\' &&
           p->in.at[1] == letter;
}

/* \A, \z, \b, \B: places, not bytes.  False: it is none. */
static bool parse_place(struct parser *p, struct piece *piece)
{
    static const struct {
        char letter;
        enum step_kind kind;
    } places[] = {{'A', STEP_BEGIN},
                  {'z', STEP_END},
                  {'b', STEP_EDGE},
                  {'B', STEP_NO_EDGE}};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (at_escape(p, places[i].letter)) {
            p->in.at += 2;
            *piece = single(p, places[i].kind);
            return true;
        }
    return false;
}

static struct piece parse_escape(struct parser *p)
{
    uint8_t set[32] = {0};
    int one = escape(p, set);

    return one >= 0 ? literal(p, one) : one_of(p, set);
}

static struct piece parse_dot(struct parser *p)
{
    uint8_t set[32] = {0};

    set_add(set, 0, 255);
    if (!p->dotall)
        set['\n' / 8] &= (uint8_t) ~(1u << '\n' % 8);
    return one_of(p, set);
}

static struct piece parse_atom(struct parser *p)
{
    struct piece place;

    if (!p->quoted && parse_place(p, &place))
        return place;
    int c = read_u8(&p->in);
    if (p->quoted)
        return literal(p, c);
    switch (c) {
    case '(':
        return parse_group(p);
    case '[':
        return parse_set(p);
    case '^':
        return single(p, STEP_BEGIN);
    case '$':
        return single(p, STEP_END);
    case '.':
        return parse_dot(p);
    case '\\':
        return parse_escape(p);
    case '*':
    case '+':
    case '?':
        p->bad = true; /* nothing to repeat */
        break;
    }
    return literal(p, c);
}

/* Takes \Q and \E. */
static void parse_quotes(struct parser *p)
{
    while (at_escape(p, p->quoted ? 'E' : 'Q')) {
        p->in.at += 2;
        p->quoted = !p->quoted;
    }
}

/* Digits; -1: none. */
static int parse_number(struct parser *p)
{
    int n = -1;

    while (peek(p) >= '0' && peek(p) <= '9' && n <= REPEAT_MAX)
        n = (n < 0 ? 0 : n) * 10 + (read_u8(&p->in) - '0');
    return n;
}

struct bounds {
    int min;
    int max; /* -1: none */
};

/* {2} {2,} {2,4}; anything else in braces is text, as in RE2. */
static bool parse_bounds(struct parser *p, struct bounds *b)
{
    struct reader before = p->in;

    if (!take(p, '{'))
        return false;
    b->min = b->max = parse_number(p);
    if (take(p, ','))
        b->max = parse_number(p);
    if (b->min >= 0 && take(p, '}')) {
        if (b->min > REPEAT_MAX || b->max > REPEAT_MAX ||
            (b->max >= 0 && b->max < b->min))
            p->bad = true;
        return true;
    }
    p->in = before;
    return false;
}

/* The atom whose text begins at `text`, as often as the bounds say. */
static struct piece multiply(struct parser *p, struct reader text, bool quoted,
                             struct bounds b)
{
    struct reader after = p->in;
    struct piece all = empty(p);
    int copies = b.max < 0 ? b.min + 1 : b.max;

    for (int i = 0; i < copies && !p->bad; i++) {
        p->in = text;
        p->quoted = quoted;
        struct piece x = parse_atom(p);

        p->again_bytes += (size_t)(p->in.at - text.at);
        p->bad = p->bad || p->again_bytes > AGAIN_MAX_BYTES;
        if (i >= b.min)
            x = repeat(p, x, true, b.max < 0);
        all = then(p, all, x);
    }
    p->in = after;
    p->quoted = false;
    return all;
}

static struct piece parse_repeated(struct parser *p)
{
    struct reader text = p->in;
    bool quoted = p->quoted;
    struct piece x = parse_atom(p);
    struct bounds b;

    if (quoted)
        parse_quotes(p);
    if (p->bad || p->quoted)
        return x;
    if (take(p, '*'))
        x = repeat(p, x, true, true);
    else if (take(p, '+'))
        x = repeat(p, x, false, true);
    else if (take(p, '?'))
        x = repeat(p, x, true, false);
    else if (parse_bounds(p, &b))
        x = multiply(p, text, quoted, b);
    else
        return x;
    take(p, '?'); /* reluctant: the same ids match */
    if (peek(p) == '*' || peek(p) == '+' || peek(p) == '?')
        p->bad = true;
    return x;
}

static struct piece parse_sequence(struct parser *p)
{
    struct piece all = empty(p);

    parse_quotes(p);
    while (!p->bad && peek(p) >= 0 &&
           (p->quoted || (peek(p) != '|' && peek(p) != ')'))) {
        all = then(p, all, parse_repeated(p));
        parse_quotes(p);
    }
    return all;
}

static struct piece parse_choice(struct parser *p)
{
    struct piece all = parse_sequence(p);

    while (!p->bad && take(p, '|')) {
        struct piece right = parse_sequence(p);
        uint16_t front = add_joint(p), end = add_joint(p);

        p->steps[front].next = all.start;
        p->steps[front].other = right.start;
        lead(p, all.end, end);
        lead(p, right.end, end);
        all = (struct piece){front, end};
    }
    return all;
}

struct coord_pattern *coord_pattern_compile(struct slice text)
{
    struct coord_pattern *pattern = xcalloc(1, sizeof *pattern);
    struct parser p = {.in = reader_of(text)};

    p.steps = xcalloc(PROGRAM_MAX, sizeof *p.steps);
    struct piece all = parse_choice(&p);
    uint16_t match = add_step(&p, STEP_MATCH);
    lead(&p, all.end, match);
    pattern->steps = p.steps;
    pattern->len = p.len;
    pattern->start = all.start;
    if (!p.bad && !p.in.bad && reader_left(&p.in) == 0)
        return pattern;
    coord_pattern_free(pattern);
    return NULL;
}

void coord_pattern_free(struct coord_pattern *pattern)
{
    if (pattern == NULL)
        return;
    free(pattern->steps);
    free(pattern);
}

/* ---- matching ------------------------------------------------------------*/

struct place {
    bool begin;
    bool end;
    bool edge;
};

static bool is_word(struct slice name, size_t at)
{
    uint8_t word[32] = {0};

    class_add(word, 'w');
    return at < name.len && set_has(word, name.data[at]);
}

/* Before the byte `at`. */
static struct place place_at(struct slice name, size_t at)
{
    return (struct place){
        .begin = at == 0,
        .end = at == name.len,
        .edge = (at > 0 && is_word(name, at - 1)) != is_word(name, at),
    };
}

static void enter(struct states *s, uint16_t state)
{
    if (s->has[state])
        return;
    s->has[state] = true;
    s->at[s->len++] = state;
}

static void leave_all(const struct coord_pattern *pattern, struct states *s)
{
    s->len = 0;
    memset(s->has, 0, pattern->len * sizeof *s->has);
}

/* Adds all states that follow without reading.  The list is its own queue, so
 * there is no recursion. */
static void follow(const struct coord_pattern *pattern, struct states *s,
                   struct place place)
{
    for (uint32_t i = 0; i < s->len; i++) {
        const struct step *step = &pattern->steps[s->at[i]];

        if (step->kind == STEP_BRANCH) {
            enter(s, step->next);
            enter(s, step->other);
        } else if ((step->kind == STEP_BEGIN && place.begin) ||
                   (step->kind == STEP_END && place.end) ||
                   (step->kind == STEP_EDGE && place.edge) ||
                   (step->kind == STEP_NO_EDGE && !place.edge)) {
            enter(s, step->next);
        }
    }
}

static void read_byte(const struct coord_pattern *pattern,
                      const struct states *from, struct states *to, uint8_t c)
{
    leave_all(pattern, to);
    for (uint32_t i = 0; i < from->len; i++) {
        const struct step *step = &pattern->steps[from->at[i]];

        if (step->kind == STEP_SET && set_has(step->set, c))
            enter(to, step->next);
    }
}

static bool is_match(const struct coord_pattern *pattern,
                     const struct states *s)
{
    for (uint32_t i = 0; i < s->len; i++)
        if (pattern->steps[s->at[i]].kind == STEP_MATCH)
            return true;
    return false;
}

uint32_t coord_pattern_steps(const struct coord_pattern *pattern)
{
    return pattern->len;
}

bool coord_pattern_matches(struct coord_pattern *pattern, struct slice name)
{
    struct states *now = &pattern->scratch[0], *next = &pattern->scratch[1];

    leave_all(pattern, now);
    enter(now, pattern->start);
    follow(pattern, now, place_at(name, 0));
    for (size_t i = 0; i < name.len && now->len != 0; i++) {
        struct states *swap = now;

        read_byte(pattern, now, next, name.data[i]);
        follow(pattern, next, place_at(name, i + 1));
        now = next;
        next = swap;
    }
    return is_match(pattern, now);
}
