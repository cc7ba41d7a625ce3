/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engines have in common. */
#ifndef NAT_BRIDGE_ENGINE_INTERNAL_H
#define NAT_BRIDGE_ENGINE_INTERNAL_H

#include <cjson/cJSON.h>

#include "nat-bridge/engine.h"

int nb_docker_ask(const struct nb_engine_places *places, struct nb_engine_answer *ret);
int nb_podman_ask(const struct nb_engine_places *places, struct nb_engine_answer *ret);

/*
 * GET a JSON value from the engine; *@ret, NULL before, is to be deleted. On failure
 * @ret_why (NB_ENGINE_WHY bytes) is filled and -errno returned: -ENOENT, -ECONNREFUSED: nobody
 * is there; -EHOSTDOWN: systemd would start it, so it was not asked; -EAGAIN: it is about to
 * start; -ENOSYS: it answered 404.
 */
int nb_engine_get(enum nb_engine engine, const struct nb_engine_places *places, const char *target,
		  cJSON **ret, char *ret_why);
/* Likewise an array, each of whose elements is handed to @append, a failure of which ends it. */
int nb_engine_get_list(enum nb_engine engine, const struct nb_engine_places *places,
		       const char *target,
		       int (*append)(struct nb_engine_answer *answer, const cJSON *json),
		       struct nb_engine_answer *answer);

/*
 * The value of @length bytes, to be deleted; NULL if that is no JSON, or has a NUL, escaped, at
 * which cJSON would end a text and so make one name of another.
 */
cJSON *nb_engine_parse(const char *json, size_t length);

/* The engine's socket: where it is said to be, or where it is as a rule. */
const char *nb_docker_socket(const struct nb_engine_places *places);
const char *nb_podman_socket(const struct nb_engine_places *places);

/*
 * Append a network. @bridge NULL or no device name: it has none, and @instead
 * says what to do. A @name that cannot be stored is left out. -ENOMEM.
 */
int nb_engine_append(struct nb_engine_answer *answer, const char *name, const char *bridge,
		     const char *instead, bool internal);

/* The text or truth of a member; NULL or false if there is none of that type. */
const char *nb_engine_text(const cJSON *object, const char *key);
bool nb_engine_is_true(const cJSON *object, const char *key);

/* What is to be said of an engine of another user at @socket: Docker Desktop's, or a rootless one. */
const char *nb_engine_beyond(const char *socket);

/* What to do when a network of this driver is no bridge of this host; NULL for "bridge". */
const char *nb_engine_instead(const char *driver);

#endif
