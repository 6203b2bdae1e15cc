/* The controllers in the metadata: where each of them listens. */
#include "controller/step.h"

#include "base/assert.h"

static bool endpoints_equal(const struct image_controller *have,
                            const Leat__ControllerRecord *r)
{
    if (have->endpoints_len != r->n_endpoints)
        return false;
    for (size_t i = 0; i < r->n_endpoints; i++)
        if (strcmp(have->endpoints[i].listener, r->endpoints[i]->listener) ||
            strcmp(have->endpoints[i].host, r->endpoints[i]->host) ||
            have->endpoints[i].port != r->endpoints[i]->port ||
            have->endpoints[i].security_protocol !=
                r->endpoints[i]->security_protocol)
            return false;
    return true;
}

static const struct image_controller *find(const struct image *image,
                                           int32_t id)
{
    for (size_t i = 0; i < image->controllers_len; i++)
        if (image->controllers[i]->id == id)
            return image->controllers[i];
    return NULL;
}

void controller_register_controller(struct controller *c,
                                    const struct controller_call *call,
                                    const Leat__ControllerRecord *record,
                                    struct controller_update *update)
{
    struct step s;

    ASSERT(record->incarnation.len == 16);
    step_begin(&s, c, call, update);
    const struct image_controller *have = find(s.image, record->controller_id);
    if (have == NULL || !endpoints_equal(have, record) ||
        memcmp(have->incarnation.bytes, record->incarnation.data, 16) != 0)
        step_put(&s, &RECORD(controller, CONTROLLER,
                             (Leat__ControllerRecord *)(uintptr_t)record));
    step_end(&s);
}

static bool listed(const Leat__ControllerRecord *records, size_t len,
                   int32_t id)
{
    for (size_t i = 0; i < len; i++)
        if (records[i].controller_id == id)
            return true;
    return false;
}

/* Removal shortens the list that is walked, so from its end. */
static void remove_others(struct step *s, const Leat__ControllerRecord *records,
                          size_t len)
{
    for (size_t i = s->image->controllers_len; i-- > 0;) {
        const struct image_controller *have = s->image->controllers[i];
        Leat__ControllerRecord gone = LEAT__CONTROLLER_RECORD__INIT;
        struct uuid incarnation = have->incarnation;

        if (listed(records, len, have->id))
            continue;
        gone.controller_id = have->id;
        gone.incarnation.data = incarnation.bytes;
        gone.incarnation.len = sizeof incarnation.bytes;
        step_put(s, &RECORD(controller, CONTROLLER, &gone));
    }
}

void controller_set_controllers(struct controller *c,
                                const struct controller_call *call,
                                Leat__ControllerRecord *records, size_t len,
                                struct controller_update *update)
{
    struct step s;

    step_begin(&s, c, call, update);
    for (size_t i = 0; i < len; i++) {
        const struct image_controller *have =
            find(s.image, records[i].controller_id);

        ASSERT(records[i].incarnation.len == 16 && records[i].n_endpoints != 0);
        if (have != NULL && endpoints_equal(have, &records[i]))
            continue;
        if (have != NULL)
            memcpy(records[i].incarnation.data, have->incarnation.bytes, 16);
        step_put(&s, &RECORD(controller, CONTROLLER, &records[i]));
    }
    remove_others(&s, records, len);
    step_end(&s);
}
