/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static const char *const engine_names[] = { "iface", "docker", "podman", "container" };

static_assert(sizeof(engine_names) / sizeof(engine_names[0]) == NB_ENGINE_CONTAINER + 1,
	      "every engine has a name");

const char *nb_engine_name(enum nb_engine engine)
{
	return engine_names[engine];
}

static bool refuse(const char **why, const char *phrase)
{
	if (why)
		*why = phrase;
	return false;
}

bool nb_ifname_valid(const char *name, const char **why)
{
	if (!*name)
		return refuse(why, "is empty");
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return refuse(why, "is no device name");
	for (const char *c = name; *c; c++) {
		if ((unsigned char)*c > 0x7e)
			return refuse(why, "holds a character that is not ASCII");
		if ((unsigned char)*c < 0x20)
			return refuse(why, "holds a control character");
		if (*c == ' ')
			return refuse(why, "holds a blank");
		if (*c == '/')
			return refuse(why, "holds a slash");
		if (*c == ':')
			return refuse(why, "holds a colon");
		if (*c == '"' || *c == '\'' || *c == '`')
			return refuse(why, "holds a quote");
		if (*c == '*' || *c == '\\')
			return refuse(why, "holds a '*' or a backslash");
	}
	if (strlen(name) >= NB_IFNAME_SIZE)
		return refuse(why, "is longer than 15 bytes");
	return true;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The names that Docker and Podman give to networks and containers; '*' if @pattern. */
static bool engine_name_valid(const char *name, bool pattern, const char **why)
{
	if (!*name)
		return refuse(why, "is empty");
	if (!is_alphanumeric(*name) && !(pattern && *name == '*'))
		return refuse(why, "does not begin with a letter or a digit");
	for (const char *c = name; *c; c++) {
		if (!is_alphanumeric(*c) && *c != '_' && *c != '.' && *c != '-' &&
		    !(pattern && *c == '*'))
			return refuse(why, "holds something else than letters, digits, '_', '.', "
					   "'-'");
	}
	if (strlen(name) >= NB_NETWORK_NAME_SIZE)
		return refuse(why, "is longer than 95 bytes");
	return true;
}

/* The name behind a known prefix, or NULL. */
static const char *strip_engine(const char *text, enum nb_engine *ret)
{
	for (unsigned int i = 0; i <= NB_ENGINE_CONTAINER; i++) {
		size_t length = strlen(engine_names[i]);

		if (!strncmp(text, engine_names[i], length) && text[length] == ':') {
			*ret = (enum nb_engine)i;
			return text + length + 1;
		}
	}
	return NULL;
}

bool nb_network_is_qualified(const char *text)
{
	enum nb_engine engine;

	return strip_engine(text, &engine) != NULL;
}

static int refuse_bare(const char *text, struct nb_error *err)
{
	const char *why;
	bool iface = nb_ifname_valid(text, &why);

	if (strchr(text, ':'))
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "\"%.120s\" begins with no known prefix; write iface:NAME for "
				    "an interface, docker:NAME or podman:NAME for their networks",
				    text);
	if (strchr(text, '*') && engine_name_valid(text, true, NULL))
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "the pattern \"%.90s\" does not say whose networks; write "
				    "'docker:%.90s' or 'podman:%.90s'",
				    text, text, text);
	if (!iface && !engine_name_valid(text, false, NULL))
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "\"%.120s\" is no network: the name %s", text, why);
	if (!iface)
		return nb_error_set(err, NB_STATUS_USAGE, ENOENT, "usage",
				    "\"%.120s\" does not say which kind of network it is; write "
				    "docker:%.120s or podman:%.120s (as an interface it %s)",
				    text, text, text, why);
	return nb_error_set(err, NB_STATUS_USAGE, ENOENT, "usage",
			    "\"%s\" does not say which kind of network it is; write iface:%s for "
			    "the interface, or docker:%s for Docker's network of that name",
			    text, text, text);
}

int nb_network_parse(const char *text, struct nb_network *ret, struct nb_error *err)
{
	enum nb_engine engine;
	const char *name = strip_engine(text, &engine);
	const char *why;
	bool valid;

	if (!name)
		return refuse_bare(text, err);
	if (engine == NB_ENGINE_IFACE)
		valid = nb_ifname_valid(name, &why);
	else
		valid = engine_name_valid(name, engine != NB_ENGINE_CONTAINER, &why);
	if (!valid)
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "\"%.120s\" is no network: the name behind \"%s:\" %s", text,
				    engine_names[engine], why);
	/* The padding, too: networks are hashed and copied as a whole. */
	memset(ret, 0, sizeof(*ret));
	ret->engine = engine;
	memcpy(ret->name, name, strlen(name));
	return 0;
}

bool nb_network_is_pattern(const struct nb_network *network)
{
	return network->engine != NB_ENGINE_IFACE && strchr(network->name, '*') != NULL;
}

bool nb_network_matches(const struct nb_network *pattern, const char *name)
{
	/* of what a pattern may hold, '*' alone means something to it */
	return fnmatch(pattern->name, name, FNM_NOESCAPE) == 0;
}

bool nb_network_is_several(const struct nb_network *network)
{
	return network->engine == NB_ENGINE_CONTAINER || nb_network_is_pattern(network);
}

const char *nb_network_format(const struct nb_network *network, char *buffer)
{
	snprintf(buffer, NB_NETWORK_SIZE, "%s:%s", engine_names[network->engine], network->name);
	return buffer;
}

int nb_network_compare(const struct nb_network *a, const struct nb_network *b)
{
	if (a->engine != b->engine)
		return a->engine < b->engine ? -1 : 1;
	return strcmp(a->name, b->name);
}
